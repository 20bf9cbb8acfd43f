"""Flows that change become events: each change once, also through restarts, and never a storm."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

import pytest

from tests.unit.gates.modes import stored
from tests.unit.gates.virtual import VirtualClock, VirtualVi
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.gates.pacing import MAX_PAUSE
from vi_airflow_provider.triggers import events
from vi_airflow_provider.triggers.events import MAX_LISTED, FlowEventTrigger

INTERVAL: Final = 60.0
#: Seconds after which every look that a tick has asked for has been answered.
SETTLED: Final = 2.0
DAY: Final = 86_400.0


class StateStore:
    """Airflow's store for the state of one asset: a JSON value for a key."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.calls = 0
        self.written = 0
        #: Raised by whoever reads or writes.
        self.broken: Exception | None = None

    async def aget(self, key: str, default: Any = None) -> Any:
        self._check()
        return json.loads(self.values[key]) if key in self.values else default

    async def aset(self, key: str, value: Any) -> None:
        self._check()
        self.written += 1
        self.values[key] = json.dumps(value, allow_nan=False)

    def _check(self) -> None:
        self.calls += 1
        if self.broken is not None:
            raise self.broken


class Watching:
    """A watcher that Airflow runs, restarts and listens to."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.store: StateStore | None = StateStore()
        #: When each event came, in seconds since the beginning, and what it said.
        self.events: list[tuple[float, dict[str, Any]]] = []

    def run(self, until: float, **arguments: Any) -> None:
        """Watch until then, in a triggerer that has been started now."""
        trigger = stored(FlowEventTrigger(**{"poke_interval": INTERVAL, **arguments}))
        trigger.asset_state_store = self.store

        async def watch() -> None:
            async for event in trigger.run():
                payload = json.loads(json.dumps(event.payload, allow_nan=False))
                self.events.append((self._clock.elapsed, payload))

        async def main() -> None:
            watching = asyncio.create_task(watch())
            await asyncio.wait([watching], timeout=until - self._clock.elapsed)
            if watching.done():
                watching.result()
                raise AssertionError("it ended by itself; Airflow would start it again at once, and so for ever")
            watching.cancel()
            await asyncio.wait([watching])

        self._clock.run(main())

    @property
    def changes(self) -> list[tuple[str, str]]:
        """What was said so far: which flow, and what became of it."""
        return [(change["flow_id"], change["event"]) for _, payload in self.events for change in payload["changes"]]


@pytest.fixture
def watching(vi: VirtualVi, clock: VirtualClock) -> Watching:
    return Watching(clock)


def at(clock: VirtualClock, plan: dict[float, Callable[[], object]]) -> None:
    for moment, do in plan.items():
        clock.at(moment, do)


# --- what is told --------------------------------------------------------------------------------------------------


def test_what_is_there_when_it_begins_is_no_event(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    vi.put("a")
    watching.run(10 * INTERVAL)
    assert watching.events == []


def test_each_change_is_told_once_after_the_next_look(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    vi.put("old")
    at(
        clock,
        {
            100: lambda: vi.put("a"),
            200: lambda: vi.put("a", schema="v2"),
            300: lambda: vi.put("a", schema="v2", attributes={"team": "x"}),
            400: lambda: vi.store.delete_flow("a"),
            500: lambda: vi.put("a"),
        },
    )
    watching.run(1000)
    assert watching.changes == [("a", event) for event in ("created", "updated", "updated", "deleted", "created")]
    delays = [moment - change for (moment, _), change in zip(watching.events, range(100, 501, 100), strict=True)]
    assert all(0 < delay < INTERVAL + SETTLED for delay in delays)
    assert [payload["changes"][0]["spec_changed"] for _, payload in watching.events] == [True, True, False, True, True]


def test_an_event_says_what_a_dag_needs_to_know(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    vi.put("gone")
    at(clock, {100: lambda: (vi.put("a", name="Weld", attributes={"k": "v"}), vi.store.delete_flow("gone"))})
    watching.run(200, vi_conn_id="vi_default")
    flow = Flow.model_validate(vi.store.get_flow("a"))
    ((_, payload),) = watching.events
    assert payload == {
        "version": 1,
        "vi_conn_id": "vi_default",
        "count": 2,
        "changes": [
            {
                "event": "created",
                "flow_id": "a",
                "spec_changed": True,
                "name": "Weld",
                "generation": 1,
                "last_updated": flow.metadata.last_updated,
                "digest": flow.digest,
            },
            {"event": "deleted", "flow_id": "gone", "spec_changed": True},
        ],
    }


def test_many_changes_at_once_are_one_event_of_bounded_size(
    vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    clock.at(100, lambda: [vi.put(f"f{number:03}") for number in range(MAX_LISTED + 50)])
    watching.run(200)
    ((_, payload),) = watching.events
    assert payload["count"] == MAX_LISTED + 50
    assert [change["flow_id"] for change in payload["changes"]] == [f"f{number:03}" for number in range(MAX_LISTED)]


def test_a_change_and_its_reversal_between_two_looks_is_still_an_update(
    vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    vi.put("a")
    at(clock, {100: lambda: (vi.put("a", schema="v2"), vi.put("a", schema="v1"))})
    watching.run(200)
    assert watching.changes == [("a", "updated")]
    assert watching.events[0][1]["changes"][0]["spec_changed"] is False


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, ["a created", "a updated", "a updated", "a deleted"]),
        ({"events": ["created"]}, ["a created"]),
        ({"events": ["deleted", "updated"]}, ["a updated", "a updated", "a deleted"]),
        ({"spec_changes_only": True}, ["a created", "a updated", "a deleted"]),
        ({"events": ["updated"], "spec_changes_only": True}, ["a updated"]),
        ({"flow_id": "a"}, ["a created", "a updated", "a updated", "a deleted"]),
        ({"flow_id": "b"}, []),
        ({"name_pattern": "a*"}, ["a created", "a updated", "a updated", "a deleted"]),
        ({"name_pattern": "A*"}, []),
        ({"training_project": "p"}, ["a created", "a updated", "a updated", "a deleted"]),
        ({"training_project": "q"}, []),
        # A flow is created in the eyes of a watcher when it begins to match.
        ({"attributes": {"stage": "prod"}}, ["a created", "a deleted"]),
        ({"attributes": {"stage": ""}}, []),
        ({"flow_id": "a", "attributes": {"stage": "prod"}}, ["a created", "a deleted"]),
    ],
    ids=str,
)
def test_only_what_is_watched_is_told(
    arguments: dict[str, Any], told: list[str], vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    vi.put("z", name="other")
    at(
        clock,
        {
            100: lambda: vi.put("a", trainingProject="p"),
            200: lambda: vi.put("a", trainingProject="p", attributes={"stage": "prod"}),
            300: lambda: vi.put("a", trainingProject="p", attributes={"stage": "prod"}, schema="v2"),
            400: lambda: vi.store.delete_flow("a"),
        },
    )
    expected = list(told)
    if "attributes" in arguments and told:
        expected.insert(1, "a updated")
    watching.run(600, **arguments)
    assert [f"{flow_id} {event}" for flow_id, event in watching.changes] == expected


def test_a_flow_that_does_not_match_any_more_was_updated_and_not_deleted(
    vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    vi.put("a", name="prod weld")
    at(clock, {100: lambda: vi.put("a", name="old weld"), 200: lambda: vi.store.delete_flow("a")})
    watching.run(400, name_pattern="prod*")
    assert watching.changes == [("a", "updated")]


def test_a_flow_that_the_listing_has_missed_is_not_deleted(
    vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    vi.put("a")
    vi.faults.add(path="/flows$", skip=2, times=3, status=200, body='{"items": []}')
    watching.run(10 * INTERVAL)
    assert watching.events == []


# --- restarts ------------------------------------------------------------------------------------------------------


def test_a_restart_repeats_nothing_and_misses_nothing(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
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


def test_a_crash_after_the_event_repeats_it_rather_than_losing_one(
    vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
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


def test_without_a_store_a_restart_begins_anew(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    """Before Airflow 3.3 there is none."""
    watching.store = None
    watching.run(100)
    vi.put("a")
    watching.run(300)
    clock.at(350, lambda: vi.put("b"))
    watching.run(500)
    assert watching.changes == [("b", "created")]


def test_a_watcher_that_is_changed_begins_anew(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    vi.put("a", name="prod")
    watching.run(100)
    vi.put("b", name="stage")
    watching.run(300, name_pattern="stage*")
    watching.run(500, events=["created"])
    assert watching.events == []


def test_a_watcher_that_is_slowed_down_goes_on(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    watching.run(100)
    vi.put("a")
    watching.run(300, poke_interval=30, max_failures=3)
    assert watching.changes == [("a", "created")]


def test_two_watchers_of_one_asset_do_not_confuse_what_they_have_seen(
    vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    vi.put("p1", name="prod 1")
    vi.put("s1", name="stage 1")
    for until in (100, 300, 500):
        for pattern in ("prod*", "stage*"):
            watching.run(until + (pattern == "stage*") * 100, name_pattern=pattern)
    assert watching.events == []


def test_what_is_seen_is_stored_only_when_it_has_changed(
    vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    vi.put("a")
    clock.at(500, lambda: vi.put("b"))
    watching.run(1000)
    assert watching.store is not None
    assert watching.store.written == 2
    (value,) = watching.store.values.values()
    assert len(value) < 2 * 100


@pytest.mark.parametrize(
    "value", [[], "x", 5, {"a": "x"}, {"a": ["1", "2", "3"]}, {"a": None}, {"a": {"version": "1"}}], ids=str
)
def test_a_state_that_is_not_understood_is_no_state(
    value: Any, vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    vi.put("a")
    watching.run(100)
    assert watching.store is not None
    (key,) = watching.store.values
    watching.store.values[key] = json.dumps(value)
    watching.run(300)
    assert watching.events == []
    assert watching.store.written == 2


# --- trouble -------------------------------------------------------------------------------------------------------


def test_an_outage_is_waited_out_and_nothing_is_missed(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    at(clock, {100: lambda: vi.faults.add(status=503, times=5), 150: lambda: vi.put("a")})
    watching.run(1000)
    assert watching.changes == [("a", "created")]
    assert all(two.at - one.at >= INTERVAL - 1e-6 for one, two in pairwise(vi.asked))


def test_an_outage_at_the_beginning_is_no_event_when_it_ends(
    vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    vi.put("a")
    vi.faults.add(status=503, times=5)
    clock.at(600, lambda: vi.put("b"))
    watching.run(1000)
    assert watching.changes == [("b", "created")]


def test_failures_that_are_not_in_a_row_do_not_add_up(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    at(clock, {moment: lambda: vi.faults.add(status=503, times=9) for moment in (100, 900, 1700)})
    watching.run(3000)
    assert all(two.at - one.at < INTERVAL + SETTLED for one, two in pairwise(vi.asked))


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
def test_it_never_ends_and_asks_less_and_less(
    rule: dict[str, Any], patient: int, vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    fault = vi.faults.add(**rule, times=None)
    clock.at(DAY, vi.faults.clear)
    watching.run(DAY + MAX_PAUSE + 10 * INTERVAL)
    pauses = [two.at - one.at for one, two in pairwise(vi.asked) if two.at < DAY]
    assert all(pause == pytest.approx(INTERVAL, abs=SETTLED) for pause in pauses[: patient - 1])
    growing = pauses[patient - 1 :]
    assert growing[0] == pytest.approx(2 * INTERVAL, abs=SETTLED)
    assert all(one <= two + SETTLED for one, two in pairwise(growing))
    assert growing[-1] == pytest.approx(MAX_PAUSE, abs=INTERVAL)
    assert fault.fired < 24 + patient + 10
    *_, before, last = vi.asked
    assert last.at - before.at == pytest.approx(INTERVAL)


@pytest.mark.parametrize(("asks", "pause"), [("600", 600), ("10", 60), ("86400", MAX_PAUSE), ("9" * 200, MAX_PAUSE)])
def test_it_waits_as_long_as_the_server_asks_within_reason(
    asks: str, pause: float, vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    vi.faults.add(status=429, retry_after=asks, times=2)
    watching.run(4 * MAX_PAUSE)
    first, second, third, *_ = (request.at for request in vi.asked)
    for one, two in ((first, second), (second, third)):
        assert pause <= two - one + 1e-6 <= pause + INTERVAL + SETTLED


def test_a_rotated_key_is_taken_from_the_connection(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
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


def test_a_store_that_cannot_be_written_does_not_repeat_an_event(
    vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    """Were the trigger to break, Airflow would start it again, and it would tell the same change each time."""
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


def test_a_trigger_of_several_assets_works_without_the_store(
    vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    """Airflow makes one trigger of equal ones, and cannot tell it whose state it means."""
    assert watching.store is not None
    watching.store.broken = ValueError("Task has 2 concrete inlets and outlets")
    clock.at(150, lambda: vi.put("a"))
    watching.run(1000)
    assert watching.changes == [("a", "created")]
    assert watching.store.calls == 1


@pytest.mark.parametrize("jump", [-10 * 3600.0, 10 * 3600.0])
def test_a_clock_that_is_set_anew_does_not_stop_it(
    jump: float, vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    at(clock, {500: lambda: clock.set_wall(jump), 700: lambda: vi.put("a")})
    watching.run(1000)
    assert watching.changes == [("a", "created")]


# --- its arguments -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"events": []}, "events: "),
        ({"events": ["renamed"]}, "events: .'renamed'. are not among created, updated, deleted"),
        ({"flow_id": "../a"}, "flow id"),
        ({"name_pattern": ""}, "name_pattern: "),
        ({"training_project": ""}, "training_project: "),
        ({"attributes": {"a": 1}}, "attributes.a: "),
    ],
    ids=str,
)
def test_what_nobody_can_mean_is_refused_when_the_dag_is_read(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, ViValidationError), match=words):
        FlowEventTrigger(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {
            "vi_conn_id": "c",
            "flow_id": "f",
            "name_pattern": "*",
            "training_project": "p",
            "attributes": {"a": "b"},
            "events": ("deleted",),
            "spec_changes_only": True,
            "poke_interval": 5,
            "max_failures": 1,
        },
    ],
    ids=["none", "all"],
)
def test_a_stored_trigger_is_the_same_trigger(arguments: dict[str, Any]) -> None:
    one = FlowEventTrigger(**arguments)
    assert one.serialize() == stored(one).serialize()
    assert one.serialize()[0] == "vi_airflow_provider.triggers.events.FlowEventTrigger"


def test_it_can_be_given_to_a_watcher_of_an_asset() -> None:
    sdk = pytest.importorskip("airflow.sdk")
    trigger = FlowEventTrigger(name_pattern="weld*", attributes={"stage": "prod"})
    asset = sdk.Asset(name="flows", watchers=[sdk.AssetWatcher(name="watcher", trigger=trigger)])
    assert asset.watchers[0].trigger is trigger
    # Airflow makes one trigger of those whose stored form is equal.
    path, arguments = trigger.serialize()
    other = FlowEventTrigger(attributes={"stage": "prod"}, name_pattern="weld*")
    assert trigger.hash(path, arguments) == other.hash(*other.serialize())


def test_watchers_share_the_session_of_their_connection(
    vi: VirtualVi, clock: VirtualClock, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[str] = []
    original = events.shared_client

    def shared(conn_id: str) -> Any:
        entered.append(conn_id)
        return original(conn_id)

    monkeypatch.setattr(events, "shared_client", shared)
    watching.run(100)
    assert entered == ["vi_default"]
