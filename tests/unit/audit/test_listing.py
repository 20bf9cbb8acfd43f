"""An export has every flow that exists from its first request to its last, whatever others do meanwhile."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.audit.support import flow
from vi_airflow_provider.api.models import Flow, SimpleFlow
from vi_airflow_provider.audit import listing
from vi_airflow_provider.audit.listing import Listing
from vi_airflow_provider.audit.plan import Selection
from vi_airflow_provider.audit.sources import FlowSource
from vi_airflow_provider.audit.spool import Spool
from vi_airflow_provider.audit.subject import FLOWS

EVERYTHING: Final = Selection.build({}, None)


class OffsetVi:
    """Vi whose cursor counts documents, and colleagues who act between two pages."""

    def __init__(self, ids: list[str], page: int, meanwhile: Callable[[int], None] = lambda _: None) -> None:
        self.ids = ids
        self.page = page
        self.meanwhile = meanwhile
        self.requests: list[str] = []

    def _pages(self, what: str) -> Iterator[str]:
        for offset in itertools.count(0, self.page):
            self.requests.append(f"{what} {offset}")
            yield from self.ids[offset : offset + self.page]
            if offset + self.page >= len(self.ids):
                return
            self.meanwhile(len(self.requests))

    def list_flows(self, *, page_size: int | None, limit: int | None, prefetch: bool) -> Iterator[Flow]:
        return itertools.islice((flow(each, spec__name=each) for each in self._pages("flows")), limit)

    def list_simple_flows(self, *, page_size: int | None) -> Iterator[SimpleFlow]:
        return (SimpleFlow(flow_id=each) for each in self._pages("ids"))

    def find_flow(self, *, flow_id: str) -> Flow | None:
        self.requests.append(f"get {flow_id}")
        return flow(flow_id, spec__name=flow_id) if flow_id in self.ids else None


def names(count: int) -> list[str]:
    return [f"f{number:02}" for number in range(count)]


def collect(vi: OffsetVi, selection: Selection = EVERYTHING) -> tuple[list[str], Listing[Flow, Flow]]:
    with Spool(FLOWS) as spool:
        found = Listing(FlowSource(vi), selection, spool)
        found.collect()
        return [each.flow_id for each in spool.documents()], found


def test_quiet_listing_takes_two_passes_and_no_single_request() -> None:
    vi = OffsetVi(names(5), page=2)
    ids, found = collect(vi)
    assert ids == names(5)
    assert (found.passes, found.late) == (2, 0)
    assert not any(request.startswith("get") for request in vi.requests)


def test_flow_shifted_past_a_page_is_fetched() -> None:
    def delete_on_the_first_page(requests: int) -> None:
        if requests == 1:
            vi.ids.remove("f00")

    vi = OffsetVi(names(6), page=2, meanwhile=delete_on_the_first_page)
    ids, found = collect(vi)
    assert ids == names(6)
    assert (found.passes, found.late) == (3, 1)
    assert [request for request in vi.requests if request.startswith("get")] == ["get f02"]


@given(
    count=st.integers(0, 14),
    page=st.integers(1, 4),
    actions=st.dictionaries(st.integers(1, 20), st.tuples(st.sampled_from(["delete", "create"]), st.integers(0, 13))),
    pattern=st.sampled_from([None, "f*", "f?[02468]"]),
)
def test_flows_that_exist_throughout_are_exported(
    count: int, page: int, actions: dict[int, tuple[str, int]], pattern: str | None
) -> None:
    original = names(count)

    def act(requests: int) -> None:
        action, number = actions.get(requests, ("", 0))
        if action == "delete" and number < len(vi.ids):
            vi.ids.pop(number)
        elif action == "create":
            vi.ids.insert(0, f"new-{requests:02}")

    vi = OffsetVi(list(original), page, act)
    selection = Selection.build({} if pattern is None else {"name_pattern": pattern}, None)
    with Spool(FLOWS) as spool:
        found = Listing(FlowSource(vi), selection, spool)
        found.collect()
        found.confirm_removed(list(spool.unknown(original)))
        exported = {each.flow_id for each in spool.documents()}
    living = {each for each in original if each in vi.ids and (pattern != "f?[02468]" or int(each[1:]) % 2 == 0)}
    assert living <= exported <= {*original, *vi.ids, *exported}


def test_listing_that_never_settles_ends_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    def create(requests: int) -> None:
        vi.ids.append(f"new-{requests:02}")

    vi = OffsetVi(names(4), page=3, meanwhile=create)
    _, found = collect(vi)
    assert found.passes == listing.MAX_PASSES
    assert "The flows kept changing" in caplog.text


def test_limited_export_is_a_single_pass() -> None:
    vi = OffsetVi(names(9), page=2)
    ids, found = collect(vi, Selection.build({"limit": 3}, None))
    assert ids == names(3)
    assert (found.passes, found.late) == (1, 0)
    assert not found.confirm_removed(["f08"])


@pytest.mark.parametrize("exists", [True, False])
def test_flow_is_requested_before_it_counts_as_removed(exists: bool) -> None:
    vi = OffsetVi(names(3), page=9)
    with Spool(FLOWS) as spool:
        found = Listing(FlowSource(vi), EVERYTHING, spool)
        found.collect()
        if exists:
            vi.ids.append("hidden")
        assert found.confirm_removed(["f01", "hidden", "hidden"]) == exists
        assert list(spool.unknown(["new", "hidden"])) == ["new"]
        assert (found.late, len(spool)) == ((1, 4) if exists else (0, 3))
    assert vi.requests[-1] == "get hidden"


def test_flow_outside_of_the_selection_is_not_requested() -> None:
    vi = OffsetVi(names(3), page=9)
    selection: Any = Selection.build({"name_pattern": "f01"}, None)
    with Spool(FLOWS) as spool:
        found = Listing(FlowSource(vi), selection, spool)
        found.collect()
        assert not found.confirm_removed(["f00"])
    assert not any(request.startswith("get") for request in vi.requests)
