"""A cleanup of runs that is killed: by SIGKILL amid its deletes, and by Airflow while it plans, archives or deletes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.tasks import TaskInstance
from tests.unit.cleanup.run_support import Runs, operator, outcomes, records, run
from vi_airflow_provider.api.transport.loop_thread import StoppedError
from vi_airflow_provider.emulator import Emulator

pytestmark = pytest.mark.vi_emulator(flows=3, runs=0)
ALL: Final = {f"run-{number}" for number in range(12)}
LETS_THROUGH: Final = 4

TASK: Final = """
import json
import sys
from tests.tasks import TaskInstance
from vi_airflow_provider.operators.runs import PruneRunsOperator
arguments = {"concurrency": 2, "max_delete_fraction": 1, **json.loads(sys.argv[2])}
PruneRunsOperator(task_id="prune", dry_run=False, archive_to=sys.argv[1], **arguments).execute({"ti": TaskInstance()})
"""


@pytest.fixture
def runs(vi: Any, vi_emulator: Emulator) -> Runs:
    """An organization with twelve runs that have ended, and the active sample run."""
    runs = Runs(vi_emulator)
    for run_id in sorted(ALL):
        runs.start(run_id)
    return runs


def noticed(runs: Runs, notice: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have something called after each request that the emulator records."""
    request_log = runs.emulator._backend.request_log
    record = request_log.record

    def watched(*arguments: Any) -> Any:
        recorded = record(*arguments)
        notice()
        return recorded

    monkeypatch.setattr(request_log, "record", watched)


def kill_amid(
    runs: Runs, folder: Path, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch, **fault: Any
) -> None:
    """Run a task in a process, and kill it when a request that matches the fault hangs."""
    rule = runs.faults.add(times=None, latency_ms=600_000, **fault)
    hangs = threading.Event()
    with monkeypatch.context() as patch:
        noticed(runs, lambda: hangs.set() if rule.fired else None, patch)
        command = [sys.executable, "-W", "ignore", "-c", TASK, folder.as_uri(), json.dumps(arguments)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as task:  # noqa: S603
            hung = hangs.wait(120)
            task.send_signal(signal.SIGKILL)
            assert hung, task.communicate()
            task.communicate()
    runs.faults.clear()


@pytest.mark.parametrize("given", [False, True], ids=["policy", "plan"])
def test_retry_after_sigkill_finishes_and_deletes_nothing_twice(
    runs: Runs, for_real: dict[str, Any], folder: Path, given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: dict[str, Any] = {"plan": run(operator())["outcomes"]} if given else {"older_than": "PT0S"}
    kill_amid(runs, folder, arguments, monkeypatch, method="DELETE", skip=LETS_THROUGH)
    left = runs.ids & ALL
    assert len(left) == len(ALL) - LETS_THROUGH
    assert records(folder).keys() == ALL
    runs.emulator.clear_requests()

    report = run(operator(**for_real, **arguments), TaskInstance(try_number=2))

    deleted = {request.rpartition("/")[2] for request in runs.sent("DELETE")}
    assert deleted == left
    assert len(runs.sent("DELETE")) == len(left)
    assert runs.ids.isdisjoint(ALL)
    absent = {"already_absent": LETS_THROUGH} if given else {}
    assert {name: report[name] for name in ("deleted", *absent)} == {"deleted": len(left), **absent}
    assert len(report["earlier_archives"]) == 1
    assert all(account["starts"] == 1 for account in runs.emulator.bill().values())


@pytest.mark.parametrize("part", ["/outputs", "/logs"])
def test_sigkill_while_it_archives_deletes_nothing_and_leaves_no_archive(
    runs: Runs, for_real: dict[str, Any], folder: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_amid(runs, folder, {"older_than": "PT0S"}, monkeypatch, path=part, skip=3)
    assert runs.ids >= ALL
    assert not folder.exists()
    report = run(operator(**for_real), TaskInstance(try_number=2))
    assert (report["deleted"], report["earlier_archives"]) == (len(ALL), [])


STEPS: Final[dict[str, Callable[[Runs], bool]]] = {
    "plans": lambda runs: runs.sent() == ["GET runs"],
    "measures": lambda runs: any(sent.endswith("/outputs") for sent in runs.sent()),
    "archives": lambda runs: any(sent.endswith("/logs") for sent in runs.sent()),
}


@pytest.mark.parametrize("step", STEPS)
def test_task_that_airflow_kills_before_its_deletes_deletes_nothing(
    runs: Runs, for_real: dict[str, Any], folder: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = operator(**for_real, keep_best=1, best_metric=("f1", "max"), page_size=2)
    noticed(runs, lambda: task.on_kill() if STEPS[step](runs) else None, monkeypatch)
    with pytest.raises(StoppedError):
        run(task)
    assert runs.sent("DELETE") == []
    assert not folder.exists()


def test_task_that_airflow_kills_amid_its_deletes_stops(
    runs: Runs, for_real: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    task = operator(**for_real, concurrency=1)
    noticed(runs, lambda: task.on_kill() if len(runs.sent("DELETE")) == 3 else None, monkeypatch)
    with pytest.raises(StoppedError):
        run(task)
    deleted = len(ALL - runs.ids)
    assert 2 <= deleted <= 3
    assert f"of {len(ALL)} selected runs were deleted" in caplog.text
    assert records(folder).keys() == ALL

    report = run(operator(**for_real), TaskInstance(try_number=2))
    assert report["deleted"] == len(ALL) - deleted
    assert set(outcomes(report)) == ALL - (ALL - runs.ids - set(outcomes(report)))
