"""Event triggers through restarts, outages and broken stores: they miss nothing, and never end."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any, Final

import pytest

from tests.unit.gates.modes import stored
from tests.unit.gates.virtual import VirtualClock, VirtualVi
from tests.unit.gates.watching import INTERVAL, SETTLED, Watching, at
from vi_airflow_provider.api.failed_polls import MAX_PAUSE
from vi_airflow_provider.triggers.events import FlowEventTrigger

DAY: Final = 86_400.0


# --- restarts ------------------------------------------------------------------------------------------------------


def test_a_later_restart_repeats_and_misses_nothing(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    vi.put("a")
    clock.at(100, lambda: vi.put("b"))
    watching.run(200)
    vi.put("c")
    vi.put("a", schema="v2")
    vi.store.delete_flow("b")
    clock.sleep(1000)
    watching.run(1500)
    watching.run(2000)
    assert watching.changes == [("b", "created"), ("a", "updated"), ("b", "deleted"), ("c", "created")]
    assert len(watching.events) == 2


def test_a_crash_right_after_an_event_repeats_it(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    watching.run(100)
    vi.put("a")
    trigger = stored(FlowEventTrigger(poke_interval=INTERVAL))
    trigger.asset_state_store = watching.store

    async def killed() -> None:
        running = trigger.run()
        assert (await anext(running)).payload["count"] == 1
        await running.aclose()

    clock.run(killed())
    watching.run(clock.elapsed + 200)
    watching.run(clock.elapsed + 200)
    assert watching.changes == [("a", "created")]


@pytest.mark.parametrize("received", [1, 2])
def test_a_crash_between_two_events_repeats_both(
    received: int, vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    watching.run(100)
    flow_ids = [f"f{number:03}" for number in range(150)]
    vi.put_all(flow_ids)
    trigger = stored(FlowEventTrigger(poke_interval=INTERVAL))
    trigger.asset_state_store = watching.store

    async def killed() -> None:
        running = trigger.run()
        for _ in range(received):
            await anext(running)
        await running.aclose()

    clock.run(killed())
    watching.run(clock.elapsed + 200)
    watching.run(clock.elapsed + 200)
    assert watching.changes == [(flow_id, "created") for flow_id in flow_ids]


def test_without_a_store_a_restart_starts_over(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    """Airflow has one since 3.3."""
    watching.store = None
    watching.run(100)
    vi.put("a")
    watching.run(300)
    clock.at(350, lambda: vi.put("b"))
    watching.run(500)
    assert watching.changes == [("b", "created")]


def test_a_watcher_with_another_filter_starts_over(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    vi.put("a", name="prod")
    watching.run(100)
    vi.put("b", name="stage")
    watching.run(300, name_pattern="stage*")
    watching.run(500, events=["created"])
    assert watching.events == []


def test_a_watcher_with_another_interval_continues(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    watching.run(100)
    vi.put("a")
    watching.run(300, poke_interval=30, max_failures=3)
    assert watching.changes == [("a", "created")]


def test_two_watchers_of_one_asset_have_separate_states(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    vi.put("p1", name="prod 1")
    vi.put("s1", name="stage 1")
    for until in (100, 300, 500):
        for pattern in ("prod*", "stage*"):
            watching.run(until + (pattern == "stage*") * 100, name_pattern=pattern)
    assert watching.events == []


def test_the_state_is_stored_only_when_it_has_changed(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    vi.put("a")
    clock.at(500, lambda: vi.put("b"))
    watching.run(1000)
    assert watching.store is not None
    assert watching.store.written == 3  # at the beginning, before the event, after it
    (value,) = watching.store.values.values()
    assert len(value) < 2 * 100


@pytest.mark.parametrize(
    "value", [[], "x", 5, {"a": "x"}, {"a": ["1", "2", "3"]}, {"a": None}, {"a": {"version": "1"}}], ids=str
)
def test_an_unknown_state_is_ignored(value: Any, vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    vi.put("a")
    watching.run(100)
    assert watching.store is not None
    (key,) = watching.store.values
    watching.store.values[key] = json.dumps(value)
    watching.run(300)
    assert watching.events == []
    assert watching.store.written == 2


# --- failures ------------------------------------------------------------------------------------------------------


def test_no_change_is_missed_in_an_outage(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    at(clock, {100: lambda: vi.faults.add(status=503, times=5), 150: lambda: vi.put("a")})
    watching.run(1000)
    assert watching.changes == [("a", "created")]
    assert all(two.at - one.at >= INTERVAL - 1e-6 for one, two in pairwise(vi.requests))


def test_an_outage_at_the_beginning_causes_no_event(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    vi.put("a")
    vi.faults.add(status=503, times=5)
    clock.at(600, lambda: vi.put("b"))
    watching.run(1000)
    assert watching.changes == [("b", "created")]


def test_only_consecutive_failures_count(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    at(clock, {moment: lambda: vi.faults.add(status=503, times=9) for moment in (100, 900, 1700)})
    watching.run(3000)
    assert all(two.at - one.at < INTERVAL + SETTLED for one, two in pairwise(vi.requests))


@pytest.mark.parametrize(
    ("rule", "patient"),
    [
        ({"status": 503}, 10),
        ({"drop": True}, 10),
        ({"status": 200, "body": "<html>"}, 10),
        ({"status": 401}, 1),
        ({"status": 403}, 1),
        ({"status": 400}, 1),
    ],
    ids=str,
)
def test_it_never_ends_and_polls_less_and_less_often(
    rule: dict[str, Any], patient: int, vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    fault = vi.faults.add(**rule, times=None)
    clock.at(DAY, vi.faults.clear)
    watching.run(DAY + MAX_PAUSE + 10 * INTERVAL)
    pauses = [two.at - one.at for one, two in pairwise(vi.requests) if two.at < DAY]
    assert all(pause == pytest.approx(INTERVAL, abs=SETTLED) for pause in pauses[: patient - 1])
    growing = pauses[patient - 1 :]
    assert growing[0] == pytest.approx(2 * INTERVAL, abs=SETTLED)
    assert all(one <= two + SETTLED for one, two in pairwise(growing))
    assert growing[-1] == pytest.approx(MAX_PAUSE, abs=INTERVAL)
    assert fault.fired < 24 + patient + 10
    *_, before, last = vi.requests
    assert last.at - before.at == pytest.approx(INTERVAL)


@pytest.mark.parametrize(
    ("retry_after", "pause"), [("600", 600), ("10", 60), ("86400", MAX_PAUSE), ("9" * 200, MAX_PAUSE)]
)
def test_retry_after_is_honoured_up_to_an_hour(
    retry_after: str, pause: float, vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    vi.faults.add(status=429, retry_after=retry_after, times=2)
    watching.run(4 * MAX_PAUSE)
    first, second, third, *_ = (request.at for request in vi.requests)
    for one, two in ((first, second), (second, third)):
        assert pause <= two - one + 1e-6 <= pause + INTERVAL + SETTLED


def test_a_rotated_key_is_read_from_the_connection(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    at(clock, {100: vi.rotate_key, 150: lambda: vi.put("a")})
    watching.run(300)
    assert watching.changes == [("a", "created")]


def test_a_missing_connection_does_not_end_it(
    vi: VirtualVi, clock: VirtualClock, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_VI_DEFAULT")
    at(clock, {1000: vi.connect, 3000: lambda: vi.put("a")})
    watching.run(6000)
    assert watching.changes == [("a", "created")]


def test_a_store_that_fails_does_not_repeat_an_event(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    """If the trigger failed, Airflow would start it again, and it would report the same change each time."""
    assert watching.store is not None
    at(
        clock,
        {
            100: lambda: setattr(watching.store, "broken", RuntimeError("too large")),
            150: lambda: vi.put("a"),
            1000: lambda: setattr(watching.store, "broken", None),
        },
    )
    watching.run(2000)
    watching.run(3000)
    assert watching.changes == [("a", "created")]
    assert watching.store.written == 2


def test_a_state_that_cannot_be_read_is_waited_for(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    """Without it, the trigger would start over and miss what changed since."""
    watching.run(100)
    vi.put("a")
    assert watching.store is not None
    watching.store.broken = RuntimeError("the API server is down")
    clock.at(500, lambda: setattr(watching.store, "broken", None))
    watching.run(2000)
    assert watching.changes == [("a", "created")]


def test_a_trigger_shared_by_several_assets_works_without_the_store(
    vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    """Airflow merges equal triggers, and has no store for a merged one."""
    assert watching.store is not None
    watching.store.broken = ValueError("Task has 2 concrete inlets and outlets")
    clock.at(150, lambda: vi.put("a"))
    watching.run(1000)
    assert watching.changes == [("a", "created")]
    assert watching.store.calls == 1


@pytest.mark.parametrize("jump", [-10 * 3600.0, 10 * 3600.0])
def test_changes_of_the_wall_clock_do_not_stop_it(
    jump: float, vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    at(clock, {500: lambda: clock.set_wall(jump), 700: lambda: vi.put("a")})
    watching.run(1000)
    assert watching.changes == [("a", "created")]
