"""The line between a client and Vi, which does to a connection or to an answer what a test wants.

At its far end is the emulator's application with real state, called in this process; at the near end are real
sockets. So a fault is what it would be in a network, and what it left behind can be read from the emulator's store.
Each request has a connection of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

from starlette.types import ASGIApp

from tests.scripted_server import Received, http_bytes

T = TypeVar("T")

#: Closing with this linger discards what is unsent and sends RST instead of FIN.
_RESET: Final = struct.pack("ii", 1, 0)


class Door(Enum):
    """How the line meets who wants to connect."""

    OPEN = auto()
    UNRESOLVED = auto()  # the name of the server does not resolve; see `Line.resolves`
    CLOSED = auto()  # nobody listens
    FULL = auto()  # somebody listens, and does not accept: the kernel drops what comes
    WRONG_HOST = auto()  # TLS, with a certificate for another host
    UNKNOWN_CA = auto()  # TLS, with a certificate by a CA that nobody knows


@dataclass(frozen=True)
class Reply:
    """What the emulator answers."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def wire(self) -> bytes:
        """As it goes over the line if nothing happens to it."""
        return http_bytes(self.status, self.body, self.headers)


@dataclass(frozen=True)
class Exchange:
    """A request on its connection, for a fault to do something to."""

    request: Received
    ask: Callable[[Received], Awaitable[Reply]]
    writer: asyncio.StreamWriter

    async def carry_out(self) -> Reply:
        """Have the emulator do what the request asks for."""
        return await self.ask(self.request)

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """End the connection so that the peer reads ECONNRESET, and loses what it has not read."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.writer.transport.abort()


Strike = Callable[[Exchange], Awaitable[None]]


@dataclass
class Plan:
    """When something goes wrong, and what.

    :param door: how connections are met while it lasts
    :param strike: what happens to a request; nothing, if it is about connections
    :param certificates: what to show at which door; TLS is spoken if there are any
    :param once: it happens to one request (to connections: until the client pauses), or for ever
    :param skip: requests that are answered well before it begins
    :param hits: which requests it happens to
    """

    door: Door = Door.OPEN
    strike: Strike | None = None
    certificates: Mapping[Door, ssl.SSLContext] = field(default_factory=dict)
    once: bool = False
    skip: int = 0
    hits: Callable[[Received], bool] = lambda request: True


class Background:
    """An event loop in a thread, on which all lines of a test run."""

    def __init__(self) -> None:
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="line", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it there, and wait for it."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(timeout=10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Line:
    """A server on a port of this machine, until the ``with`` block ends.

    :param background: where it runs
    :param app: what is at the other end
    :param plan: what goes wrong
    """

    def __init__(self, background: Background, app: ASGIApp, plan: Plan) -> None:
        self.plan = plan
        self.requests: list[Received] = []
        self.struck = 0
        self._background = background
        self._app = app
        self._door = Door.OPEN
        self._sockets: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        # Bound for the line's whole life, and never listening: while the door is closed, nobody else gets the port.
        self._reserve = self._bound(0)
        self.port: int = self._reserve.getsockname()[1]

    @property
    def url(self) -> str:
        name = "vi.invalid" if self.plan.door is Door.UNRESOLVED else "127.0.0.1"
        return f"{'https' if self.plan.certificates else 'http'}://{name}:{self.port}"

    @property
    def resolves(self) -> bool:
        """Does the name of the server resolve at the moment?"""
        return self._door is not Door.UNRESOLVED

    def __enter__(self) -> Self:
        self._background.run(self._turn(self.plan.door if not self.plan.skip else Door.OPEN))
        return self

    def __exit__(self, *_: object) -> None:
        self._background.run(self._end())

    def pause(self) -> None:
        """The client waits before it tries again: what happens once to connections is over."""
        if self.plan.once and self._door is not Door.OPEN:
            self.mend()

    def mend(self) -> None:
        """Nothing goes wrong any more."""
        self.plan = Plan(door=self.plan.door, certificates=self.plan.certificates, skip=1 << 30)
        self._background.run(self._turn(Door.OPEN))

    # --- connections, on the background's loop -----------------------------------------------------------------

    def _bound(self, port: int) -> socket.socket:
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(("127.0.0.1", port))
        bound.setblocking(False)
        return bound

    async def _turn(self, door: Door) -> None:
        """Listen as the door says."""
        self._door = door
        listening, self._sockets = self._sockets, []
        for old in listening:
            with contextlib.suppress(OSError):
                asyncio.get_running_loop().remove_reader(old)
            old.close()
        if door is Door.CLOSED:
            return
        listener = self._bound(self.port)
        self._sockets.append(listener)
        if door is Door.FULL:
            listener.listen(0)
            for _ in range(2):  # these two fill the queue
                waiting = socket.socket()
                waiting.setblocking(False)
                waiting.connect_ex(listener.getsockname())
                self._sockets.append(waiting)
            return
        listener.listen()
        self._start(self._accept(listener))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self) -> None:
        await self._turn(Door.CLOSED)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._reserve.close()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while listener in self._sockets:
            with contextlib.suppress(OSError):
                connection, _ = await loop.sock_accept(listener)
                self._start(self._serve(connection))

    async def _serve(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        # A client that hangs up early is no business of the server's: the test sees it from the client's side.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=self.plan.certificates.get(self._door)
            )
            writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            try:
                await self._answer(await _read_request(reader), writer)
            finally:
                transport.close()

    async def _answer(self, request: Received, writer: asyncio.StreamWriter) -> None:
        plan, number = self.plan, len(self.requests)
        self.requests.append(request)
        exchange = Exchange(request, partial(call, self._app), writer)
        over = plan.once and self.struck > 0
        if plan.strike is not None and number >= plan.skip and not over and plan.hits(request):
            self.struck += 1
            await plan.strike(exchange)
            return
        reply = await exchange.carry_out()
        if number + 1 == plan.skip and plan.door is not self._door:
            await self._turn(plan.door)  # before the client can come back
        await exchange.send(reply.wire)


async def _read_request(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ", 2)
    headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in head[1:] if line))
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    return Received(method, target, headers, await reader.readexactly(length))


async def call(app: ASGIApp, request: Received) -> Reply:
    """Have an ASGI application answer a request."""
    url = urlsplit(request.target)
    messages: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": request.body, "more_body": False}

    async def keep(message: Any) -> None:
        messages.append(message)

    scope = {
        "type": "http",
        "method": request.method,
        "path": url.path,
        "root_path": "",
        "query_string": url.query.encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in request.headers],
    }
    await app(scope, receive, keep)
    start, *rest = messages
    headers = ((name.decode(), value.decode()) for name, value in start["headers"])
    kept = tuple((name, value) for name, value in headers if name != "content-length")
    return Reply(start["status"], kept, b"".join(message.get("body", b"") for message in rest))
