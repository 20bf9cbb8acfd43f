"""``PruneRunsOperator`` against the emulator: what it deletes, archives and reports, and what it leaves alone."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from tests.tasks import TaskInstance
from tests.unit.cleanup.run_support import Runs, operator, outcomes, records, run
from tests.unit.cleanup.support import counts, when
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.audit.manifest import ExportError
from vi_airflow_provider.audit.verification import verify
from vi_airflow_provider.cleanup import run_record
from vi_airflow_provider.cleanup.archive import ArchiveError, read_archive, read_run_archive
from vi_airflow_provider.cleanup.report import PruneError
from vi_airflow_provider.cleanup.subject import ACTIVE, KILLED_ONLY
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.operators.flows import PruneFlowsOperator, RestoreFlowsOperator

pytestmark = pytest.mark.vi_emulator(flows=3, runs=0)


@pytest.fixture
def runs(vi: Any, vi_emulator: Emulator) -> Runs:
    """An organization without runs, but for those that a test starts."""
    for run_id in list(vi_emulator.store.run_ids()):
        vi_emulator.store.patch_run(run_id, {"spec": {"killedAt": 1}})
        vi_emulator.store.delete_run(run_id)
    return Runs(vi_emulator)


# --- what is deleted -----------------------------------------------------------------------------------------------


def test_dry_run_is_the_default_and_only_reads(runs: Runs, folder: Path) -> None:
    runs.start("a")
    report = run(operator(archive_to=folder.as_uri(), keep_best=1, best_metric=("f1", "max")))
    assert runs.sent() == ["GET runs", "GET runs/a/outputs"]
    assert not folder.exists()
    assert [spared["reason"] for spared in report["spared_runs"]] == ["kept by keep_best=1 per flow, by f1"]
    assert outcomes(run(operator())) == {"a": "would_delete"}


def test_ended_runs_are_deleted_and_active_ones_are_not(runs: Runs, for_real: dict[str, Any]) -> None:
    for scenario in ("succeed", "fail_at_end", "fail_at_start"):
        runs.start(scenario, scenario=scenario)
    runs.start("queued", scenario="stuck_queued", run_seconds=3600)
    runs.start("running", run_seconds=3600)
    runs.start("killed", scenario="slow_kill", run_seconds=3600)
    runs.store.patch_run("killed", {"spec": {"killedAt": 1_700_000_000_000}})

    report = run(operator(**for_real))

    assert outcomes(report) == dict.fromkeys(("succeed", "fail_at_end", "fail_at_start"), "deleted")
    assert runs.ids == {"queued", "running", "killed"}
    assert {spared["run_id"]: spared["reason"] for spared in report["spared_runs"]} == {
        "queued": ACTIVE,
        "running": ACTIVE,
        "killed": KILLED_ONLY,
    }
    assert (report["total"], report["deleted"], report["busy"]) == (6, 3, 0)


def test_run_that_restarts_is_left_alone(runs: Runs, for_real: dict[str, Any]) -> None:
    """By its first milestone it has failed; the platform starts it again."""
    for vocabulary in ("milestones", "product"):
        runs.start(vocabulary, scenario="restart", vocabulary=vocabulary, run_seconds=3600)
    runs.emulator.advance(600)
    report = run(operator(**for_real))
    assert report["deleted"] == 0
    assert runs.ids == {"milestones", "product"}


@pytest.mark.parametrize("vocabulary", ["milestones", "product", "sdk_page", "docstrings"])
def test_every_vocabulary_is_understood(runs: Runs, for_real: dict[str, Any], vocabulary: str) -> None:
    runs.start("ended", vocabulary=vocabulary)
    runs.start("active", vocabulary=vocabulary, run_seconds=3600)
    assert run(operator(**for_real))["deleted"] == 1
    assert runs.ids == {"active"}


@pytest.mark.vi_emulator(flows=4, runs=30)
def test_best_and_last_succeeded_runs_are_kept(vi: Any, vi_emulator: Emulator, for_real: dict[str, Any]) -> None:
    best = {"keep_best": 1, "best_metric": ("f1", "max"), "keep_succeeded": 1, "older_than": "P1D"}
    before = {run_id: vi_emulator.store.get_run(run_id) for run_id in vi_emulator.store.run_ids()}
    values = {run_id: max_f1(vi_emulator, run_id) for run_id in before}
    report = run(operator(**for_real, **best))
    left = set(vi_emulator.store.run_ids())
    assert report["deleted"] == len(before) - len(left) > 10
    for flow_id in {flow_of(document) for document in before.values()}:
        ids = [run_id for run_id, document in before.items() if flow_of(document) == flow_id and ended(document)]
        rated = [run_id for run_id in ids if values[run_id] is not None]
        if rated:
            assert max(rated, key=lambda run_id: values[run_id] or 0.0) in left


def max_f1(emulator: Emulator, run_id: str) -> float | None:
    found = emulator.store.outputs.of(run_id)
    return max((output["spec"]["evaluationMetrics"]["f1"] for output in found), default=None)


def flow_of(document: dict[str, Any]) -> str:
    return str(document["metadata"]["attributes"]["vi_airflow.flow_id"])


def ended(document: dict[str, Any]) -> bool:
    return any(c["condition"] == "Finished" and c["status"] != "Waiting" for c in document["status"]["conditions"])


@pytest.mark.parametrize("bad", [{"states": "running"}, {"keep_best": "x"}, {"best_metric": "f1", "keep_best": 1}])
def test_unusable_value_fails_without_requests(runs: Runs, bad: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException, match=next(iter(bad))):
        run(operator(**bad))
    assert runs.sent() == []


def test_values_may_be_rendered_texts(runs: Runs, folder: Path) -> None:
    for number in range(3):
        runs.start(f"r{number}")
    texts = {"dry_run": "False", "keep_last": "1", "keep_succeeded": "2", "keep_best": "1", "concurrency": "2"}
    report = run(operator(**texts, best_metric=["f1", "max"], states=["succeeded"], archive_to=folder.as_uri()))
    assert report["spared"] >= 2


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_delete": 1}, r"2 of 2 runs are selected, more than max_delete \(1\)"),
        ({"max_delete_fraction": 0.5}, "2 of 2 runs are selected, a larger fraction"),
        ({"protect_names": ["nothing"], "protect_unmatched": "fail"}, "1 rules match no run"),
        ({"keep_best": 1, "best_metric": ("f2", "max"), "protect_unmatched": "fail"}, "best_metric: f2"),
    ],
    ids=str,
)
def test_guard_stops_before_the_archive(
    runs: Runs, for_real: dict[str, Any], folder: Path, limits: dict[str, Any], words: str
) -> None:
    runs.start("a"), runs.start("b")
    with pytest.raises(AirflowFailException, match=words):
        run(operator(**for_real, **limits))
    assert runs.sent("DELETE") == []
    assert not folder.exists()


# --- plans ---------------------------------------------------------------------------------------------------------


def test_given_plan_deletes_exactly_its_runs(runs: Runs, for_real: dict[str, Any]) -> None:
    runs.start("a"), runs.start("b")
    plan = run(operator())
    runs.start("c")
    assert outcomes(run(operator(**for_real, plan=plan))) == {"a": "deleted", "b": "deleted"}
    assert runs.ids == {"c"}
    assert outcomes(run(operator(**for_real, plan=plan["outcomes"]))) == dict.fromkeys("ab", "already_absent")


def test_active_run_of_a_given_plan_is_spared(runs: Runs, for_real: dict[str, Any]) -> None:
    runs.start("a", run_seconds=3600)
    wire = runs.store.get_run("a")
    plan = [{"run_id": "a", "etag": wire["etag"], "last_updated": wire["metadata"]["lastUpdated"]}]
    report = run(operator(**for_real, plan=plan))
    assert (report["selected"], report["spared"]) == (0, 1)
    assert runs.sent("DELETE") == []


def test_plan_about_flows_is_refused(runs: Runs, for_real: dict[str, Any]) -> None:
    plan = run(PruneFlowsOperator(task_id="plan", older_than="PT0S"))
    with pytest.raises(AirflowFailException, match="run_id"):
        run(operator(**for_real, plan=plan))


# --- the archive ---------------------------------------------------------------------------------------------------


def test_record_holds_what_the_delete_destroys(runs: Runs, for_real: dict[str, Any], folder: Path) -> None:
    runs.start("a", scenario="nan_metrics", checkpoints=12, log_lines=5)
    wire, outputs = runs.store.get_run("a"), runs.store.outputs.of("a")
    report = run(operator(**for_real, best_metric=("f1", "max"), keep_best=0))

    record = records(folder)["a"]
    assert record["conditions"] == wire["status"]["conditions"]
    assert record["run"]["spec"] == wire["spec"]
    assert record["run"]["metadata"] == wire["metadata"]
    assert len(record["outputs"]) == 12
    for archived, output in zip(record["outputs"], outputs, strict=True):
        finite = {k: v if math.isfinite(v) else None for k, v in output["spec"]["evaluationMetrics"].items()}
        assert archived["spec"]["evaluationMetrics"] == finite
        assert archived["non_finite"] == sorted(name for name, value in finite.items() if value is None)
    assert (record["summary"]["state"], record["summary"]["outputs"]) == ("succeeded", 12)
    assert record["summary"]["best"]["metrics"]["f1"] == max(o["spec"]["evaluationMetrics"]["f1"] for o in outputs)
    assert record["log"]["omitted"] == 0
    assert record["log"]["lines"][0].startswith("Run queued")
    manifest = json.loads(
        Path(report["archive"].replace(".jsonl", ".manifest.json").removeprefix("file://")).read_text()
    )
    assert (manifest["kind"], manifest["count"], manifest["policy"]["keep_best"]) == ("vi-run-archive", 1, 0)
    assert report["report"].endswith(".report.json")


def test_archive_is_written_before_the_first_delete(
    runs: Runs, for_real: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.start("a")
    found: dict[str, Any] = {}
    look = lambda: found.update(files=records(folder), deletes=runs.sent("DELETE"))  # noqa: E731
    monkeypatch.setattr(AsyncViClient, "delete_run_if", when(AsyncViClient.delete_run_if, look))
    run(operator(**for_real))
    assert (list(found["files"]), found["deletes"]) == (["a"], [])


@pytest.mark.parametrize("part", ["outputs", "logs"])
def test_run_that_cannot_be_archived_is_spared(runs: Runs, for_real: dict[str, Any], folder: Path, part: str) -> None:
    runs.start("a"), runs.start("b")
    runs.faults.add(path=f"/runs/a/{part}", status=500)
    ti = TaskInstance()
    with pytest.raises(PruneError, match="1 runs could not be deleted: a: it could not be archived: ViServerError"):
        run(operator(**for_real), ti)
    assert outcomes(ti.pushed["report"]) == {"a": "failed", "b": "deleted"}
    assert runs.ids == {"a"}
    assert list(records(folder)) == ["b"]


def test_nothing_is_written_if_no_run_can_be_archived(runs: Runs, for_real: dict[str, Any], folder: Path) -> None:
    runs.start("a")
    runs.faults.add(path="/outputs", status=500)
    with pytest.raises(PruneError):
        run(operator(**for_real))
    assert not folder.exists()
    assert runs.sent("DELETE") == []


def test_log_that_does_not_exist_is_no_obstacle(runs: Runs, for_real: dict[str, Any], folder: Path) -> None:
    runs.start("a")
    runs.faults.add(path="/logs", status=404)
    assert run(operator(**for_real))["deleted"] == 1
    assert records(folder)["a"]["log"] is None


def test_log_of_an_unknown_shape_is_archived_as_it_is(runs: Runs, for_real: dict[str, Any], folder: Path) -> None:
    runs.start("a")
    body = {"chunks": [{"content": "last words", "key": runs.emulator.secret_key}]}
    runs.faults.add(path="/logs", status=200, body=json.dumps(body), content_type="application/json")
    assert run(operator(**for_real))["deleted"] == 1
    log = records(folder)["a"]["log"]
    assert json.loads(log["raw"]) == {"chunks": [{"content": "last words", "key": "***"}]}


def test_refused_key_fails_the_task_at_once(runs: Runs, for_real: dict[str, Any]) -> None:
    runs.start("a")
    runs.faults.add(path="/outputs", status=403)
    with pytest.raises(AirflowFailException, match="ViPermissionError"):
        run(operator(**for_real))
    assert runs.ids == {"a"}


def test_log_of_a_record_is_bounded_and_redacted(
    runs: Runs, for_real: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.start("a")
    key = runs.emulator.secret_key
    lines = [
        "first" * 50,
        f"key {key}",
        "get https://user:hidden-word@host/x\x1b[31m",
        "x" * 1_990 + key + "x" * 9_000,
        "last",
    ]
    runs.faults.add(path="/logs", status=200, body=json.dumps({"items": [{"line": line} for line in lines]}))
    monkeypatch.setattr(run_record, "MAX_CHARACTERS", 2_200)
    run(operator(**for_real))
    log = records(folder)["a"]["log"]
    assert log["omitted"] == 1
    assert log["lines"][-1] == "last"
    assert len(log["lines"][-2]) == 2_001
    everything = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"hidden-word" not in everything
    assert b"\\u001b" not in everything
    assert key[:8].encode() not in everything


def test_archive_of_runs_cannot_be_restored(runs: Runs, for_real: dict[str, Any]) -> None:
    runs.start("a")
    archive = run(operator(**for_real))["archive"]
    with pytest.raises(ArchiveError, match=r"is an archive of runs, and a deleted run cannot be restored$"):
        run(RestoreFlowsOperator(task_id="restore", archive=archive))


def test_archive_of_runs_is_named_by_the_reader_of_exports(runs: Runs, for_real: dict[str, Any]) -> None:
    runs.start("a")
    archive = run(operator(**for_real))["archive"]
    with pytest.raises(ExportError, match="is a 'vi-run-archive', not a 'vi-flow-export'"):
        verify(archive)


def test_renamed_archives_are_recognized_by_their_manifest(runs: Runs, for_real: dict[str, Any], folder: Path) -> None:
    runs.start("a")
    run(operator(**for_real))
    (manifest,) = folder.glob("*.runs.manifest.json")
    (data,) = folder.glob("*.runs.jsonl")
    manifest.rename(folder / "x.flows.manifest.json")
    with pytest.raises(ArchiveError, match="it is a 'vi-run-archive' of version 1, not a 'vi-flow-archive'"):
        list(read_archive(str(data.rename(folder / "x.flows.jsonl"))))
    with pytest.raises(ArchiveError, match="is not an archive of runs"):
        list(read_run_archive(str(folder / "x.flows.jsonl")))


# --- concurrent changes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["before the archive", "before the delete"])
def test_run_that_a_colleague_edits_is_left_alone(
    runs: Runs, for_real: dict[str, Any], folder: Path, moment: str
) -> None:
    runs.start("a"), runs.start("b")
    skip = 0 if moment == "before the archive" else 1
    runs.emulator.colleague.edit_run("a", method="GET", path="/runs/a$", skip=skip, times=1)
    report = run(operator(**for_real))
    assert outcomes(report) == {"a": "changed", "b": "deleted"}
    assert counts(report) == {"changed": 1, "deleted": 1}
    assert runs.ids == {"a"}
    assert ("a" in records(folder)) is (moment == "before the delete")


def test_run_that_is_started_again_is_left_alone(runs: Runs, for_real: dict[str, Any]) -> None:
    runs.emulator.configure(put_on_existing="restart")
    runs.start("a")
    plan = run(operator())
    runs.emulator.plans.clear()
    runs.start("a", run_seconds=3600)
    assert outcomes(run(operator(**for_real, plan=plan))) == {"a": "changed"}
    assert runs.emulator.bill()["a"]["starts"] == 2
    assert runs.ids == {"a"}


def test_run_that_others_delete_is_reported(runs: Runs, for_real: dict[str, Any]) -> None:
    runs.start("a")
    runs.emulator.colleague.delete_run("a", method="GET", path="/runs/a$", skip=1, times=1)
    assert outcomes(run(operator(**for_real))) == {"a": "already_absent"}


def test_server_that_refuses_a_delete_leaves_the_run_busy(runs: Runs, for_real: dict[str, Any]) -> None:
    runs.start("a")
    runs.faults.add(method="DELETE", status=409)
    assert outcomes(run(operator(**for_real))) == {"a": "busy"}


@pytest.mark.parametrize("status", [404, 500])
def test_metrics_that_cannot_be_read_spare_the_flow(runs: Runs, for_real: dict[str, Any], status: int) -> None:
    """A 404 of a run that exists does not mean that it has no metrics."""
    runs.start("a"), runs.start("b"), runs.start("c", {"vi_airflow.flow_id": "g"})
    runs.faults.add(path="/runs/a/outputs", status=status)
    report = run(operator(**for_real, keep_best=1, best_metric=("f2", "max")))
    assert outcomes(report) == {"c": "deleted"}
    assert report["spared"] == 2
