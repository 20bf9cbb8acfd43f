"""``on_kill`` of a trigger, which Airflow 3.3 calls when a person has acted, or another triggerer has the trigger."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.tries import Try, begun, deferred
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.triggers import runs
from vi_airflow_provider.triggers.runs import RunTrigger

pytestmark = pytest.mark.vi_emulator(flows=1, run_seconds=3600, runs=0)


def kill(vi: Emulator, trigger: RunTrigger) -> bool:
    """Call a trigger as Airflow does, and return whether its run is killed."""
    asyncio.run(trigger.on_kill())
    return vi.store.get_run(trigger.run_id)["spec"].get("killedAt") is not None


@pytest.mark.parametrize(
    ("state", "killed"),
    [
        *[(state, False) for state in ("deferred", "scheduled", "queued", "running", "up_for_retry")],
        *[(state, True) for state in ("failed", "success", "skipped", "removed")],
        (None, True),  # a task that was cleared is in no state, and an unknown state does not refute Airflow
    ],
)
def test_run_is_killed_only_if_a_person_has_ended_the_task(
    vi_emulator: Emulator, flow_id: str, state: str | None, killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger, logged = deferred(flow_id), list[str]()
    monkeypatch.setattr(trigger.log, "info", lambda message, *_: logged.append(message))
    monkeypatch.setattr(runs, "_stored_state", lambda ti: state)
    assert kill(vi_emulator, trigger) is killed
    assert logged == ([] if killed else ["Run %s goes on: its task is in state %s, and may need it."])


@pytest.mark.parametrize("state", ["failed", "success", "skipped", "removed"])
def test_run_that_a_clear_leaves_is_killed_with_a_task_that_was_not_cleared(
    vi_emulator: Emulator, flow_id: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = deferred(flow_id, on_clear="adopt")
    monkeypatch.setattr(runs, "_stored_state", lambda ti: state)
    assert kill(vi_emulator, trigger)


@pytest.mark.parametrize("state", ["deferred", "restarting", "scheduled", "queued", "running", "up_for_retry", None])
def test_run_that_is_to_be_adopted_is_left_if_its_task_may_have_been_cleared(
    vi_emulator: Emulator, flow_id: str, state: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = deferred(flow_id, on_clear="adopt")
    monkeypatch.setattr(runs, "_stored_state", lambda ti: state)
    assert not kill(vi_emulator, trigger)
    assert begun(flow_id, monkeypatch, Try(try_number=2, max_tries=4), on_clear="adopt") == trigger.run_id


def test_run_is_killed_although_the_state_is_not_read_in_time(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger, released = deferred(flow_id), threading.Event()

    async def kill_then_release() -> None:
        try:
            await trigger.on_kill()
        finally:
            released.set()  # the loop waits for its threads

    monkeypatch.setattr(runs, "STATE_TIMEOUT", 0.1)
    monkeypatch.setattr(runs, "_stored_state", lambda ti: released.wait())
    asyncio.run(kill_then_release())
    assert vi_emulator.store.get_run(trigger.run_id)["spec"].get("killedAt") is not None
