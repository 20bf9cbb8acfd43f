"""Ways in which the real server may differ: cursors, order, delayed reads, defaults, dropped attributes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.emulator.support import Client, ClientFactory, FakeClock
from vi_airflow_provider.emulator import Emulator


def ids(pages: Iterator[dict[str, Any]]) -> list[str]:
    return [flow["flowId"] for page in pages for flow in page["items"]]


class TestOffsetCursor:
    @pytest.fixture(autouse=True)
    def flows(self, emulator: Emulator) -> list[str]:
        emulator.reset(flows=9, cursor="offset")
        return emulator.store.flow_ids()

    def test_reads_a_listing_that_does_not_change(self, client: Client, flows: list[str]) -> None:
        assert ids(client.pages(size=2)) == flows

    def test_skips_a_flow_per_deletion_on_an_earlier_page(
        self, client: Client, emulator: Emulator, flows: list[str]
    ) -> None:
        emulator.colleague.delete(flows[0], path="/flows$", skip=1)
        seen = ids(client.pages(size=3))
        assert seen == [*flows[:3], *flows[4:]]

    def test_repeats_a_flow_per_creation(self, client: Client, emulator: Emulator, flows: list[str]) -> None:
        emulator.colleague.create(path="/flows$", skip=1)
        assert ids(client.pages(size=3)).count(flows[2]) == 2

    @pytest.mark.parametrize("rule", [{"empty_page": True}, {"empty_page": True, "skip": 1}])
    def test_survives_an_empty_page(
        self, client: Client, emulator: Emulator, flows: list[str], rule: dict[str, Any]
    ) -> None:
        emulator.faults.add(**rule)
        assert ids(client.pages(size=4)) == flows


class TestPageSizes:
    def test_page_number_with_another_size_skips_or_repeats_flows(self, client: Client, emulator: Emulator) -> None:
        emulator.reset(flows=9, cursor="page")
        flows = emulator.store.flow_ids()
        cursor = client("GET", "/flows?s=2").json["nextPage"]
        for size, expected in ((2, flows[2:4]), (3, flows[3:6]), (1, flows[1:2])):
            page = client("GET", f"/flows?p={cursor}&s={size}").json
            assert [flow["flowId"] for flow in page["items"]] == expected

    def test_cursor_is_refused_with_another_size(self, client: Client, emulator: Emulator) -> None:
        emulator.reset(flows=9, cursor="sized")
        cursor = client("GET", "/flows?s=2").json["nextPage"]
        assert [client("GET", f"/flows?p={cursor}&s={size}").status for size in (2, 3)] == [200, 400]

    @pytest.mark.parametrize("status", ["400", "413", "422", "500"])
    def test_size_above_the_cap_is_refused(self, client: Client, emulator: Emulator, status: Any) -> None:
        emulator.reset(flows=9, page_cap=4, over_cap=status)
        assert [client("GET", f"/flows?s={size}").status for size in (4, 5, 10**12)] == [200, int(status), int(status)]

    def test_each_document_delays_its_page(self, client: Client, emulator: Emulator) -> None:
        emulator.reset(flows=9, document_delay_ms=10)
        began = time.monotonic()
        client("GET", "/flows?s=5")
        assert time.monotonic() - began >= 0.05


@pytest.mark.parametrize("cursor", ["key", "offset", "page", "sized"])
@pytest.mark.parametrize("order", ["created", "updated", "unsorted"])
def test_every_order_lists_every_flow_once(client: Client, emulator: Emulator, order: Any, cursor: Any) -> None:
    emulator.reset(flows=25, order=order, cursor=cursor)
    listed = ids(client.pages(size=4))
    assert listed == emulator.store.flow_ids()
    assert len(set(listed)) == 25


class TestOrder:
    def test_by_update_is_newest_first_and_follows_edits(self, client: Client, emulator: Emulator) -> None:
        emulator.reset(flows=9, order="updated")
        times = [flow["metadata"]["lastUpdated"] for flow in client("GET", "/flows").json["items"]]
        assert times == sorted(times, reverse=True)
        oldest = emulator.store.flow_ids()[-1]
        emulator.store.patch_flow(oldest, {"spec": {"name": "now"}})
        assert emulator.store.flow_ids()[0] == oldest

    def test_unsorted_is_neither_by_creation_nor_by_id(self, emulator: Emulator) -> None:
        emulator.reset(flows=30)
        by_creation = emulator.store.flow_ids()
        emulator.configure(order="unsorted")
        unsorted = emulator.store.flow_ids()
        assert set(unsorted) == set(by_creation)
        assert unsorted not in (by_creation, by_creation[::-1], sorted(by_creation))


class TestReadDelay:
    @pytest.fixture
    def delayed(self, clock: FakeClock, client_of: ClientFactory) -> Iterator[tuple[Emulator, Client]]:
        with Emulator(flows=3, clock=clock, read_delay_ms=5000) as emulator:
            yield emulator, client_of(emulator)

    def test_hides_a_creation(self, delayed: tuple[Emulator, Client], clock: FakeClock, spec: dict[str, Any]) -> None:
        emulator, client = delayed
        assert client("PUT", "/flows/f1", {"spec": spec}).status == 200
        assert client("GET", "/flows/f1").status == 404
        assert len(client("GET", "/flows").json["items"]) == 3
        assert emulator.store.get_flow("f1")
        clock.advance(5)
        assert client("GET", "/flows/f1").status == 200
        assert len(client("GET", "/flows").json["items"]) == 4

    def test_hides_an_edit_and_a_deletion(self, delayed: tuple[Emulator, Client], clock: FakeClock) -> None:
        emulator, client = delayed
        edited, deleted, _ = emulator.store.flow_ids()
        old = client("GET", f"/flows/{edited}").json
        client("PATCH", f"/flows/{edited}", {"spec": {"name": "new"}})
        clock.advance(2)
        client("DELETE", f"/flows/{deleted}")
        assert client("GET", f"/flows/{edited}").json == old
        clock.advance(3)
        assert client("GET", f"/flows/{edited}").json["spec"]["name"] == "new"
        assert client("GET", f"/flows/{deleted}").status == 200
        assert client("DELETE", f"/flows/{deleted}").status == 404
        clock.advance(2)
        assert client("GET", f"/flows/{deleted}").status == 404

    def test_hides_a_run(self, delayed: tuple[Emulator, Client], clock: FakeClock, spec: dict[str, Any]) -> None:
        _, client = delayed
        client("PUT", "/runs/r1", {"spec": {"flow": spec}})
        assert client("GET", "/runs/r1").status == 404
        clock.advance(5)
        assert client("GET", "/runs/r1").status == 200

    def test_removed_delay_shows_everything(self, delayed: tuple[Emulator, Client], spec: dict[str, Any]) -> None:
        emulator, client = delayed
        client("PUT", "/flows/f1", {"spec": spec})
        emulator.configure(read_delay_ms=0)
        assert client("GET", "/flows/f1").status == 200


def test_added_defaults_differ_from_the_spec_that_was_sent(
    client: Client, emulator: Emulator, spec: dict[str, Any]
) -> None:
    emulator.configure(add_defaults=True)
    del spec["trainingProject"], spec["settings"]["seed"]
    spec["blocks"] = [{"block": "vlm-model", "settings": {}, "style": {}}]
    written = client("PUT", "/flows/f1", {"spec": spec}).json["spec"]
    assert written != spec
    assert (written["trainingProject"], written["settings"]["seed"]) == (None, 0)
    assert written["blocks"][0]["settings"] == {"compute": {"precisionType": "bfloat16"}}
    assert client("PUT", "/flows/f1", {"spec": spec}).json["metadata"]["generation"] == 1


def test_defaults_are_added_by_a_patch_and_inside_a_run(
    client: Client, emulator: Emulator, spec: dict[str, Any]
) -> None:
    emulator.configure(add_defaults=True)
    client("PUT", "/flows/f1", {"spec": spec})
    blocks = [{"block": "vlm-model", "settings": {}, "style": {}}]
    assert client("PATCH", "/flows/f1", {"spec": {"blocks": blocks}}).json["spec"]["blocks"][0]["settings"]
    run = client("PUT", "/runs/r1", {"spec": {"flow": {**spec, "blocks": blocks}}}).json
    assert run["spec"]["flow"]["blocks"][0]["settings"]


@pytest.mark.parametrize(("path", "key"), [("/flows/f1", None), ("/runs/r1", "flow")])
def test_dropped_attributes_are_missing_after_a_put(
    client: Client, emulator: Emulator, spec: dict[str, Any], path: str, key: str | None
) -> None:
    emulator.configure(drop_attributes=True)
    body = {"spec": {key: spec} if key else spec, "metadata": {"attributes": {"a": "b"}}}
    assert client("PUT", path, body).json["metadata"]["attributes"] == {}
    patched = client("PATCH", path, {"metadata": {"attributes": {"a": "b"}}})
    assert patched.json["metadata"]["attributes"] == {"a": "b"}


class TestSettingsEndpoint:
    def test_changes_modes_and_keeps_the_flows(self, client: Client, emulator: Emulator) -> None:
        emulator.reset(flows=5)
        before = emulator.store.flow_ids()
        changed = client("PATCH", "//_emulator/settings", {"cursor": "offset", "order": "updated", "page_cap": 2})
        assert changed.json == client("GET", "//_emulator/settings").json
        assert (changed.json["cursor"], changed.json["order"], changed.json["page_cap"]) == ("offset", "updated", 2)
        assert sorted(emulator.store.flow_ids()) == sorted(before)
        assert len(client("GET", "/flows").json["items"]) == 2

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ({"cursor": "x"}, "cursor must be one of key, offset, page, sized, not 'x'"),
            ({"order": 1}, "order must be one of created, updated, unsorted, not 1"),
            ({"add_defaults": 1}, "add_defaults must be true or false"),
            ({"read_delay_ms": -1}, "read delay must be zero or more milliseconds"),
            ({"document_delay_ms": -1}, "document delay must be zero or more milliseconds"),
            ({"over_cap": "418"}, "over_cap must be one of cap, 400, 413, 422, 500, not '418'"),
            ({"flows": 3}, "unknown setting 'flows'"),
        ],
    )
    def test_refuses_invalid_modes(self, client: Client, body: dict[str, Any], message: str) -> None:
        response = client("PATCH", "//_emulator/settings", body)
        assert response.status == 400
        assert response.json["message"].startswith(message)
