"""A server that is never the bottleneck: one precomputed listing, served by a bare ``asyncio.Protocol``.

``python -m benchmarks.server COUNT`` generates that many flows, prints its port, and serves until its standard input is
closed. All flows are stored in one block of bytes, newest first, so a page of any size is a slice of it. It implements
only what the clients use: list, get, delete. It checks no credentials. Training runs are served as well, also in the
forms of dbt Cloud and Databricks.

``PUT /bench?flows=N&runs=R&latency_ms=M`` offers the first N flows and R active runs, undoes deletions, delays each
response by M milliseconds and resets the counters; ``?flows=N`` or ``?ended=E`` alone changes only the number of flows,
or that of the first runs that have ended. ``GET /bench`` returns the counters.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import sys
import time
from typing import Final
from urllib.parse import parse_qs, urlsplit

from benchmarks import runs
from benchmarks.flows import ORGANIZATION_ID, flow, flow_id

_FLOWS: Final = f"/workspaces/{ORGANIZATION_ID}/flows"
_SIMPLE_FLOWS: Final = f"/workspaces/{ORGANIZATION_ID}/simpleFlows"
_RUNS: Final = f"/workspaces/{ORGANIZATION_ID}/runs"
_DBT_RUNS: Final = "/api/v2/accounts/1/runs/"
_DATABRICKS_RUN: Final = re.compile(r"/api/2\.\d+/jobs/runs/get")
_NOT_FOUND: Final = b'{"error":"Not Found","message":"there is no such flow"}'
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
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
        self._now = now
        self.latency = 0.0
        self.begin(count, 0)

    def begin(self, shown: int, active: int) -> None:
        """Offer the first ``shown`` flows and some active runs, undo deletions and reset the counters."""
        self.shown = shown
        self.active = active
        self.ended = 0
        self.connections = 0
        self.requests = {"pages": 0, "id_pages": 0, "gets": 0, "deletes": 0}
        self._deleted: set[int] = set()
        self._cpu = _cpu_seconds()

    def respond(self, method: str, target: str, content: bytes) -> tuple[bytes, list[bytes | memoryview]]:
        """Return the status and the body."""
        url = urlsplit(target)
        if url.path.startswith((_RUNS, "/api/")):
            return self._respond_with_runs(url.path, url.query, content)
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

    def _respond_with_runs(self, path: str, query: str, content: bytes) -> tuple[bytes, list[bytes | memoryview]]:
        if path == _RUNS:
            self.requests["pages"] += 1
            given = parse_qs(query)
            last, size = int(given.get("p", [str(self.active)])[0]), int(given.get("s", [str(_PAGE_SIZE)])[0])
            first = max(0, last - size)
            items = b",".join(map(self._run, range(last - 1, first - 1, -1)))
            return b"200 OK", [b'{"items":[', items, b'],"nextPage":%s,"prevPage":null}' % _cursor(first)]
        self.requests["gets"] += 1
        if _DATABRICKS_RUN.fullmatch(path):
            number = json.loads(content)["run_id"]
            return b"200 OK", [runs.databricks_run(number, ended=number < self.ended)]
        if path.startswith(_DBT_RUNS):
            number = int(path.removeprefix(_DBT_RUNS).strip("/"))
            return b"200 OK", [runs.dbt_run(number, ended=number < self.ended)]
        number = int(path.removeprefix(f"{_RUNS}/").partition("-")[0], 16)
        return (b"200 OK", [self._run(number)]) if number < self.active else (b"404 Not Found", [_NOT_FOUND])

    def _run(self, number: int) -> bytes:
        return runs.run(number, self._now, ended=number < self.ended)

    def counts(self) -> bytes:
        """Return the counters since ``begin``, as JSON."""
        counts = {"connections": self.connections, "cpu": _cpu_seconds() - self._cpu, "deleted": len(self._deleted)}
        return json.dumps(self.requests | counts).encode()

    def _page(self, last: int, size: int, *, ids_only: bool) -> list[bytes | memoryview]:
        """Return the flows with numbers below ``last``, which the cursor names: it holds while flows appear."""
        first = max(0, last - size)
        items = b",".join(self._ids[self._count - last : self._count - first]) if ids_only else self._slice(first, last)
        return [b'{"items":[', items, b'],"nextPage":%s,"prevPage":null}' % _cursor(first)]

    def _slice(self, first: int, last: int) -> memoryview:
        start, end = self._count - last, self._count - first
        return self._bytes[self._starts[start] : max(self._starts[start], self._starts[end] - 1)]


def _cursor(first: int) -> bytes:
    return b'"%d"' % first if first else b"null"


class Connection(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._received = b""
        self._counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:  # noqa: D102
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, rest = self._received.split(b"\r\n\r\n", 1)
            length = int(found[1]) if (found := _LENGTH.search(head)) else 0
            if len(rest) < length:
                return
            content, self._received = rest[:length], rest[length:]
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            if target.startswith("/bench"):
                self._control(method, target)
                continue
            if not self._counted:
                self._counted = True
                self._listing.connections += 1
            if self._listing.latency:
                asyncio.get_running_loop().call_later(self._listing.latency, self._reply, method, target, content)
            else:
                self._reply(method, target, content)

    def _control(self, method: str, target: str) -> None:
        if method == "PUT":
            query = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
            if "latency_ms" in query:
                self._listing.latency = float(query["latency_ms"]) / 1000
                self._listing.begin(int(query["flows"]), int(query.get("runs", "0")))
            elif "ended" in query:
                self._listing.ended = int(query["ended"])
            else:
                self._listing.shown = int(query["flows"])
        self._write(b"200 OK", [self._listing.counts()])

    def _reply(self, method: str, target: str, content: bytes) -> None:
        self._write(*self._listing.respond(method, target, content))

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
