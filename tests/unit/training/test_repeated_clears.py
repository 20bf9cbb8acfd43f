"""A deferred task that is cleared twenty times: one run is active at any time, and the last one survives."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.tries import Try, complete, deferred, event_of, starts
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.hooks.vi import ViHook
from vi_airflow_provider.training.job import TrainingJob
from vi_airflow_provider.training.take_up import KILLED_FOR_RESTART, KILLED_WITH_TASK
from vi_airflow_provider.triggers.runs import RunTrigger

pytestmark = pytest.mark.vi_emulator(flows=1, run_seconds=3600, runs=0)

CLEARS = 20
#: When Airflow ends the trigger of a try that was cleared, as seen from the try that follows. Airflow 3.3 promises no
#: order; before 3.3, and when the triggerer is killed, nothing is called.
MOMENTS = ("before", "meanwhile", "after", "never")


def end(trigger: RunTrigger) -> None:
    """End a trigger as a person does who clears its task."""
    asyncio.run(trigger.on_kill())


def cleared(trigger: RunTrigger, flow_id: str, ti: Try, moment: str, **arguments: Any) -> RunTrigger:
    """Clear a task whose try waits in a trigger, and return the trigger of the next try."""
    if moment == "before":
        end(trigger)
    with ThreadPoolExecutor() as triggerer:
        ended = triggerer.submit(end, trigger) if moment == "meanwhile" else None
        following = deferred(flow_id, ti, **arguments)
        if ended is not None:
            ended.result()
    if moment == "after":
        end(trigger)
    return following


@pytest.mark.parametrize("scenario", ["succeed", "slow_kill"])
@pytest.mark.parametrize("order", [*MOMENTS, "mixed"])
def test_only_the_run_of_the_last_clear_is_active(
    vi_emulator: Emulator, flow_id: str, order: str, scenario: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi_emulator.plans.add(run_seconds=3600, queue_seconds=0, scenario=scenario)
    # A killed run of the slow scenario goes on for a while, in which the next try waits.
    monkeypatch.setattr(TrainingJob, "_pause", lambda _job, seconds: vi_emulator.advance(600 if seconds else 0))
    ti = Try()
    trigger = deferred(flow_id, ti)
    for number in range(CLEARS):
        # Airflow adds the retries to the number of the try that was cleared.
        ti = Try(try_number=ti.try_number + 1, max_tries=ti.try_number + 3)
        trigger = cleared(trigger, flow_id, ti, MOMENTS[number % 4] if order == "mixed" else order)
        assert [run.run_id for run in ViHook().list_runs() if not run.has_stopped] == [trigger.run_id]
    killed = [run for run in ViHook().list_runs() if run.run_id != trigger.run_id]
    assert {run.metadata.attributes["vi_airflow.kill_reason"] for run in killed} <= {
        KILLED_WITH_TASK,
        KILLED_FOR_RESTART,
    }
    assert starts(vi_emulator) == [1] * (CLEARS + 1)

    vi_emulator.advance(7200)
    assert complete(flow_id, event_of(trigger), ti)["run_id"] == trigger.run_id


def test_adopting_task_keeps_its_only_run(vi_emulator: Emulator, flow_id: str) -> None:
    ti = Try()
    trigger = first = deferred(flow_id, ti, on_clear="adopt")
    for _ in range(CLEARS):
        ti = Try(try_number=ti.try_number + 1, max_tries=ti.try_number + 3)
        trigger = cleared(trigger, flow_id, ti, "after", on_clear="adopt")
        assert trigger.run_id == first.run_id
    assert starts(vi_emulator) == [1]
    vi_emulator.advance(7200)
    assert complete(flow_id, event_of(trigger), ti)["run_id"] == first.run_id
