"""Where the limits of a wait begin, and what a retry and a restart of the triggerer make of them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from tests.tries import Try, begun, complete, deferred, event_of, execute, starts
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.operators.runs import RUN_ID_KEY
from vi_airflow_provider.training.identity import DEADLINE, KILL_REASON
from vi_airflow_provider.training.waiting import RunEnd, WaitEnd, build_event, read_event
from vi_airflow_provider.training.watch import Limit
from vi_airflow_provider.triggers.runs import RunTrigger

pytestmark = pytest.mark.vi_emulator(flows=3, run_seconds=3600, runs=0)


def attributes(emulator: Emulator, run_id: str) -> Any:
    return emulator.store.get_run(run_id)["metadata"]["attributes"]


def test_timeout_of_a_worker_kills_the_run(vi_emulator: Emulator, flow_id: str) -> None:
    ti = Try()
    with pytest.raises(AirflowFailException, match="exceeded timeout"):
        execute(flow_id, ti, timeout=0.3, poll_interval=30)
    assert attributes(vi_emulator, ti.pushed[RUN_ID_KEY])[KILL_REASON] == Limit.TIMEOUT


@pytest.mark.parametrize("deferrable", [False, True])
def test_retry_waits_for_the_whole_timeout(
    vi_emulator: Emulator, flow_id: str, deferrable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi_emulator.plans.add(run_seconds=100.5)
    run_id = begun(flow_id, monkeypatch, timeout=50)
    vi_emulator.advance(100)
    again = Try(try_number=2)
    if deferrable:
        event = event_of(deferred(flow_id, again, timeout=50, poll_interval=0.1))
        result = complete(flow_id, event, again, timeout=50)
    else:
        result = execute(flow_id, again, timeout=50)
    assert (result["run_id"], result["state"], starts(vi_emulator)) == (run_id, "succeeded", [1])


def test_restart_of_the_triggerer_does_not_extend_the_timeout(vi_emulator: Emulator, flow_id: str) -> None:
    trigger = deferred(flow_id, timeout=0.2, poll_interval=30)
    assert trigger.limits is not None
    wait_deadline = trigger.limits["wait_deadline"]
    time.sleep(max(0.0, wait_deadline - time.time()))
    restarted = RunTrigger(**trigger.serialize()[1])
    end = read_event(event_of(restarted))
    assert (end.outcome, end.limit, end.wait_deadline) == (RunEnd.EXCEEDED, Limit.TIMEOUT, wait_deadline)


def test_wait_that_goes_on_keeps_its_timeout(vi_emulator: Emulator, flow_id: str) -> None:
    vi_emulator.plans.add(queue_seconds=0)
    trigger = deferred(flow_id, timeout=60, max_queue_time=1)
    assert trigger.limits is not None
    end = WaitEnd(trigger.run_id, RunEnd.EXCEEDED, Limit.MAX_QUEUE_TIME, wait_deadline=trigger.limits["wait_deadline"])
    with pytest.raises(TaskDeferred) as again:
        complete(flow_id, build_event(end), timeout=60, max_queue_time=1)
    assert again.value.trigger.serialize()[1]["limits"]["wait_deadline"] == trigger.limits["wait_deadline"]


def test_event_of_the_triggerer_carries_the_end_of_the_wait(vi_emulator: Emulator, flow_id: str) -> None:
    vi_emulator.plans.add(scenario="stuck_queued")
    trigger = deferred(flow_id, timeout=60, max_queue_time=0.3)
    assert trigger.limits is not None
    assert read_event(event_of(trigger)).wait_deadline == trigger.limits["wait_deadline"]


@pytest.mark.parametrize(("arguments", "renewed"), [({"timeout": 60}, True), ({"max_queue_time": 9}, False)], ids=str)
def test_lease_begins_again_with_the_wait(
    vi_emulator: Emulator,
    flow_id: str,
    arguments: dict[str, float],
    renewed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits: Any = {"max_duration": 60, **arguments}
    run_id = begun(flow_id, monkeypatch, **limits)
    before = int(attributes(vi_emulator, run_id)[DEADLINE])
    time.sleep(0.01)
    begun(flow_id, monkeypatch, Try(try_number=2), **limits)
    assert (int(attributes(vi_emulator, run_id)[DEADLINE]) > before) is renewed
