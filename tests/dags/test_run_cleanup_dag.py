"""The example DAG for the cleanup of runs, executed by Airflow against the emulator."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from demo import local_airflow
from tests.unit.cleanup.run_support import records
from vi_airflow_provider.emulator import Emulator

pytestmark = pytest.mark.vi_emulator(flows=3, runs=30)


@pytest.fixture
def dag(examples: dict[str, Any]) -> Any:
    return examples["cleanup_runs"]


@pytest.fixture
def orphan(vi_emulator: Emulator) -> str:
    """The id of an active run whose lease has expired two hours ago."""
    vi_emulator.plans.add(run="^orphan$", run_seconds=3600)
    flow = vi_emulator.store.get_flow(vi_emulator.store.flow_ids()[0])["spec"]
    attributes = {"vi_airflow.deadline": str(int(time.time() * 1000) - 7_200_000), "vi_airflow.task": "train"}
    vi_emulator.store.put_run("orphan", {"spec": {"flow": flow}, "metadata": {"attributes": attributes}})
    return "orphan"


def test_nothing_is_killed_or_deleted_by_default(dag: Any, vi_emulator: Emulator, orphan: str) -> None:
    before = vi_emulator.store.run_ids()
    run = local_airflow.run(dag)

    assert str(getattr(run.state, "value", run.state)) == "success"
    assert vi_emulator.store.run_ids() == before
    assert {request.method for request in vi_emulator.requests} == {"GET"}
    (pruned,) = local_airflow.returned(run, "prune")
    (killed,) = local_airflow.returned(run, "kill_overdue")
    assert pruned["selected"] > 0
    assert [outcome["run_id"] for outcome in killed["outcomes"]] == [orphan]


def test_orphans_are_killed_and_old_runs_archived_and_deleted(
    dag: Any, vi_emulator: Emulator, orphan: str, tmp_path: Path
) -> None:
    before = set(vi_emulator.store.run_ids())
    run = local_airflow.run(dag, {"dry_run": False, "archive_to": tmp_path.as_uri()})

    assert str(getattr(run.state, "value", run.state)) == "success"
    gone = before - set(vi_emulator.store.run_ids())
    (pruned,) = local_airflow.returned(run, "prune")
    assert gone == {outcome["run_id"] for outcome in pruned["outcomes"]} == records(tmp_path).keys()
    assert vi_emulator.store.get_run(orphan)["spec"]["killedAt"] is not None


def test_failure_of_one_task_does_not_stop_the_other(dag: Any, vi_emulator: Emulator, orphan: str) -> None:
    run = local_airflow.run(dag, {"dry_run": False})  # without a folder, the other task deletes nothing
    assert str(getattr(run.state, "value", run.state)) == "failed"
    assert vi_emulator.store.get_run(orphan)["spec"]["killedAt"] is not None
