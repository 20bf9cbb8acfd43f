"""A server that is never the bottleneck: one precomputed listing, served by a bare ``asyncio.Protocol``.

``python -m benchmarks.server COUNT`` generates that many flows, prints its port, and serves until its standard input is
closed. All flows are stored in one block of bytes, newest first, so a page of any size is a slice of it. It implements
only what the clients use: list, get, delete. It checks no credentials.

``PUT /bench?flows=N&latency_ms=M`` offers the first N flows, undoes deletions, delays each response by M milliseconds
and resets the counters; ``?flows=N`` alone changes only the number of flows. ``GET /bench`` returns the counters.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from typing import Final
from urllib.parse import parse_qs, urlsplit

from benchmarks.flows import ORGANIZATION_ID, flow, flow_id

_FLOWS: Final = f"/workspaces/{ORGANIZATION_ID}/flows"
_SIMPLE_FLOWS: Final = f"/workspaces/{ORGANIZATION_ID}/simpleFlows"
_NOT_FOUND: Final = b'{"error":"Not Found","message":"there is no such flow"}'
#: Default page size, the same as the vendor's SDK requests.
_PAGE_SIZE: Final = 10


class Listing:
    """The flows as bytes, the deleted ones, and the request counters."""

    def __init__(self, count: int) -> None:
        now = round(time.time() * 1000)
        documents = [flow(number, now) for number in reversed(range(count))]
        self._bytes = memoryview(b",".join(documents))
        self._starts = [0]
        for document in documents:
            self._starts.append(self._starts[-1] + len(document) + 1)
        self._count = count
        self._numbers = {flow_id(number): number for number in range(count)}
        self._ids = [b'{"flowId":"%s"}' % flow_id(number).encode() for number in reversed(range(count))]
        self.latency = 0.0
        self.begin(count)

    def begin(self, shown: int) -> None:
        """Offer the first ``shown`` flows, undo deletions and reset the counters."""
        self.shown = shown
        self.connections = 0
        self.requests = {"pages": 0, "id_pages": 0, "gets": 0, "deletes": 0}
        self._deleted: set[int] = set()
        self._cpu = _cpu_seconds()

    def respond(self, method: str, target: str) -> tuple[bytes, list[bytes | memoryview]]:
        """Return the status and the body."""
        url = urlsplit(target)
        if url.path in (_FLOWS, _SIMPLE_FLOWS) and method == "GET":
            ids_only = url.path == _SIMPLE_FLOWS
            self.requests["id_pages" if ids_only else "pages"] += 1
            query = parse_qs(url.query)
            last, size = int(query.get("p", [str(self.shown)])[0]), int(query.get("s", [str(_PAGE_SIZE)])[0])
            return b"200 OK", self._page(last, size, ids_only=ids_only)
        number = self._numbers.get(url.path.removeprefix(f"{_FLOWS}/"), self.shown)
        absent = number >= self.shown or number in self._deleted
        if method == "DELETE":
            self.requests["deletes"] += 1
            self._deleted.add(number)
            return (b"404 Not Found", [_NOT_FOUND]) if absent else (b"204 No Content", [])
        self.requests["gets"] += 1
        return (b"404 Not Found", [_NOT_FOUND]) if absent else (b"200 OK", [self._slice(number, number + 1)])

    def counts(self) -> bytes:
        """Return the counters since ``begin``, as JSON."""
        counts = {"connections": self.connections, "cpu": _cpu_seconds() - self._cpu, "deleted": len(self._deleted)}
        return json.dumps(self.requests | counts).encode()

    def _page(self, last: int, size: int, *, ids_only: bool) -> list[bytes | memoryview]:
        """Return the flows with numbers below ``last``, which the cursor names: it holds while flows appear."""
        first = max(0, last - size)
        cursor = b'"%d"' % first if first else b"null"
        items = b",".join(self._ids[self._count - last : self._count - first]) if ids_only else self._slice(first, last)
        return [b'{"items":[', items, b'],"nextPage":%s,"prevPage":null}' % cursor]

    def _slice(self, first: int, last: int) -> memoryview:
        start, end = self._count - last, self._count - first
        return self._bytes[self._starts[start] : max(self._starts[start], self._starts[end] - 1)]


class Connection(asyncio.Protocol):
    """One connection of a client; its requests have no bodies."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._received = b""
        self._counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:  # noqa: D102
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, self._received = self._received.split(b"\r\n\r\n", 1)
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            if target.startswith("/bench"):
                self._control(method, target)
                continue
            if not self._counted:
                self._counted = True
                self._listing.connections += 1
            if self._listing.latency:
                asyncio.get_running_loop().call_later(self._listing.latency, self._reply, method, target)
            else:
                self._reply(method, target)

    def _control(self, method: str, target: str) -> None:
        if method == "PUT":
            query = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
            if "latency_ms" in query:
                self._listing.latency = float(query["latency_ms"]) / 1000
                self._listing.begin(int(query["flows"]))
            else:
                self._listing.shown = int(query["flows"])
        self._write(b"200 OK", [self._listing.counts()])

    def _reply(self, method: str, target: str) -> None:
        self._write(*self._listing.respond(method, target))

    def _write(self, status: bytes, body: list[bytes | memoryview]) -> None:
        if self._transport.is_closing():  # the client disconnected during the delay
            return
        head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self._transport.writelines([head % (status, sum(map(len, body))), *body])


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def _serve(count: int) -> None:
    listing = Listing(count)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(listing), "127.0.0.1", 0, backlog=16_384)
    print(server.sockets[0].getsockname()[1], flush=True)
    # Standard input is closed when the parent exits, even if it is killed.
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
