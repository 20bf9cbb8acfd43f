"""A trigger that Airflow cancels before 3.3, where it tells a person's action and a shutdown apart by no signal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tries import deferred
from tests.versions import AIRFLOW
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.training.identity import KILL_REASON, OWNER
from vi_airflow_provider.training.take_up import KILLED_WITH_TASK
from vi_airflow_provider.triggers import runs
from vi_airflow_provider.triggers.runs import RunTrigger

pytestmark = pytest.mark.vi_emulator(flows=1, run_seconds=3600, runs=0)

LEFT = ["deferred", "scheduled", "queued", "running", "up_for_retry", None]
ENDED = ["failed", "success", "skipped", "removed", "upstream_failed"]


@pytest.fixture
def trigger(vi_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> RunTrigger:
    monkeypatch.setattr(runs, "_AIRFLOW_CALLS_ON_KILL", False)
    trigger = deferred(vi_emulator.store.flow_ids()[0], poll_interval=0.1)
    trigger.first_poll = 0.0
    return trigger


def in_state(state: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_stored_state", lambda ti: state)


async def run_as_airflow(trigger: RunTrigger) -> None:
    """Run a trigger as each version of Airflow does."""
    try:
        async for _ in trigger.run():
            pass
    finally:
        with suppress(Exception):
            await trigger.cleanup()


def cancel(vi: Emulator, trigger: RunTrigger, run: Callable[[RunTrigger], Awaitable[None]] = run_as_airflow) -> Any:
    """Cancel a trigger that polls, again and again, as the triggerer does; return the run afterwards."""

    async def main() -> None:
        running = asyncio.ensure_future(run(trigger))
        before = len(vi.requests)
        while len(vi.requests) == before:  # noqa: ASYNC110 - the requests are served by a thread
            await asyncio.sleep(0.01)
        while not running.done():
            running.cancel()
            await asyncio.sleep(0.001)
        await asyncio.gather(*runs._killing)

    asyncio.run(asyncio.wait_for(main(), 30))
    return vi.store.get_run(trigger.run_id)


@pytest.mark.parametrize("state", ENDED)
def test_run_is_killed_if_a_person_has_ended_the_task(
    vi_emulator: Emulator, trigger: RunTrigger, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_state(state, monkeypatch)
    run = cancel(vi_emulator, trigger)
    assert run["spec"]["killedAt"] is not None
    assert run["metadata"]["attributes"][KILL_REASON] == KILLED_WITH_TASK


@pytest.mark.parametrize("state", LEFT)
def test_run_is_left_in_any_other_state(
    vi_emulator: Emulator, trigger: RunTrigger, state: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_state(state, monkeypatch)
    assert cancel(vi_emulator, trigger)["spec"].get("killedAt") is None


@pytest.mark.parametrize("case", ["taken over", "as the author wants", "Airflow calls on_kill"])
def test_run_is_left_although_the_task_has_ended(
    vi_emulator: Emulator, trigger: RunTrigger, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_state("failed", monkeypatch)
    if case == "taken over":
        vi_emulator.store.patch_run(trigger.run_id, {"metadata": {"attributes": {OWNER: "9/9"}}})
    elif case == "as the author wants":
        trigger.cancel_on_kill = False
    else:
        monkeypatch.setattr(runs, "_AIRFLOW_CALLS_ON_KILL", True)
    assert cancel(vi_emulator, trigger)["spec"].get("killedAt") is None


def test_trigger_that_ends_by_itself_kills_nothing(
    vi_emulator: Emulator, trigger: RunTrigger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The triggerer cleans up after every trigger, and its task may be in any state by then."""
    in_state("failed", monkeypatch)
    trigger.limits = {"wait_deadline": 1.0}
    asyncio.run(run_as_airflow(trigger))
    assert vi_emulator.store.get_run(trigger.run_id)["spec"].get("killedAt") is None


def test_kill_that_fails_is_only_reported(
    vi_emulator: Emulator, trigger: RunTrigger, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_state("failed", monkeypatch)
    vi_emulator.faults.add(method="PATCH", path="/runs/", status=503, times=None)
    assert cancel(vi_emulator, trigger)["spec"].get("killedAt") is None


@pytest.mark.parametrize("state", ["failed", "deferred"])
def test_state_is_read_where_airflow_keeps_it(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ti: Any = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=3)
    if AIRFLOW >= (3, 0):
        task_runner = pytest.importorskip("airflow.sdk.execution_time.task_runner")
        states = staticmethod(lambda **asked: {"r": {"t_3": state}} if asked["map_index"] == 3 else {})
        monkeypatch.setattr(task_runner.RuntimeTaskInstance, "get_task_states", states)
    else:
        stored = {("d", "r", "t", 3): SimpleNamespace(state=state)}
        kind = type("TaskInstance", (), {"get_task_instance": staticmethod(lambda *key: stored[key])})
        ti = kind()
        vars(ti).update(dag_id="d", run_id="r", task_id="t", map_index=3)
    assert runs._stored_state(ti) == state
    assert runs._stored_state(None) is None


@pytest.mark.skipif(AIRFLOW >= (3, 0), reason="the runner of Airflow 3 needs its supervisor")
@pytest.mark.parametrize(("state", "killed"), [("failed", True), ("deferred", False)])
def test_triggerer_of_airflow_2_ends_the_trigger_in_time(
    vi_emulator: Emulator, trigger: RunTrigger, state: str, killed: bool
) -> None:
    from airflow.jobs.triggerer_job_runner import TriggerRunner

    class TaskInstance:
        dag_id, run_id, task_id, map_index, try_number, trigger_timeout = "d", "r", "t", -1, 1, None

        @staticmethod
        def get_task_instance(*_key: Any) -> Any:
            return SimpleNamespace(state=state)

    made: Any = trigger
    made.task_instance, made.trigger_id = TaskInstance(), 1
    kind: Any = TriggerRunner
    runner = kind()
    runner.triggers[1] = {"name": "d/r/t/-1/1 (ID 1)", "events": 0}
    run = cancel(vi_emulator, trigger, lambda each: runner.run_trigger(1, each))
    assert (run["spec"].get("killedAt") is not None) is killed
