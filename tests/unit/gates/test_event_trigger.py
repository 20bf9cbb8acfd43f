"""Flows that change become events: each change at least once, also through restarts and failures."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

import pytest

from tests.unit.gates.modes import stored
from tests.unit.gates.virtual import VirtualClock, VirtualVi
from tests.unit.gates.watching import INTERVAL, Watching
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.gates.changes import MAX_LISTED
from vi_airflow_provider.gates.pacing import MAX_PAUSE
from vi_airflow_provider.triggers import change_events
from vi_airflow_provider.triggers.events import FlowEventTrigger
from vi_airflow_provider.triggers.shared import shared_client

#: Seconds after a tick by which its poll is done.
SETTLED: Final = 2.0
DAY: Final = 86_400.0


def at(clock: VirtualClock, plan: dict[float, Callable[[], object]]) -> None:
    for moment, do in plan.items():
        clock.at(moment, do)


def all_of(*actions: Callable[[], object]) -> Callable[[], object]:
    return lambda: [action() for action in actions]


# --- what is reported ----------------------------------------------------------------------------------------------


def test_existing_flows_cause_no_event(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    vi.put("a")
    watching.run(10 * INTERVAL)
    assert watching.events == []


def test_each_change_is_reported_after_the_next_poll(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
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


def test_an_event_describes_the_changed_flows(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    vi.put("gone")
    at(
        clock,
        {100: all_of(lambda: vi.put("a", name="Weld", attributes={"k": "v"}), lambda: vi.store.delete_flow("gone"))},
    )
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


def test_many_changes_at_once_are_one_event_of_limited_size(
    vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    flow_ids = [f"f{number:03}" for number in range(MAX_LISTED + 50)]
    clock.at(100, lambda: vi.put_all(flow_ids))
    watching.run(200)
    ((_, payload),) = watching.events
    assert payload["count"] == MAX_LISTED + 50
    assert [change["flow_id"] for change in payload["changes"]] == flow_ids[:MAX_LISTED]


def test_a_change_that_was_reverted_is_still_an_update(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    vi.put("a")
    at(clock, {100: all_of(lambda: vi.put("a", schema="v2"), lambda: vi.put("a", schema="v1"))})
    watching.run(200)
    assert watching.changes == [("a", "updated")]
    assert watching.events[0][1]["changes"][0]["spec_changed"] is False


@pytest.mark.parametrize(
    ("arguments", "reported"),
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
        # For a watcher, a flow is created when it begins to match.
        ({"attributes": {"stage": "prod"}}, ["a created", "a deleted"]),
        ({"attributes": {"stage": ""}}, []),
        ({"flow_id": "a", "attributes": {"stage": "prod"}}, ["a created", "a deleted"]),
    ],
    ids=str,
)
def test_only_watched_changes_are_reported(
    arguments: dict[str, Any], reported: list[str], vi: VirtualVi, clock: VirtualClock, watching: Watching
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
    expected = list(reported)
    if "attributes" in arguments and reported:
        expected.insert(1, "a updated")
    watching.run(600, **arguments)
    assert [f"{flow_id} {event}" for flow_id, event in watching.changes] == expected


def test_a_flow_that_no_longer_matches_was_updated_and_not_deleted(
    vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    vi.put("a", name="prod weld")
    at(clock, {100: lambda: vi.put("a", name="old weld"), 200: lambda: vi.store.delete_flow("a")})
    watching.run(400, name_pattern="prod*")
    assert watching.changes == [("a", "updated")]


def test_a_flow_that_a_listing_missed_is_not_deleted(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    vi.put("a")
    vi.faults.add(path="/flows$", skip=2, times=3, status=200, body='{"items": []}')
    watching.run(10 * INTERVAL)
    assert watching.events == []


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


# --- arguments -----------------------------------------------------------------------------------------------------


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
def test_an_unusable_argument_is_refused_when_the_dag_is_parsed(arguments: dict[str, Any], words: str) -> None:
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
def test_a_trigger_survives_storage(arguments: dict[str, Any]) -> None:
    one = FlowEventTrigger(**arguments)
    assert one.serialize() == stored(one).serialize()
    assert one.serialize()[0] == "vi_airflow_provider.triggers.events.FlowEventTrigger"


def test_it_can_be_used_in_an_asset_watcher() -> None:
    sdk = pytest.importorskip("airflow.sdk")
    trigger = FlowEventTrigger(name_pattern="weld*", attributes={"stage": "prod"})
    asset = sdk.Asset(name="flows", watchers=[sdk.AssetWatcher(name="watcher", trigger=trigger)])
    assert asset.watchers[0].trigger is trigger
    # Airflow merges triggers whose stored forms are equal.
    path, arguments = trigger.serialize()
    other = FlowEventTrigger(attributes={"stage": "prod"}, name_pattern="weld*")
    assert trigger.hash(path, arguments) == other.hash(*other.serialize())


def test_watchers_share_the_client_of_their_connection(
    vi: VirtualVi, clock: VirtualClock, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[str] = []

    def lend(conn_id: str) -> Any:
        entered.append(conn_id)
        return shared_client(conn_id)

    monkeypatch.setattr(change_events, "shared_client", lend)
    watching.run(100)
    assert entered == ["vi_default"]
