"""No change is lost: kills at any moment, mass deletes on a faulty service, edited connections, many flows."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Final

import pytest

from tests.unit.gates.modes import stored
from tests.unit.gates.virtual import VirtualClock, VirtualVi
from tests.unit.gates.watching import INTERVAL, Client, Watching
from vi_airflow_provider.gates import flow_changes
from vi_airflow_provider.gates.changes import Snapshot
from vi_airflow_provider.gates.flow_changes import FlowChange, FlowChangeDetector
from vi_airflow_provider.selection.filter import FlowFilter
from vi_airflow_provider.triggers.events import FlowEventTrigger
from vi_airflow_provider.triggers.version_store import HANDOVER, PER_EVENT, VersionStore

LISTING: Final = "/flows$"

# --- kills ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", [1.0, 7.0, 60.0])
@pytest.mark.parametrize("takes", [0.1, 2.0, HANDOVER - 0.1])
def test_no_change_is_lost_when_the_triggerer_is_killed(
    takes: float, interval: float, vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    """Airflow holds an event in memory for a while, and the triggerer is killed all the time."""
    expected = []
    vi.put_all(["edited", "old"])
    watching.run(2.5, poke_interval=interval)  # what exists at the first start is no event
    for number in range(25):
        clock.at(3 + 11.3 * number, lambda number=number: vi.put(f"f{number}"))  # type: ignore[misc]
        expected.append((f"f{number}", "created"))
    clock.at(100, lambda: vi.put("edited", schema="v2"))
    clock.at(170, lambda: vi.store.delete_flow("old"))
    clock.at(170, lambda: vi.store.delete_flow("f3"))
    for number in range(30):
        watching.run_and_kill(3 + 13.7 * (number + 1), takes, poke_interval=interval)
    watching.run(clock.elapsed + 3 * interval, poke_interval=interval)
    # Airflow may have lost every event before f3 was deleted; then its deletion is all that there is to report.
    expected.remove(("f3", "created"))
    assert {*expected, ("edited", "updated"), ("old", "deleted"), ("f3", "deleted")} <= set(watching.changes)


def test_a_deletion_after_a_lost_event_is_reported(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    """The event of the creation may have been handed over, although its snapshot was not stored."""
    watching.run(10)
    vi.put("short-lived")
    watching.run(INTERVAL + 20)
    vi.store.delete_flow("short-lived")
    for until in (4, 6, 8):
        watching.run(until * INTERVAL)
    assert watching.changes == [("short-lived", "created"), ("short-lived", "deleted")]


def test_a_deletion_is_not_repeated_for_a_creation_long_ago(
    vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    at_once = 0.1
    clock.at(3, lambda: vi.put("a"))
    clock.at(5, lambda: vi.store.delete_flow("a"))
    clock.at(6, lambda: vi.put("b"))
    watching.run(40, poke_interval=at_once)
    for _ in range(3):
        watching.run(clock.elapsed + 40, poke_interval=at_once)
    assert watching.changes == [("a", "created"), ("a", "deleted"), ("b", "created")]


def test_an_event_is_reported_again_until_a_later_poll(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    watching.run(10)
    vi.put("a")
    for _ in range(3):  # killed 5 seconds after the event
        watching.run((clock.elapsed // INTERVAL + 1) * INTERVAL + 6)
    assert watching.changes == [("a", "created")] * 3
    watching.run(clock.elapsed + 2 * INTERVAL)
    watching.run(clock.elapsed + 2 * INTERVAL)
    assert watching.changes == [("a", "created")] * 4


def test_a_first_snapshot_is_stored_at_once(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    """It has no event that could be lost; without it, a restart would miss what changed in between."""
    watching.run(5)
    vi.put("a")
    watching.run(3 * INTERVAL)
    assert watching.changes == [("a", "created")]


@pytest.mark.parametrize(("changes", "extra"), [(1, 0.0), (99, 0.0), (10_000, 100 * PER_EVENT)])
def test_many_events_have_more_time_to_be_written(changes: int, extra: float) -> None:
    deleted = {str(number): FlowChange("deleted", True) for number in range(changes)}
    store = VersionStore(None, {}, None)
    store.put(Snapshot("o", {}, dict(deleted)), 1000.0)
    assert store.safe_at == 1000.0 + HANDOVER + extra


def test_later_changes_do_not_delay_the_state_forever(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    for moment in range(2, 200):
        clock.at(moment, lambda moment=moment: vi.put(f"f{moment}"))  # type: ignore[misc]
    watching.run(200, poke_interval=1.0)
    before = len(watching.changes)
    watching.run(210, poke_interval=1.0)
    repeated = Counter(flow_id for flow_id, _ in watching.changes[before:])
    assert len(repeated) <= 2 * HANDOVER + 2
    assert {flow_id for flow_id, _ in watching.changes} == {f"f{moment}" for moment in range(2, 200)}


#: What commit 8fb970b stored for a watcher of all flows, with two of them.
STORED: Final = {"gone": ["0" * 16, "1" * 16], "a": ["2" * 16, "3" * 16]}


def test_a_state_stored_by_an_earlier_version_is_understood(
    vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    watching.run(10)
    assert watching.store is not None
    (key,) = watching.store.values
    assert key == "vi_flows_" + KEY_OF_ALL_FLOWS
    watching.store.values[key] = json.dumps(STORED)
    vi.put("a")
    vi.put("b")
    watching.run(3 * INTERVAL)
    assert watching.changes == [("a", "updated"), ("b", "created"), ("gone", "deleted")]


#: The end of the key under which commit 8fb970b stored the state of ``FlowEventTrigger()``.
KEY_OF_ALL_FLOWS: Final = "f40bcc2873c965b8"

# --- deletions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [{"status": 503}, {"drop": True}, {"status": 200, "body": "<html>"}], ids=str)
def test_a_mass_delete_on_a_faulty_service_is_reported(
    fault: dict[str, Any], vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    """2 % of the GETs always fail."""
    flow_ids = [f"f{number:03}" for number in range(400)]
    vi.put_all([*flow_ids, "kept"])
    vi.faults.add(path="/flows/f.?[05]0$", times=None, **fault)
    failing = {flow_id for flow_id in flow_ids if flow_id.endswith(("00", "50"))}
    watching.run(10)
    for flow_id in flow_ids:
        vi.store.delete_flow(flow_id)
    watching.run(INTERVAL + 5)
    first = [flow_id for flow_id, _ in watching.changes]
    assert sorted(first) == sorted(set(flow_ids) - failing)
    watching.run(3 * INTERVAL + 5)
    assert failing <= {flow_id for flow_id, _ in watching.changes[len(first) :]}
    assert {event for _, event in watching.changes} == {"deleted"}


def test_gets_that_confirm_deletions_are_concurrent_and_limited(
    vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    vi.put_all(f"f{number}" for number in range(1200))
    watching.run(10)
    for number in range(1200):
        vi.store.delete_flow(f"f{number}")
    vi.requests.clear()
    watching.run(INTERVAL + 30)
    moments = Counter(request.at for request in vi.requests if not request.lists)
    assert sum(moments.values()) == 1000
    assert max(moments.values()) == 16
    watching.run(4 * INTERVAL)
    assert sum(payload["count"] for _, payload in watching.events) >= 1200


def test_a_rate_limit_ends_the_confirmation_and_not_the_poll(
    vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    vi.put_all(f"f{number:03}" for number in range(400))
    watching.run(10)
    for number in range(400):
        vi.store.delete_flow(f"f{number:03}")
    limited = vi.faults.add(path="/flows/f", status=429, skip=100, times=None)
    watching.run(2 * INTERVAL - 10)
    ((_, payload),) = watching.events
    assert payload["count"] == 100
    assert limited.fired <= 16
    watching.run(4 * INTERVAL)
    assert sum(payload["count"] for _, payload in watching.events) >= 400


def test_absence_from_two_listings_must_be_consecutive(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    vi.put("a")
    missed = vi.faults.add(path=LISTING, status=200, body='{"items": []}', skip=1, every=2, times=None)
    vi.faults.add(path="/flows/a$", status=503, times=None)
    watching.run(8 * INTERVAL)
    assert missed.fired >= 3
    assert watching.changes == []


def test_an_unconfirmed_deletion_survives_a_restart(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    vi.put("a")
    vi.faults.add(path="/flows/a$", status=503, times=None)
    watching.run(10)
    vi.store.delete_flow("a")
    watching.run(INTERVAL + 5)
    assert watching.changes == []
    watching.run(4 * INTERVAL)
    assert watching.changes == [("a", "deleted")]


# --- another organization ------------------------------------------------------------------------------------------


def detect(clock: VirtualClock, client: Any, before: Snapshot | None) -> Snapshot:
    detector = FlowChangeDetector(FlowFilter.build(), flow_id=None, events=flow_changes.EVENTS, spec_changes_only=False)
    return clock.run(detector.poll(client, before))


def test_flows_of_another_organization_are_no_changes(clock: VirtualClock) -> None:
    """The connection was edited: no flow was created or deleted."""
    one = detect(clock, Client("one", "a", "b"), None)
    assert detect(clock, Client("one", "a"), one).changes.keys() == {"b"}
    other = detect(clock, Client("other", "c"), one)
    assert other.changes == {}
    assert detect(clock, Client("other", "c", "d"), other).changes.keys() == {"d"}


def test_the_state_key_depends_on_what_is_watched_only(vi: VirtualVi, clock: VirtualClock) -> None:
    keys: list[str] = []
    for arguments in ({}, {"poke_interval": 5}, {"max_failures": 1}, {"name_pattern": "a*"}, {"events": ["created"]}):
        watching = Watching(clock)
        watching.run(clock.elapsed + INTERVAL, **arguments)
        assert watching.store is not None
        keys += watching.store.values
    assert keys[0] == keys[1] == keys[2]
    assert len(set(keys)) == 3
    assert stored(FlowEventTrigger()).serialize() == FlowEventTrigger().serialize()
