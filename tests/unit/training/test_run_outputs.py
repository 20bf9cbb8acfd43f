"""The operators for checkpoints and logs, against the emulator."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from tests.tasks import TaskInstance, plain
from tests.tries import Try, execute
from vi_airflow_provider.api.errors import ViNotFoundError
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.links.runs import ViRunLink
from vi_airflow_provider.operators.base import ViBaseOperator
from vi_airflow_provider.operators.runs import ExportRunLogsOperator, GetRunOutputsOperator
from vi_airflow_provider.training import log_export

pytestmark = pytest.mark.vi_emulator(flows=3, run_seconds=1000, runs=0)


def result_of(cls: type[ViBaseOperator], ti: TaskInstance | None = None, **arguments: Any) -> Any:
    return plain(cls(task_id="task", **arguments).execute({"ti": ti or TaskInstance()}))  # type: ignore[typeddict-item]


def ended_run(vi: Emulator, **plan: Any) -> str:
    """The id of a run that has succeeded."""
    vi.plans.clear()
    vi.plans.add(**plan)
    run_id = execute(vi.store.flow_ids()[0], Try(task_id=str(plan)), wait_for_completion=False)["run_id"]
    vi.advance(1001)
    vi.clear_requests()
    return str(run_id)


# --- checkpoints ---------------------------------------------------------------------------------------------------


def test_latest_checkpoint_of_all_pages_is_returned(vi_emulator: Emulator) -> None:
    run_id = ended_run(vi_emulator, checkpoints=12)
    vi_emulator.configure(page_cap=5)
    ti = TaskInstance()
    result = result_of(GetRunOutputsOperator, ti, run_id=run_id)
    expected = vi_emulator.store.outputs.of(run_id)[-1]
    assert result == {
        "run_id": run_id,
        "outputs": 12,
        "run_output_id": expected["runOutputId"],
        "epoch": expected["spec"]["epoch"],
        "kind": "Checkpoint",
        "metrics": expected["spec"]["evaluationMetrics"],
        "storage_object": expected["status"]["storageObject"],
    }
    assert ti.pushed[ViRunLink().xcom_key]


def test_best_checkpoint_is_that_of_the_metric(vi_emulator: Emulator) -> None:
    run_id = ended_run(vi_emulator, checkpoints=12)
    outputs = vi_emulator.store.outputs.of(run_id)
    best = min(outputs, key=lambda output: output["spec"]["evaluationMetrics"]["trainingLoss"])
    result = result_of(GetRunOutputsOperator, run_id=run_id, select="best", best_metric=["trainingLoss", "min"])
    assert result["run_output_id"] == best["runOutputId"]


def test_all_checkpoints_are_returned_within_the_bound(vi_emulator: Emulator) -> None:
    few = result_of(GetRunOutputsOperator, run_id=ended_run(vi_emulator, checkpoints=12), select="all")
    assert (len(few["checkpoints"]), few["omitted"]) == (12, 0)
    many_id = ended_run(vi_emulator, checkpoints=400)
    many = result_of(GetRunOutputsOperator, run_id=many_id, select="all")
    assert len(json.dumps(many)) <= 8_000
    assert len(many["checkpoints"]) + many["omitted"] == 400
    assert many["checkpoints"][-1]["run_output_id"] == vi_emulator.store.outputs.of(many_id)[-1]["runOutputId"]


def test_file_has_every_checkpoint_with_all_metrics(vi_emulator: Emulator, tmp_path: Path) -> None:
    run_id = ended_run(vi_emulator, checkpoints=4, scenario="nan_metrics")
    file = tmp_path / "new" / "outputs.jsonl"
    result = result_of(GetRunOutputsOperator, run_id=run_id, destination=str(file))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    expected = vi_emulator.store.outputs.of(run_id)
    assert [line["runOutputId"] for line in lines] == [output["runOutputId"] for output in expected]
    assert lines[0]["spec"]["evaluationMetrics"]["gradientNorm"] is None
    assert lines[1]["spec"] == expected[1]["spec"]
    assert (result["uri"], result["sha256"]) == (str(file), hashlib.sha256(file.read_bytes()).hexdigest())


def test_run_without_checkpoints_has_a_result(vi_emulator: Emulator) -> None:
    run_id = ended_run(vi_emulator, scenario="no_model")
    result = result_of(GetRunOutputsOperator, run_id=run_id)
    assert (result["outputs"], result["run_output_id"], result["metrics"]) == (0, None, None)
    assert result_of(GetRunOutputsOperator, run_id=run_id, select="all")["checkpoints"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"select": "newest"}, "select: 'newest'"),
        ({"select": "best"}, "best_metric: needed"),
        ({"best_metric": "f1"}, "best_metric"),
        ({"destination": "outputs.jsonl"}, "destination"),
        ({"destination": "/"}, "is a folder"),
        ({"destination": "/folder/"}, "is a folder"),
        ({"destination": "/usr"}, "is an existing folder"),
        ({"destination": "/dev/null"}, "is a device or a pipe"),
        ({"destination": "/x.parquet"}, "the suffix .parquet contradicts"),
        ({"run_id": "../x"}, "run id"),
    ],
)
def test_unusable_argument_is_refused(vi_emulator: Emulator, arguments: dict[str, Any], message: str) -> None:
    run_id = ended_run(vi_emulator)
    vi_emulator.clear_requests()
    with pytest.raises(AirflowFailException, match=message):
        result_of(GetRunOutputsOperator, **{"run_id": run_id, **arguments})
    assert not [request for request in vi_emulator.requests if request.path.endswith("/outputs")]


@pytest.mark.parametrize(
    ("destination", "message"),
    [
        ("/", "folder; add the name of the file"),
        ("/usr", "folder; add the name of the file"),
        ("/folder/", "folder; add the name of the file"),
        ("/dev/null", "is a device or a pipe"),
        ("/x.csv", "the suffix .csv contradicts"),
        ("/x.log.gz", "the suffix .gz contradicts"),
        ("/x.PARQUET", "the suffix .parquet contradicts"),
    ],
)
def test_log_is_not_exported_to_what_is_no_log_file(vi_emulator: Emulator, destination: str, message: str) -> None:
    with pytest.raises(AirflowFailException, match=message):
        result_of(ExportRunLogsOperator, run_id=ended_run(vi_emulator), destination=destination)


def test_missing_run_fails(vi_emulator: Emulator, tmp_path: Path) -> None:
    for cls in (GetRunOutputsOperator, ExportRunLogsOperator):
        with pytest.raises(ViNotFoundError):
            result_of(cls, run_id="no-such-run", destination=f"{tmp_path}/x")
    assert list(tmp_path.iterdir()) == []


# --- logs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cap", [0, 7])
def test_whole_log_is_exported_once(
    vi_emulator: Emulator, tmp_path: Path, cap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = ended_run(vi_emulator, log_lines=300)
    vi_emulator.configure(log_cap=cap)
    monkeypatch.setattr(log_export, "PAGE", 50)
    file = tmp_path / "run.log"
    result = result_of(ExportRunLogsOperator, run_id=run_id, destination=f"file://{file}")
    vi_emulator.configure(log_cap=0)
    assert file.read_text().splitlines() == [line.text for line in vi_emulator.store.run_logs(run_id)]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert result == {"uri": f"file://{file}", "lines": 304, "sha256": digest}
    sent = [request.params for request in vi_emulator.requests if request.path.endswith("/logs")]
    assert ["since" in params for params in sent] == [False, *[True] * (len(sent) - 1)]


def test_log_as_json_keeps_what_the_server_sent(vi_emulator: Emulator, tmp_path: Path) -> None:
    run_id = ended_run(vi_emulator)
    result_of(ExportRunLogsOperator, run_id=run_id, destination=f"{tmp_path}/run.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    expected = [dict(line._asdict()) for line in vi_emulator.store.run_logs(run_id)]
    assert lines == [{"line": e["text"], "timestamp": e["timestamp"], "block": e["block"]} for e in expected]


@pytest.mark.parametrize("shape", ["lines", "data", "text"])
def test_log_of_every_shape_is_exported(vi_emulator: Emulator, tmp_path: Path, shape: Any) -> None:
    run_id = ended_run(vi_emulator)
    vi_emulator.configure(log_shape=shape)
    result_of(ExportRunLogsOperator, run_id=run_id, destination=f"{tmp_path}/run.log")
    expected = [line.text for line in vi_emulator.store.run_logs(run_id)]
    assert (tmp_path / "run.log").read_text().splitlines() == expected


def test_log_of_an_unknown_shape_is_written_raw(vi_emulator: Emulator, tmp_path: Path) -> None:
    run_id = ended_run(vi_emulator)
    url = "https://s.example/x?X-Amz-Signature=0123456789abcdef"
    body = {"chunks": [{"content": "a", "key": vi_emulator.secret_key, "url": url}]}
    vi_emulator.faults.add(path="/logs$", status=200, body=json.dumps(body), content_type="application/json")
    result = result_of(ExportRunLogsOperator, run_id=run_id, destination=f"{tmp_path}/run.log")
    written = json.loads((tmp_path / "run.log").read_text())
    assert written == {"chunks": [{"content": "a", "key": "***", "url": url.replace("0123456789abcdef", "***")}]}
    assert result["lines"] == 1


def test_log_of_an_active_run_ends_where_it_is(vi_emulator: Emulator, tmp_path: Path) -> None:
    vi_emulator.plans.add(log_lines=100)
    run_id = execute(vi_emulator.store.flow_ids()[0], wait_for_completion=False)["run_id"]
    vi_emulator.advance(500)
    result = result_of(ExportRunLogsOperator, run_id=run_id, destination=f"{tmp_path}/run.log")
    assert 0 < result["lines"] < 100


def test_failed_log_export_leaves_the_old_file(vi_emulator: Emulator, tmp_path: Path) -> None:
    run_id = ended_run(vi_emulator, log_lines=300)
    (tmp_path / "run.log").write_text("old")
    vi_emulator.configure(log_cap=100)
    vi_emulator.faults.add(path="/logs$", skip=2, status=400)
    with pytest.raises(AirflowFailException):
        result_of(ExportRunLogsOperator, run_id=run_id, destination=f"{tmp_path}/run.log")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("run.log", "old")]
