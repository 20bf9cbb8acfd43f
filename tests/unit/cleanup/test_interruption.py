"""A cleanup that Airflow ends, by the signals and handlers that Airflow uses, stops within the requests in flight."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Final

import pytest

from tests.background import in_background
from tests.unit.cleanup.interrupted import CONCURRENCY
from tests.unit.cleanup.support import OLD, Vi, archived, run, when
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.transport.loop_thread import StoppedError
from vi_airflow_provider.cleanup import destination
from vi_airflow_provider.cleanup.archive import write_archive
from vi_airflow_provider.operators.flows import DeleteFlowOperator, PruneFlowsOperator, RestoreFlowsOperator

RAISED: Final = {
    "timeout": "AirflowTaskTimeout",
    "airflow-2": "Terminated",
    "airflow-3": "StoppedError",
    "control-c": "KeyboardInterrupt",
}


@pytest.mark.parametrize("way", RAISED)
def test_signal_stops_the_deletes_within_the_requests_in_flight(way: str) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.unit.cleanup.interrupted", way, "3", "seed"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603 - ourselves
    reports = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(reports) == 3, done.stderr
    for report in reports:
        assert report["raised"] == RAISED[way]
        assert report["deleted"] < report["selected"]
        assert report["archived"]
        assert not report["running"]
    # Python may take 5 ms to switch from the thread of the event loop to the one that the signal has interrupted. In
    # this time, each of the concurrent requests can be followed by others if they take less. A busy machine may take
    # longer, but not each time.
    assert any(report["late"] <= CONCURRENCY * (1 if report["latency_ms"] >= 5 else 3) for report in reports), reports


def test_hanging_requests_do_not_delay_the_end(vi: Vi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = vi.stale()
    vi.faults.add(method="DELETE", skip=3, times=None, latency_ms=600_000)
    operator = prune(tmp_path)
    hangs = threading.Event()
    notice_request(vi, lambda: hangs.set() if len(vi.sent("DELETE")) == 5 else None, monkeypatch)

    def kill() -> None:
        hangs.wait(60)
        operator.on_kill()

    with in_background(kill), pytest.raises(StoppedError, match="the task was killed"):
        run(operator)
    assert len(vi.sent("DELETE")) == 5
    assert len(stale - vi.stale()) == 3
    assert set(archived(tmp_path)) == stale


def test_interruption_logs_how_many_flows_were_deleted(
    vi: Vi, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = len(vi.stale())
    operator = prune(tmp_path, concurrency=1)
    notice_request(vi, lambda: operator.on_kill() if len(vi.sent("DELETE")) == 3 else None, monkeypatch)
    with pytest.raises(StoppedError):
        run(operator)
    deleted = stale - len(vi.stale())
    assert f"Interrupted: {deleted} of {stale} selected flows were deleted" in caplog.text


def test_task_killed_while_it_archives_deletes_nothing(vi: Vi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    operator = prune(tmp_path)
    monkeypatch.setattr(destination, "write_archive", when(write_archive, operator.on_kill))
    with pytest.raises(StoppedError):
        run(operator)
    assert vi.sent("DELETE") == []


@pytest.mark.parametrize("given", [False, True])
def test_task_killed_while_it_plans_stops_reading_and_archives_nothing(
    given: bool, vi: Vi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = run(prune(tmp_path, dry_run=True))["outcomes"] if given else None
    operator = prune(tmp_path, page_size=2, plan=plan)
    vi.emulator.clear_requests()
    notice_request(vi, operator.on_kill, monkeypatch)
    with pytest.raises(StoppedError):
        run(operator)
    assert 1 <= len(vi.sent()) <= 2  # the next page may be in flight
    assert vi.sent("DELETE") == []
    assert list(tmp_path.iterdir()) == []


def test_killed_delete_of_a_single_flow_deletes_nothing(
    vi: Vi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow_id = min(vi.stale())
    operator = DeleteFlowOperator(task_id="delete", flow_id=flow_id, archive_to=tmp_path.as_uri())
    monkeypatch.setattr(destination, "write_archive", when(write_archive, operator.on_kill))
    with pytest.raises(StoppedError):
        run(operator)
    assert vi.sent("DELETE") == []


@pytest.mark.parametrize("if_exists", ["fail", "skip", "replace"])
def test_killed_restore_writes_nothing_further(
    if_exists: Any, vi: Vi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = run(prune(tmp_path))["archive"]
    operator = RestoreFlowsOperator(task_id="restore", archive=archive, if_exists=if_exists)
    restore = ViClient.restore_flow_if

    def restore_and_kill(*arguments: Any) -> Any:
        written = restore(*arguments)
        operator.on_kill()
        return written

    monkeypatch.setattr(ViClient, "restore_flow_if", restore_and_kill)
    with pytest.raises(StoppedError):
        run(operator)
    assert len(vi.sent("PUT")) == 1


def prune(folder: Path, **arguments: Any) -> PruneFlowsOperator:
    defaults = {"older_than": OLD, "dry_run": False, "archive_to": folder.as_uri(), "concurrency": 2}
    return PruneFlowsOperator(task_id="prune", **{**defaults, **arguments})


def notice_request(vi: Vi, notice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have something called after each request that the emulator records."""
    request_log = vi.emulator._backend.request_log
    record = request_log.record

    def noticed(*arguments: Any) -> Any:
        recorded = record(*arguments)
        notice()
        return recorded

    monkeypatch.setattr(request_log, "record", noticed)
