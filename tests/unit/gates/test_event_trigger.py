"""Flows that change become events: each change at least once, also through restarts and failures."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.gates.modes import stored
from tests.unit.gates.virtual import VirtualClock, VirtualVi
from tests.unit.gates.watching import INTERVAL, SETTLED, Watching, all_of, at
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.gates.changes import MAX_LISTED
from vi_airflow_provider.triggers import change_events
from vi_airflow_provider.triggers.events import FlowEventTrigger
from vi_airflow_provider.triggers.shared import shared_client

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


@pytest.mark.parametrize(
    ("number", "sizes"), [(1, [1]), (MAX_LISTED, [100]), (MAX_LISTED + 1, [100, 1]), (250, [100, 100, 50])]
)
def test_many_changes_at_once_are_events_of_limited_size(
    number: int, sizes: list[int], vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    flow_ids = [f"f{index:03}" for index in range(number)]
    clock.at(100, lambda: vi.put_all(flow_ids))
    watching.run(400)
    assert [payload["count"] for _, payload in watching.events] == sizes
    assert [len(payload["changes"]) for _, payload in watching.events] == sizes
    assert watching.changes == [(flow_id, "created") for flow_id in flow_ids]


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
    watching.run(400, name_pattern="prod*", spec_changes_only=True)
    assert watching.changes == [("a", "updated")]
    (change,) = watching.events[0][1]["changes"]
    assert (change["name"], change["spec_changed"], len(change["digest"])) == ("old weld", True, 64)


@pytest.mark.parametrize("spec_changes_only", [False, True])
def test_an_edited_attribute_changes_no_spec_even_if_the_flow_leaves(
    spec_changes_only: bool, vi: VirtualVi, clock: VirtualClock, watching: Watching
) -> None:
    vi.put("a", attributes={"team": "a"})
    clock.at(100, lambda: vi.put("a", attributes={"team": "b"}))
    watching.run(400, attributes={"team": "a"}, spec_changes_only=spec_changes_only)
    reported = [
        (change["event"], change["spec_changed"]) for _, event in watching.events for change in event["changes"]
    ]
    assert reported == ([] if spec_changes_only else [("updated", False)])


def test_a_flow_that_a_listing_missed_is_not_deleted(vi: VirtualVi, clock: VirtualClock, watching: Watching) -> None:
    vi.put("a")
    vi.faults.add(path="/flows$", skip=2, times=3, status=200, body='{"items": []}')
    watching.run(10 * INTERVAL)
    assert watching.events == []


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
