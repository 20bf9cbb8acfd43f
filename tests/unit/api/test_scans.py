"""Scans: which documents they find in a listing, and where they stop."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import pytest

from tests.documents import wire_bytes, wire_flow, wire_page, wire_run
from tests.transports import settings_for
from vi_airflow_provider.api.errors import ViResponseError
from vi_airflow_provider.api.protocol.messages import Response, Send, Sleep, Steps
from vi_airflow_provider.api.verbs import ViProtocol

T = TypeVar("T")


def protocol() -> ViProtocol:
    return ViProtocol(settings_for("https://vi.test"))


def scanned(steps: Steps[T], *pages: dict[str, Any]) -> T:
    script = iter(pages)
    try:
        next(steps)
        while True:
            steps.send(Response(200, {}, wire_bytes(next(script))))
    except StopIteration as done:
        found: T = done.value
        return found


NAMED: Final = [wire_flow(flowId=name, spec__name=f"name of {name}") for name in "abcd"]


@pytest.mark.parametrize(
    ("ids", "names", "found"),
    [
        ({"a"}, set(), "a"),
        (set(), {"name of b"}, "b"),
        ({"a"}, {"name of c"}, "ac"),
        (set(), set(), ""),
        ({"x"}, {"y"}, ""),
    ],
    ids=str,
)
def test_a_scan_finds_ids_and_names(ids: set[str], names: set[str], found: str) -> None:
    scan = scanned(protocol().scan_flows(ids, names), wire_page(*NAMED[:2], nextPage="2"), wire_page(*NAMED[2:]))
    assert ("".join(flow.flow_id for flow in scan.flows), scan.pages, scan.complete) == (found, 2, True)


@pytest.mark.parametrize(("most", "complete"), [(1, False), (2, True), (None, True)])
def test_a_scan_reports_whether_it_is_complete(most: int | None, complete: bool) -> None:
    pages = wire_page(*NAMED[:2], nextPage="2"), wire_page(*NAMED[2:])
    scan = scanned(protocol().scan_flows({"a", "c"}, set(), most), *pages)
    assert (len(scan.flows), scan.complete) == ((2, True) if complete else (1, False))


def test_a_scan_stops_when_it_has_seen_enough() -> None:
    seen: list[list[Any]] = []

    def enough(created: list[Any], _walk: int) -> bool:
        seen.append(created)
        return len(seen) == 2

    times: dict[str, Any] = {"a": 2, "b": 1, "c": "x"}
    new, old, odd = (wire_flow(flowId=name, metadata__timeCreated=time) for name, time in times.items())
    del (bare := wire_flow(flowId="d"))["metadata"]
    pages = wire_page(new, old, nextPage="2"), wire_page(odd, bare, nextPage="3")
    scan = scanned(protocol().scan_flows(set("a"), set(), enough=enough), *pages)
    assert seen == [[2, 1], ["x", None]]
    assert ([flow.flow_id for flow in scan.flows], scan.pages, scan.complete, scan.next_page) == (["a"], 2, False, "3")


def test_a_scan_that_sees_enough_on_the_last_page_is_complete() -> None:
    scan = scanned(protocol().scan_flows(set("a"), set(), enough=lambda *_: True), wire_page(*NAMED))
    assert (scan.complete, scan.next_page) == (True, None)


def test_a_scan_continues_where_another_one_stopped() -> None:
    steps = protocol().scan_flows(set("a"), set(), 1, page_token="7")
    send = next(steps)
    assert isinstance(send, Send)
    assert send.request.url.endswith("/flows?p=7&s=100")


@pytest.mark.parametrize(
    ("wanted", "pages", "missing"),
    [("ab", 1, ""), ("ac", 2, ""), ("ax", 2, "x"), ("a" + "x" * 17, 3, "x"), ("x", 1, "x"), ("", 0, "")],
)
def test_a_scan_for_runs_stops_when_fetching_the_others_is_cheaper(wanted: str, pages: int, missing: str) -> None:
    """As many pages in vain as it takes to fetch what is missing, 16 at a time."""
    ids = {f"{each}{number}" if each == "x" else each for number, each in enumerate(wanted)}
    runs = [wire_run(runId=name) for name in "abcd"]
    script = [wire_page(*runs[:2], nextPage="2"), wire_page(runs[2], nextPage="3"), wire_page(runs[3], nextPage="4")]
    scan = scanned(protocol().scan_runs(ids, gets_per_page=16), *script)
    assert (scan.pages, scan.complete) == (pages, not missing)


def test_a_scan_does_not_skip_invalid_items() -> None:
    for broken in ({"error": "x"}, {"flowId": 5, "spec": {"name": "n"}}, {**NAMED[0], "etag": None}, "a", None):
        with pytest.raises(ViResponseError):
            scanned(protocol().scan_flows({"a"}, set()), wire_page(broken))


@pytest.mark.parametrize("kind", ["flows", "runs"])
def test_a_scan_gives_way_while_it_validates_many_documents(kind: str) -> None:
    """An event loop has other tasks, and validating a page takes milliseconds."""
    ids = [f"id-{number}" for number in range(60)]
    items = [wire_flow(flowId=each) if kind == "flows" else wire_run(runId=each) for each in ids]
    calls = protocol()
    steps: Steps[Any] = calls.scan_flows(ids, set()) if kind == "flows" else calls.scan_runs(ids)
    next(steps)
    assert [steps.send(Response(200, {}, wire_bytes(wire_page(*items)))), next(steps)] == [Sleep(0), Sleep(0)]
    with pytest.raises(StopIteration):
        next(steps)
