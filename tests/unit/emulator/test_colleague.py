"""A colleague who works on the same flows, observed over HTTP."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from tests.unit.emulator.support import Client
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.emulator.habits import Habit
from vi_airflow_provider.emulator.rule_checks import RuleError


@pytest.fixture(autouse=True)
def flows(emulator: Emulator) -> list[str]:
    emulator.reset(flows=6)
    return emulator.store.flow_ids()


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def etag_of(emulator: Emulator, flow_id: str) -> str:
    return str(emulator.store.get_flow(flow_id)["etag"])


class TestMoments:
    def test_edit_before_a_read_is_in_the_response(self, client: Client, emulator: Emulator, flows: list[str]) -> None:
        old = etag_of(emulator, flows[0])
        emulator.colleague.edit(moment="before", method="GET")
        assert client("GET", f"/flows/{flows[0]}").json["etag"] == etag_of(emulator, flows[0]) != old

    def test_edit_after_a_read_is_not_in_its_response(
        self, client: Client, emulator: Emulator, flows: list[str]
    ) -> None:
        old = etag_of(emulator, flows[0])
        emulator.colleague.edit(moment="after", method="GET", path="/flows/")
        assert client("GET", f"/flows/{flows[0]}").json["etag"] == old != etag_of(emulator, flows[0])

    def test_edit_between_the_get_and_the_delete_of_each_flow(
        self, client: Client, emulator: Emulator, flows: list[str]
    ) -> None:
        emulator.colleague.edit(moment="before", method="DELETE", times=None)
        for flow_id in flows:
            client("GET", f"/flows/{flow_id}")
            client("DELETE", f"/flows/{flow_id}")
        assert [(done["action"], done["flow_id"]) for done in emulator.colleague.history] == [
            ("edit", flow_id) for flow_id in flows
        ]

    def test_delete_during_a_response_leaves_the_response_complete(
        self, client: Client, emulator: Emulator, flows: list[str]
    ) -> None:
        emulator.colleague.delete(flows[2], moment="during", path="/flows$")
        assert [flow["flowId"] for flow in client("GET", "/flows").json["items"]] == flows
        assert flows[2] not in emulator.store.flow_ids()

    def test_deed_during_a_slow_response_happens_half_way(
        self, client: Client, emulator: Emulator, flows: list[str]
    ) -> None:
        emulator.faults.add(drip_ms=0, path="/flows$")
        emulator.colleague.delete(flows[2], moment="during", path="/flows$")
        assert len(client("GET", "/flows").json["items"]) == 6
        assert len(emulator.store.flow_ids()) == 5

    @pytest.mark.parametrize("rule", [{}, {"truncate": True}, {"drip_ms": 0}, {"status": 503}])
    def test_deed_during_any_delivery_is_done(
        self, client: Client, emulator: Emulator, flows: list[str], rule: dict[str, Any]
    ) -> None:
        if rule:
            emulator.faults.add(**rule)
        emulator.colleague.delete(flows[2], moment="during")
        with suppress(http.client.IncompleteRead):
            client("GET", "/flows")
        wait_until(lambda: emulator.colleague.history)
        assert flows[2] not in emulator.store.flow_ids()

    def test_deed_during_a_response_without_a_body_is_done(
        self, client: Client, emulator: Emulator, flows: list[str]
    ) -> None:
        emulator.colleague.restore(moment="during", method="DELETE")
        assert client("DELETE", f"/flows/{flows[0]}").status == 204
        wait_until(lambda: emulator.colleague.history)
        assert flows[0] in emulator.store.flow_ids()

    def test_edit_between_a_failed_request_and_its_retry(
        self, client: Client, emulator: Emulator, flows: list[str]
    ) -> None:
        emulator.faults.add(method="DELETE", status=503)
        emulator.colleague.edit(method="DELETE", skip=1)
        old = etag_of(emulator, flows[0])
        assert client("DELETE", f"/flows/{flows[0]}").status == 503
        assert etag_of(emulator, flows[0]) == old
        assert client("DELETE", f"/flows/{flows[0]}").status == 204
        assert [done["status"] for done in emulator.colleague.history] == [200]

    def test_restore_after_a_delete_whose_response_is_lost(
        self, client: Client, emulator: Emulator, flows: list[str]
    ) -> None:
        spec = emulator.store.get_flow(flows[0])["spec"]
        emulator.faults.add(method="DELETE", drop=True, when="after")
        emulator.colleague.restore(moment="after", method="DELETE")
        with pytest.raises((ConnectionError, socket.timeout)):
            client("DELETE", f"/flows/{flows[0]}")
        assert emulator.store.get_flow(flows[0])["spec"] == spec


class TestActions:
    def test_slow_colleague_does_not_hold_up_the_request(
        self, client: Client, emulator: Emulator, flows: list[str]
    ) -> None:
        emulator.colleague.delete(delay_ms=30, method="GET", path="/flows/")
        assert client("GET", f"/flows/{flows[0]}").status == 200
        wait_until(lambda: emulator.colleague.history)
        assert flows[0] not in emulator.store.flow_ids()

    def test_cleared_colleague_does_nothing_late(self, client: Client, emulator: Emulator, flows: list[str]) -> None:
        emulator.colleague.delete(flows[0], delay_ms=30)
        emulator.colleague.delete(flows[1], delay_ms=30, skip=1)
        client("GET", "/flows")
        emulator.colleague.clear()
        emulator.colleague.delete(flows[2], delay_ms=60)
        client("GET", "/flows")
        wait_until(lambda: emulator.colleague.history)
        assert emulator.store.flow_ids() == [flow_id for flow_id in flows if flow_id != flows[2]]

    def test_several_colleagues_act_on_one_request(self, client: Client, emulator: Emulator, flows: list[str]) -> None:
        emulator.colleague.edit(spec={"name": "A"}, method="GET")
        emulator.colleague.edit(attributes={"owner": "b"}, method="GET")
        flow = client("GET", f"/flows/{flows[0]}").json
        assert (flow["spec"]["name"], flow["metadata"]["attributes"]["owner"]) == ("A", "b")

    def test_repeating_colleague_acts_on_every_nth_request(self, client: Client, emulator: Emulator) -> None:
        active = emulator.colleague.create(every=2, times=None)
        for _ in range(5):
            client("GET", "/flows")
        assert (active.matched, active.fired) == (5, 2)
        assert len(emulator.store.flow_ids()) == 8

    def test_refused_deed_is_recorded_with_its_status(self, client: Client, emulator: Emulator) -> None:
        emulator.colleague.delete("nope")
        emulator.colleague.restore()
        client("GET", "/flows")
        assert [done["status"] for done in emulator.colleague.history] == [404, 404]

    def test_listing_without_a_named_flow_affects_the_first_free_flow(self, client: Client, emulator: Emulator) -> None:
        emulator.reset(flows=10)
        busy, before = emulator.store.busy_flow_ids(), emulator.store.flow_ids()
        emulator.colleague.delete(path="/flows$")
        client("GET", "/flows")
        (gone,) = set(before) - set(emulator.store.flow_ids())
        assert gone == next(flow_id for flow_id in before if flow_id not in busy)

    def test_created_flow_has_the_given_spec(self, client: Client, emulator: Emulator, spec: dict[str, Any]) -> None:
        emulator.colleague.create("f9", spec=spec, attributes={"a": "b"})
        client("GET", "/flows")
        created = emulator.store.get_flow("f9")
        assert (created["spec"], created["metadata"]["attributes"]) == (spec, {"a": "b"})

    def test_changes_now_need_no_request(self, emulator: Emulator, flows: list[str]) -> None:
        emulator.colleague.change_now(edit=2, create=1, delete=1)
        assert [done["action"] for done in emulator.colleague.history] == ["edit", "edit", "create", "delete"]
        assert len(emulator.store.flow_ids()) == 6
        assert emulator.store.get_flow(flows[0])["spec"]["settings"]["colleagueEdits"] == 1


class TestRuns:
    @pytest.fixture(autouse=True)
    def run(self, client: Client, spec: dict[str, Any]) -> None:
        client("PUT", "/runs/r1", {"spec": {"flow": spec}})

    def test_kill_between_the_reading_and_the_change_of_a_run(self, client: Client, emulator: Emulator) -> None:
        emulator.colleague.kill_run(moment="after", method="GET", path="/runs/")
        assert client("GET", "/runs/r1").json["spec"].get("killedAt") is None
        assert client("PATCH", "/runs/r1", {"spec": {"killedAt": 1}}).status == 409

    def test_edit_changes_the_attributes_of_a_run(self, client: Client, emulator: Emulator) -> None:
        emulator.colleague.edit_run(attributes={"owner": "b"}, method="GET", path="/runs/")
        assert client("GET", "/runs/r1").json["metadata"]["attributes"] == {"owner": "b"}

    def test_active_run_is_killed_and_ended_run_deleted(self, client: Client, emulator: Emulator) -> None:
        emulator.colleague.delete_run(times=2)
        client("GET", "/flows")
        emulator.colleague.kill_run()
        client("GET", "/flows")
        client("GET", "/flows")
        actions = [(done["action"], done["run_id"], done["status"]) for done in emulator.colleague.history]
        assert actions == [("delete_run", None, 404), ("delete_run", None, 404), ("kill_run", "r1", 200)]
        emulator.colleague.delete_run("r1")
        client("GET", "/flows")
        assert emulator.store.run_ids() == []


class TestControlApi:
    def test_habits_are_added_listed_and_cleared(self, client: Client, emulator: Emulator, flows: list[str]) -> None:
        rule = {"action": "edit", "moment": "after", "times": 2, "method": "GET", "path": "/flows/"}
        added = client("POST", "//_emulator/colleague", rule)
        assert (added.status, added.json) == (201, {"id": added.json["id"], "rule": rule, "matched": 0, "fired": 0})
        client("GET", f"/flows/{flows[1]}")
        listed = client("GET", "//_emulator/colleague").json
        assert listed["habits"] == [{**added.json, "matched": 1, "fired": 1}]
        assert listed["history"] == [
            {
                "action": "edit",
                "flow_id": flows[1],
                "run_id": None,
                "request": f"GET {client.root}/flows/{flows[1]}",
                "status": 200,
            }
        ]
        assert client("DELETE", "//_emulator/colleague").status == 204
        assert client("GET", "//_emulator/colleague").json == {"habits": [], "history": []}

    def test_changes_are_made_at_once(self, client: Client, emulator: Emulator) -> None:
        changes = client("POST", "//_emulator/changes", {"edit": 1, "delete": 1}).json["changes"]
        assert [(change["action"], change["status"]) for change in changes] == [("edit", 200), ("delete", 200)]
        assert client("POST", "//_emulator/changes", {"edit": -1}).status == 400
        assert client("POST", "//_emulator/changes", {"move": 1}).status == 400

    def test_flow_is_created_by_name(self, client: Client, emulator: Emulator) -> None:
        (flow_id,) = client("POST", "//_emulator/flows", {"name": "Weld seam defects - nightly"}).json["flowIds"]
        assert emulator.store.get_flow(flow_id)["spec"]["name"] == "Weld seam defects - nightly"


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ([], "a habit must be a JSON object"),
        ({}, "action is required"),
        ({"action": "rename"}, "action must be one of edit, delete, restore, create, edit_run"),
        ({"action": "edit", "moment": "later"}, "moment must be one of before, after, during"),
        ({"action": "edit", "flow": "f1"}, "unknown habit field 'flow'"),
        ({"action": "edit", "flow_id": 5}, "flow_id must be a string"),
        ({"action": "edit", "spec": []}, "spec must be an object"),
        ({"action": "delete", "spec": {}}, "spec belongs to edit, create"),
        ({"action": "kill_run", "attributes": {}}, "attributes belongs to edit, create, edit_run"),
        ({"action": "kill_run", "flow_id": "f1"}, "flow_id does not belong to kill_run"),
        ({"action": "edit", "run_id": "r1"}, "run_id does not belong to edit"),
        ({"action": "edit", "delay_ms": -1}, "delay_ms must be zero or more"),
        ({"action": "edit", "times": 0}, "times must be 1 or more"),
        ({"action": "edit", "every": 0}, "every must be 1 or more"),
    ],
)
def test_invalid_habit_is_refused(rule: Any, message: str) -> None:
    with pytest.raises(RuleError, match=message):
        Habit.from_json(rule)
