"""A run that is not found once, by a poll or by the read after the wait, is waited for."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from tests.tries import begun, complete, deferred, execute, starts
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.training import job
from vi_airflow_provider.training.job import TrainingJob
from vi_airflow_provider.training.waiting import RunEnd, WaitEnd, build_event

pytestmark = pytest.mark.vi_emulator(flows=1, run_seconds=3600, runs=0)


@pytest.mark.parametrize("outcome", [RunEnd.GONE, RunEnd.ENDED])
def test_worker_waits_on_for_a_run_that_is_found_again(
    vi_emulator: Emulator, flow_id: str, outcome: RunEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait, waits = TrainingJob.wait, list[str]()

    def ended_at_first(each: TrainingJob, connect: Any, taken: Any, *, tail: bool) -> WaitEnd:
        waits.append(taken.run.run_id)
        if len(waits) == 1:
            return WaitEnd(taken.run.run_id, outcome)
        vi_emulator.advance(7200)
        return wait(each, connect, taken, tail=tail)

    monkeypatch.setattr(TrainingJob, "wait", ended_at_first)
    result = execute(flow_id)
    assert (result["state"], waits, starts(vi_emulator)) == ("succeeded", [result["run_id"]] * 2, [1])


def test_task_defers_again_for_a_run_that_is_found_again(vi_emulator: Emulator, flow_id: str) -> None:
    trigger = deferred(flow_id)
    with pytest.raises(TaskDeferred) as raised:
        complete(flow_id, build_event(WaitEnd(trigger.run_id, RunEnd.GONE)), deferrable=True)
    assert raised.value.trigger.serialize()[1]["run_id"] == trigger.run_id


def test_run_that_the_read_after_the_wait_misses_once_has_succeeded(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "_READ_AGAIN", 0.01)
    run_id = begun(flow_id, monkeypatch)
    vi_emulator.advance(7200)
    vi_emulator.faults.add(method="GET", path=f"/runs/{run_id}$", status=404, times=1)
    assert complete(flow_id, build_event(WaitEnd(run_id, RunEnd.ENDED)))["state"] == "succeeded"


def test_run_that_is_not_found_after_the_wait_either_is_gone(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "_READ_AGAIN", 0.01)
    monkeypatch.setattr(job, "VISIBILITY_DELAY", 0.1)
    run_id = begun(flow_id, monkeypatch)
    vi_emulator.faults.add(method="GET", path=f"/runs/{run_id}$", status=404, times=None)
    for outcome in (RunEnd.GONE, RunEnd.ENDED):
        with pytest.raises(Exception, match="does not exist any more"):
            complete(flow_id, build_event(WaitEnd(run_id, outcome)))
