"""A server that pages in any of the ways that the contract leaves open, and a client that drives the protocol."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

from tests.documents import wire_bytes, wire_page
from tests.transports import Clock, settings_for, upper_bound
from vi_airflow_provider.api.protocol.messages import Failure, FailureKind, Request, Response, Send, Sleep, Steps
from vi_airflow_provider.api.protocol.paging import Paginator
from vi_airflow_provider.api.verbs import ViProtocol

#: What a cursor names: a document, a count of documents, a count of pages, or a count that is valid with one size. The
#: pages of "requested" are counted in the requested size, even if the server sends fewer documents.
Cursor = Literal["key", "offset", "page", "requested", "sized"]
#: What a page size above the cap means.
OverCap = Literal["cap", "400", "413", "422", "500", "503", "hang", "break", "nothing"]

FAILURES: Final = {"hang": FailureKind.TIMEOUT, "break": FailureKind.BROKEN}


@dataclass
class ListingServer:
    """Serves ids and names of flows.

    :param cap: the largest page
    :param latency: seconds of each response
    :param pace: seconds of each document
    :param padding: bytes of each document
    :param large_pages: responses with more than 100 documents before such a page fails
    """

    count: int
    cursor: Cursor = "key"
    cap: int = 10_000
    over_cap: OverCap = "cap"
    latency: float = 0.03
    pace: float = 0.0
    padding: int = 0
    large_pages: int = 1_000_000
    #: The response to every request from now on.
    failure: Response | None = None
    clock: Clock = field(default_factory=Clock)
    sizes: list[int] = field(default_factory=list)
    #: Places by cursor and size: no cursor may come back with another size.
    issued: dict[tuple[str, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ids = [f"flow-{number}" for number in range(self.count)]

    def respond(self, request: Request) -> Response | Failure:
        query = parse_qs(urlsplit(request.url).query)
        size, token = int(query["s"][0]), query.get("p", [None])[0]
        self.sizes.append(size)
        self.clock.sleep(self.latency)
        if self.failure is not None:
            return self.failure
        if size > self.cap and self.over_cap != "cap":
            return self._refuse()
        self.large_pages -= size > 100
        if size > 100 and self.large_pages < 0:
            return Response(500, {}, b"{}")
        return self._page(size, token)

    def _refuse(self) -> Response | Failure:
        if self.over_cap in FAILURES:
            return Failure(FAILURES[self.over_cap])
        if self.over_cap == "nothing":
            return Response(200, {}, wire_bytes(wire_page()))
        return Response(int(self.over_cap), {}, b"{}")

    def _page(self, size: int, token: str | None) -> Response | Failure:
        shown = min(size, self.cap)
        begin = 0 if token is None else self.issued[token, size]
        end = begin + shown
        self.clock.sleep(self.pace * len(self.ids[begin:end]))
        next_place = begin + size if self.cursor == "requested" else end
        items = map(self._item, self.ids[begin:end])
        return Response(200, {}, wire_bytes(wire_page(*items, **self._more(next_place, size))))

    def _item(self, flow_id: str) -> dict[str, Any]:
        # What a listing of ids and a scan read of a flow.
        return {"flowId": flow_id, "name": flow_id, "spec": {"name": flow_id}, "padding": "x" * self.padding}

    def _more(self, place: int, size: int) -> dict[str, str]:
        if place >= self.count:
            return {}
        page = str(place // size)
        token = {"key": str(place), "offset": str(place), "sized": f"{place}/{size}"}.get(self.cursor, page)
        self.issued[token, size] = place
        return {"nextPage": token}


def protocol_for(server: ListingServer, **settings: Any) -> ViProtocol:
    return ViProtocol(settings_for("https://vi.example", **settings), clock=server.clock, jitter=upper_bound)


def run(steps: Steps[Any], server: ListingServer) -> Any:
    """Carry steps out against the server."""
    reply: Response | Failure | None = None
    while True:
        try:
            step = steps.send(reply)
        except StopIteration as done:
            return done.value
        reply = None
        match step:
            case Send(request, timeout, _):
                began = server.clock()
                reply = server.respond(request)
                if server.clock() - began > timeout:
                    reply = Failure(FailureKind.TIMEOUT)
            case Sleep(seconds):
                server.clock.sleep(seconds)


def listed(paginator: Paginator[Any], server: ListingServer) -> Iterator[Any]:
    """Consume a listing as the clients do: the next page is fetched when the second document is yielded."""
    ahead = None
    while True:
        page, ahead = ahead, None
        if page is None:
            if (steps := paginator.next_page()) is None:
                return
            page = run(steps, server)
        for number, document in enumerate(paginator.documents(page)):
            if number == 1 and paginator.prefetch and (steps := paginator.next_page()) is not None:
                ahead = run(steps, server)
            yield document


def listed_ids(protocol: ViProtocol, server: ListingServer, **arguments: Any) -> list[str]:
    return [flow.flow_id for flow in listed(protocol.list_simple_flows(**arguments), server)]
