"""A cleanup that is killed amid its deletes, and the retry that follows."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Final

import pytest

from tests.tasks import TaskInstance
from tests.unit.cleanup.support import (
    OLD,
    Vi,
    archived,
    archives,
    counts,
    operator,
    outcomes,
    run,
)
from vi_airflow_provider.cleanup.archive import read_archive

# --- SIGKILL, and a retry ------------------------------------------------------------------------------------------

TASK: Final = """
import json
import sys
from tests.tasks import TaskInstance
from vi_airflow_provider.operators.flows import PruneFlowsOperator
PruneFlowsOperator(
    task_id="prune", dry_run=False, archive_to=sys.argv[1], concurrency=2, **json.loads(sys.argv[2])
).execute({"ti": TaskInstance()})
"""


def kill_amid_the_deletes(vi: Vi, folder: Path, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a task in a process, and kill it when it has deleted six flows."""
    # Six deletes are let through; those after them hang, until the client is killed.
    vi.faults.add(method="DELETE", skip=6, times=None, latency_ms=600_000)
    hangs = threading.Event()
    request_log = vi.emulator._backend.request_log
    record = request_log.record

    def watched(*arguments: Any) -> Any:
        recorded = record(*arguments)
        if len(vi.sent("DELETE")) > 6:
            hangs.set()
        return recorded

    monkeypatch.setattr(request_log, "record", watched)
    before = len(vi.flows)
    command = [sys.executable, "-W", "ignore", "-c", TASK, folder.as_uri(), json.dumps(arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as task:  # noqa: S603
        if not hangs.wait(120):
            task.kill()
            pytest.fail(task.communicate()[0].decode())
        task.send_signal(signal.SIGKILL)
        task.communicate()
    assert task.returncode == -signal.SIGKILL
    assert before - len(vi.flows) == 6
    vi.faults.clear()


def test_retry_after_a_kill_completes_the_cleanup(
    vi: Vi, for_real: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, stale = vi.flows, vi.stale()
    kill_amid_the_deletes(vi, folder, {"older_than": OLD}, monkeypatch)
    assert set(archived(folder)) == stale
    (first,) = archives(folder)

    report = run(operator(**for_real), TaskInstance(try_number=2))

    assert counts(report) == {"deleted": len(stale) - 6}
    assert vi.flows == {flow_id: flow for flow_id, flow in before.items() if flow_id not in stale}
    assert len(archives(folder)) == 2
    assert {flow_id: flow.to_wire() for flow_id, flow in archived(folder).items()} == {i: before[i] for i in stale}
    assert [Path(uri).name for uri in report["earlier_archives"]] == [Path(first).name]


def test_retry_with_a_plan_reports_the_archive_of_the_killed_try(
    vi: Vi, for_real: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = vi.flows
    plan = run(operator())["outcomes"]
    kill_amid_the_deletes(vi, folder, {"plan": plan}, monkeypatch)

    report = run(operator(**for_real, plan=plan), TaskInstance(try_number=2))

    assert counts(report) == {"already_absent": 6, "deleted": len(plan) - 6}
    (first,) = report["earlier_archives"]
    absent = {flow_id for flow_id, outcome in outcomes(report).items() if outcome == "already_absent"}
    assert absent == before.keys() - vi.flows.keys() - {flow.flow_id for flow in read_archive(report["archive"])}
    assert absent <= {flow.flow_id for flow in read_archive(first)}


@pytest.mark.parametrize(
    ("other", "earlier"),
    [({"try_number": 2}, 1), ({}, 0), ({"try_number": 2, "map_index": 3}, 0), ({"try_number": 2, "run_id": "r"}, 0)],
    ids=str,
)
def test_earlier_archives_are_those_of_the_same_task_instance(
    other: dict[str, Any], earlier: int, vi: Vi, for_real: dict[str, Any]
) -> None:
    assert run(operator(**for_real))["earlier_archives"] == []
    assert len(run(operator(**for_real), TaskInstance(**other))["earlier_archives"]) == earlier
