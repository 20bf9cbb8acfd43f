"""Listings of ``ViClient`` over HTTP: how many requests they send, and when."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from requests_mock import Mocker

from tests.documents import ORGANIZATION_ID, wire_flow, wire_page
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.errors import ViResponseError
from vi_airflow_provider.api.protocol import paging

ROOT: Final = f"https://vi.example/workspaces/{ORGANIZATION_ID}"
FLOWS: Final = f"{ROOT}/flows"


class Listing:
    """A server with some flows, which pages as Vi does: the cursor is the number of the next flow."""

    def __init__(self, requests_mock: Mocker, count: int, collection: str = "flows") -> None:
        self.ids = [f"flow-{number}" for number in range(count)]
        self._mock = requests_mock
        requests_mock.get(f"{ROOT}/{collection}", json=self._page)

    @property
    def queries(self) -> list[dict[str, str]]:
        return [dict(parse_qsl(urlsplit(request.url).query)) for request in self._mock.request_history]

    def _page(self, request: Any, _context: Any) -> dict[str, Any]:
        query = parse_qs(urlsplit(request.url).query)
        begin, size = int(query.get("p", ["0"])[0]), int(query["s"][0])
        end = begin + size
        more = {"nextPage": str(end)} if end < len(self.ids) else {}
        return wire_page(*(wire_flow(flowId=flow_id) for flow_id in self.ids[begin:end]), **more)


def test_25_flows_in_pages_of_10_are_three_requests(vi: ViClient, requests_mock: Mocker) -> None:
    listing = Listing(requests_mock, 25)
    assert [flow.flow_id for flow in vi.list_flows()] == listing.ids
    assert listing.queries == [{"s": "10"}, {"p": "10", "s": "10"}, {"p": "20", "s": "10"}]


def test_a_page_is_requested_when_it_is_needed(vi: ViClient, requests_mock: Mocker) -> None:
    listing = Listing(requests_mock, 25)
    flows = vi.list_flows(prefetch=False)
    assert len(listing.queries) == 0
    for number in range(1, 26):
        next(flows)
        assert len(listing.queries) == (number + 9) // 10
    assert next(flows, None) is None
    assert len(listing.queries) == 3


@pytest.mark.parametrize(
    ("limit", "size", "queries"),
    [
        (0, 10, []),
        (1, 10, [{"s": "1"}]),
        (10, 10, [{"s": "10"}]),
        (11, 10, [{"s": "10"}, {"p": "10", "s": "10"}]),
        (20, 10, [{"s": "10"}, {"p": "10", "s": "10"}]),
        (25, 10, [{"s": "10"}, {"p": "10", "s": "10"}, {"p": "20", "s": "10"}]),
        (26, 10, [{"s": "10"}, {"p": "10", "s": "10"}, {"p": "20", "s": "10"}]),
        (5, 1000, [{"s": "5"}]),
        (None, 1000, [{"s": "1000"}]),
    ],
)
def test_a_limit_bounds_the_requested_page_sizes(
    limit: int | None, size: int, queries: list[dict[str, str]], vi: ViClient, requests_mock: Mocker
) -> None:
    listing = Listing(requests_mock, 25)
    flows = list(vi.list_flows(page_size=size, limit=limit))
    assert [flow.flow_id for flow in flows] == listing.ids[:limit]
    assert listing.queries == queries


def test_a_long_page_does_not_exceed_the_limit(vi: ViClient, requests_mock: Mocker) -> None:
    requests_mock.get(FLOWS, json=wire_page(*(wire_flow(flowId=str(n)) for n in range(50)), nextPage="more"))
    assert [flow.flow_id for flow in vi.list_flows(limit=3)] == ["0", "1", "2"]
    assert requests_mock.call_count == 1


def test_a_short_page_is_followed_by_another_request(vi: ViClient, requests_mock: Mocker) -> None:
    pages = [wire_page(wire_flow(flowId=str(n)), nextPage=str(n + 1)) for n in range(4)]
    requests_mock.get(FLOWS, [{"json": page} for page in pages])
    assert [flow.flow_id for flow in vi.list_flows(limit=3)] == ["0", "1", "2"]
    assert requests_mock.call_count == 3


def test_flows_beyond_the_limit_are_not_validated(vi: ViClient, requests_mock: Mocker) -> None:
    requests_mock.get(FLOWS, json=wire_page(wire_flow(), {"kind": "broken"}))
    assert len(list(vi.list_flows(limit=1))) == 1


def test_a_consumer_that_stops_causes_no_further_request(vi: ViClient, requests_mock: Mocker) -> None:
    listing = Listing(requests_mock, 1000)
    assert len(list(islice(vi.list_flows(prefetch=False), 10))) == 10
    assert len(listing.queries) == 1


@pytest.mark.parametrize("prefetch", [True, False])
def test_an_endless_sequence_of_empty_pages_is_an_error(
    vi: ViClient, requests_mock: Mocker, monkeypatch: pytest.MonkeyPatch, prefetch: bool
) -> None:
    monkeypatch.setattr(paging, "MAX_EMPTY_PAGES", 5)
    empty = [{"json": wire_page(nextPage=str(number))} for number in range(20)]
    requests_mock.get(FLOWS, [*empty[:4], {"json": wire_page(wire_flow(), nextPage="x")}, *empty[4:]])
    flows = vi.list_flows(prefetch=prefetch)
    next(flows)
    with pytest.raises(ViResponseError, match="5 consecutive pages are empty"):
        next(flows)
    assert requests_mock.call_count == 10


def test_pages_are_whole_and_can_be_resumed(vi: ViClient, requests_mock: Mocker) -> None:
    listing = Listing(requests_mock, 25)
    pages = list(vi.iter_flow_pages(page_size=10))
    assert [len(page.items) for page in pages] == [10, 10, 5]
    assert [page.next_page for page in pages] == ["10", "20", None]
    resumed = [flow.flow_id for page in vi.iter_flow_pages(page_token="20") for flow in page.items]
    assert resumed == listing.ids[20:]


def test_ids_and_names_can_be_listed_alone(vi: ViClient, requests_mock: Mocker) -> None:
    requests_mock.get(f"{ROOT}/simpleFlows", json=wire_page({"flowId": "a", "name": "n"}, {"flowId": "b"}))
    assert [(flow.flow_id, flow.name) for flow in vi.list_simple_flows()] == [("a", "n"), ("b", None)]


def test_a_repeated_cursor_is_an_error_after_the_flows_before_it(vi: ViClient, requests_mock: Mocker) -> None:
    requests_mock.get(FLOWS, json=wire_page(wire_flow(), nextPage="same"))
    flows = vi.list_flows()
    next(flows)
    with pytest.raises(ViResponseError, match="the server repeats a page cursor; the listing would never end"):
        list(flows)
    assert requests_mock.call_count == 2


def test_two_listings_of_one_client_do_not_disturb_each_other(vi: ViClient, requests_mock: Mocker) -> None:
    listing = Listing(requests_mock, 25)
    pairs = list(zip(vi.list_flows(), vi.list_flows(page_size=5), strict=True))
    assert [(left.flow_id, right.flow_id) for left, right in pairs] == [(name, name) for name in listing.ids]
