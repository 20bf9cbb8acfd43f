"""Exports of runs, against the emulator."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

from tests.documents import wire_run, wire_run_output
from tests.tasks import TaskInstance, plain
from tests.unit.audit.support import export, flow
from vi_airflow_provider.api.models import Run, RunOutput
from vi_airflow_provider.audit.__main__ import main
from vi_airflow_provider.audit.manifest import ExportError
from vi_airflow_provider.audit.reader import read_documents
from vi_airflow_provider.audit.run_record import RunRecord, record_run
from vi_airflow_provider.audit.subject import RUNS
from vi_airflow_provider.audit.verification import verify
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.hooks.vi import ViHook
from vi_airflow_provider.operators.runs import ExportRunsOperator

pytestmark = pytest.mark.vi_emulator(flows=4, runs=12, seed=3)

SIGNED: Final = "https://store.example/ckpt.pt?X-Amz-Signature=5ec2e7#frag"


def run_export(destination: Path | str, **arguments: Any) -> Any:
    task = ExportRunsOperator(task_id="export", destination=str(destination), **arguments)
    return plain(task.execute({"ti": TaskInstance()}))  # type: ignore[typeddict-item]


def records(path: Path) -> list[RunRecord]:
    return list(read_documents(str(path), RUNS))


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    ObjectStoragePath("file:///").exists()

    def call(*arguments: Any) -> tuple[int, str, str]:
        capsys.readouterr()  # what Airflow has logged to stdout, meanwhile
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call


def test_all_runs_are_exported_with_their_checkpoints(vi_emulator: Emulator, tmp_path: Path) -> None:
    result = run_export(tmp_path / "runs.jsonl")
    assert result["count"] == 12
    assert verify(str(tmp_path / "runs.jsonl"), RUNS, every_document=True).count == 12
    found = records(tmp_path / "runs.jsonl")
    assert [run.run_id for run in found] == sorted(vi_emulator.store.run_ids())
    hook = ViHook()
    for run in found:
        assert run.state == hook.get_run(run.run_id).state
        expected = sorted(hook.list_run_outputs(run.run_id), key=lambda output: output.age_key)
        assert run.outputs is not None
        assert [output.run_output_id for output in run.outputs] == [output.run_output_id for output in expected]
        for output, original in zip(run.outputs, expected, strict=True):
            finite = {name: value for name, value in output.evaluation_metrics.items() if value is not None}
            assert (finite, output.epoch) == (original.metrics, original.spec.epoch)


@pytest.mark.parametrize("name", ["runs.jsonl", "runs.jsonl.gz", "runs.csv", "runs.parquet"])
def test_same_runs_give_the_same_bytes(name: str, vi_emulator: Emulator, tmp_path: Path) -> None:
    shas = {run_export(tmp_path / folder / name)["sha256"] for folder in ("one", "other")}
    assert len(shas) == 1


def test_checkpoints_are_not_requested_unless_wanted(vi_emulator: Emulator, tmp_path: Path) -> None:
    run_export(tmp_path / "runs.jsonl", outputs=False)
    assert not [request for request in vi_emulator.requests if request.path.endswith("/outputs")]
    assert all(run.outputs is None for run in records(tmp_path / "runs.jsonl"))
    assert b'"outputs"' not in (tmp_path / "runs.jsonl").read_bytes()


def test_run_that_is_deleted_before_its_checkpoints_are_read_is_omitted(vi_emulator: Emulator, tmp_path: Path) -> None:
    gone = sorted(vi_emulator.store.run_ids())[3]
    vi_emulator.faults.add(method="GET", path=f"/runs/{gone}/outputs", status=404)
    assert run_export(tmp_path / "runs.jsonl")["count"] == 11
    assert gone not in {run.run_id for run in records(tmp_path / "runs.jsonl")}


def test_runs_are_selected_as_they_are_listed(vi_emulator: Emulator, tmp_path: Path) -> None:
    run_export(tmp_path / "all.jsonl")
    everything = records(tmp_path / "all.jsonl")

    def selected(**criteria: Any) -> set[str]:
        run_export(tmp_path / "some.jsonl", outputs=False, **criteria)
        return {run.run_id for run in records(tmp_path / "some.jsonl")}

    some = everything[0]
    flow_id = some.metadata.attributes["vi_airflow.flow_id"]
    of_flow = {run.run_id for run in everything if run.metadata.attributes["vi_airflow.flow_id"] == flow_id}
    assert selected(flow_id=flow_id) == selected(attributes={"vi_airflow.flow_id": flow_id}) == of_flow
    for states in ("succeeded", ["failed", "killed"]):
        assert selected(states=states) == {run.run_id for run in everything if run.state.value in states}
    project = some.spec.training_project
    assert selected(training_project=project) == {r.run_id for r in everything if r.spec.training_project == project}
    assert len(selected(limit=5)) == 5
    assert selected(older_than="P1000D") == selected(created_after="2100-01-01T00:00:00Z") == set()
    assert len(selected(created_before="2100-01-01T00:00:00Z")) == 12


@pytest.mark.parametrize("criteria", [{"states": "won"}, {"older_than": 5}, {"limit": -1}, {"outputs": "maybe"}])
def test_unusable_selection_of_runs_is_refused(vi_emulator: Emulator, tmp_path: Path, criteria: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException, match=next(iter(criteria))):
        run_export(tmp_path / "runs.jsonl", **criteria)
    assert vi_emulator.requests == []


def test_comparison_shows_states_checkpoints_and_removed_runs(
    vi_emulator: Emulator, tmp_path: Path, cli: Callable[..., tuple[int, str, str]]
) -> None:
    hook = ViHook()
    spec = hook.get_flow(vi_emulator.store.flow_ids()[0]).spec
    vi_emulator.plans.add(run_seconds=100, queue_seconds=0, checkpoints=2)
    hook.start_run(spec, run_id="new-run")
    old, new = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    run_export(old)
    gone = next(run.run_id for run in records(old) if run.state.is_ended)
    vi_emulator.store.advance(200)
    hook.delete_run(gone)
    result = run_export(new, compare_to="previous", html_report=True)
    assert (result["added"], result["removed"], result["changed"]) == (0, 1, 1)
    code, out, err = cli("diff", old, new)
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"- {gone}  ")
    assert lines[1].startswith("~ new-run  ")
    assert '    state: "queued" → "succeeded"' in lines or '    state: "running" → "succeeded"' in lines
    assert sum(line.startswith("    outputs") for line in lines) == 2
    assert cli("verify", new)[1].startswith(f"{new} is complete: 12 runs, sha256 ")
    page = (tmp_path / "2.jsonl.report.html").read_text()
    assert "<h1>Runs of" in page
    assert '"noun":' not in page


def test_checkpoints_that_one_export_lacks_are_not_compared(vi_emulator: Emulator, tmp_path: Path) -> None:
    run_export(tmp_path / "1.jsonl")
    result = run_export(tmp_path / "2.jsonl", outputs=False, compare_to="previous", fail_on_drift=True)
    assert result["changed"] == 0


def test_runs_are_compared_with_runs_only(
    vi_emulator: Emulator, tmp_path: Path, cli: Callable[..., tuple[int, str, str]]
) -> None:
    export(str(tmp_path / "flows.jsonl"), [flow()], organization_id=vi_emulator.organization_id)
    result = run_export(tmp_path / "runs.jsonl", compare_to="previous")
    assert result["changed"] is None
    with pytest.raises(ExportError, match="vi-flow-export"):
        run_export(tmp_path / "again.jsonl", compare_to=str(tmp_path / "flows.jsonl"))
    code, _, err = cli("diff", tmp_path / "flows.jsonl", tmp_path / "runs.jsonl")
    assert (code, "is an export of runs" in err) == (2, True)
    (tmp_path / "runs.jsonl.manifest.json").unlink()
    assert cli("diff", tmp_path / "runs.jsonl", tmp_path / "runs.jsonl")[0] == 0


def test_damaged_export_of_runs_is_named(
    vi_emulator: Emulator, tmp_path: Path, cli: Callable[..., tuple[int, str, str]]
) -> None:
    path = tmp_path / "runs.jsonl"
    run_export(path)
    first = records(path)[0].run_id
    path.write_bytes(path.read_bytes().replace(b'"name":"', b'"name":"x', 1))
    code, _, err = cli("verify", path)
    assert (code, f"{first}: changed since it was exported" in err) == (2, True)


def test_table_has_a_row_per_run(vi_emulator: Emulator, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    run_export(tmp_path / "runs.parquet")
    table = pq.read_table(tmp_path / "runs.parquet").to_pylist()
    run_export(tmp_path / "runs.jsonl")
    for row, run in zip(table, records(tmp_path / "runs.jsonl"), strict=True):
        assert (row["run_id"], row["state"], row["flow_digest"]) == (run.run_id, run.state.value, run.flow_digest)
        assert row["output_count"] == len(run.outputs or [])
        assert json.loads(row["outputs"]) == [output.to_wire() for output in run.outputs or []]
    run_export(tmp_path / "runs.csv", outputs=False)
    header, *rows = (tmp_path / "runs.csv").read_text("utf-8-sig").splitlines()
    assert header.startswith('"run_id","state","flow_id"')
    assert len(rows) == 12


# --- what an export must not have -------------------------------------------------------------------------------------


def test_secrets_of_a_run_are_not_recorded() -> None:
    run = Run.model_validate(
        wire_run(
            status__log=SIGNED,
            status__logUrl=SIGNED,
            status__conditions=[
                {"condition": "Failed", "status": "Reached", "lastTransitionTime": 1, "message": f"see {SIGNED} there"}
            ],
            downloads=[SIGNED],
        )
    )
    output = RunOutput.model_validate(
        wire_run_output(
            status__storageObject=SIGNED,
            status__contents={"downloadUrl": {"url": SIGNED, "expiresAt": 1}},
            spec__evaluationMetrics={"f1": 0.5, "loss": float("nan"), "plot": SIGNED, "deep": [float("inf"), {"x": 1}]},
        )
    )
    record = record_run(run, [output])
    text = json.dumps(record.to_wire(), allow_nan=False)
    assert "5ec2e7" not in text
    assert "frag" not in text
    assert "https://store.example/ckpt.pt?… there" in (record.reason or "")
    (kept,) = record.outputs or []
    metrics = {"f1": 0.5, "loss": None, "plot": "https://store.example/ckpt.pt?…", "deep": [None, {"x": 1}]}
    assert (kept.evaluation_metrics, kept.non_finite) == (metrics, ["loss"])


def test_record_is_read_as_it_was_written() -> None:
    record = record_run(Run.model_validate(wire_run()), [RunOutput.model_validate(wire_run_output())])
    again = RunRecord.model_validate_json(record.model_dump_json(by_alias=True))
    assert again.to_wire() == record.to_wire()
    assert (again.state, again.started_at) == (record.state, record.started_at)
    assert "log" not in record.to_wire()["status"]


@pytest.mark.parametrize("text", ["x://" * 250_000, "a." * 500_000, "x://a " * 150_000], ids=lambda text: text[:6])
def test_hostile_reason_is_recorded_in_linear_time(text: str) -> None:
    condition = {"condition": "Failed", "status": "Reached", "lastTransitionTime": 1, "reason": text}
    run = Run.model_validate(wire_run(status__conditions=[condition]))
    began = time.process_time()
    assert record_run(run, None).status.conditions[0].reason == text
    assert time.process_time() - began < 5  # measured: 0.1; a quadratic search takes minutes
