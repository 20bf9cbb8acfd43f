"""A proxy between a client and the emulator that injects faults into connections and responses.

The client side has real sockets, so a fault looks as it would on a network. The server side calls the application of
the emulator in this process, so a test can read from its store what a fault left behind. Each request has a connection
of its own.
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

#: Closing with this linger option discards unsent data and sends RST instead of FIN.
_RESET: Final = struct.pack("ii", 1, 0)


class ConnectMode(Enum):
    """How the proxy handles a new connection."""

    ACCEPT = auto()
    UNRESOLVED = auto()  # the host name does not resolve; see `FaultProxy.resolves`
    REFUSE = auto()  # the port is closed
    IGNORE = auto()  # the accept queue is full, so the kernel drops new connections
    WRONG_HOST = auto()  # TLS, with a certificate for another host
    UNKNOWN_CA = auto()  # TLS, with a certificate of an unknown CA


@dataclass(frozen=True)
class Response:
    """A response of the emulator."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def wire(self) -> bytes:
        """The bytes of the response if no fault applies."""
        return http_bytes(self.status, self.body, self.headers)


@dataclass(frozen=True)
class Exchange:
    """A request and its connection, to which a fault applies an effect."""

    request: Received
    send_upstream: Callable[[Received], Awaitable[Response]]
    writer: asyncio.StreamWriter

    async def forward(self) -> Response:
        """Let the emulator process the request."""
        return await self.send_upstream(self.request)

    async def send(self, data: bytes) -> None:
        """Send raw bytes to the client."""
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Close the connection so that the client gets ECONNRESET and loses unread data."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.writer.transport.abort()


Effect = Callable[[Exchange], Awaitable[None]]


@dataclass
class FaultPlan:
    """Which fault is injected, and when.

    :param connect: how new connections are handled
    :param effect: what happens to a request; ``None`` if the fault concerns only connections
    :param certificates: the certificate for each mode; enables TLS if there are any
    :param once: inject into one request (into connections: until the client waits), or into all
    :param skip: number of requests that are forwarded before the fault starts
    :param matches: selects the requests
    """

    connect: ConnectMode = ConnectMode.ACCEPT
    effect: Effect | None = None
    certificates: Mapping[ConnectMode, ssl.SSLContext] = field(default_factory=dict)
    once: bool = False
    skip: int = 0
    matches: Callable[[Received], bool] = lambda request: True


class LoopThread:
    """An event loop in a thread, on which all proxies of a test run."""

    def __init__(self) -> None:
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop, and wait for its result."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(timeout=10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class FaultProxy:
    """A proxy on a loopback port for the duration of a ``with`` block.

    :param loop_thread: event loop on which it runs
    :param app: the application that it forwards to
    :param plan: the fault to inject
    """

    def __init__(self, loop_thread: LoopThread, app: ASGIApp, plan: FaultPlan) -> None:
        self.plan = plan
        self.requests: list[Received] = []
        self.fired = 0
        self._loop_thread = loop_thread
        self._app = app
        self._mode = ConnectMode.ACCEPT
        self._sockets: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._unserved: set[socket.socket] = set()
        # Bound but never listening: it reserves the port while connections are refused.
        self._reserve = self._bound(0)
        self.port: int = self._reserve.getsockname()[1]

    @property
    def url(self) -> str:
        name = "vi.invalid" if self.plan.connect is ConnectMode.UNRESOLVED else "127.0.0.1"
        return f"{'https' if self.plan.certificates else 'http'}://{name}:{self.port}"

    @property
    def resolves(self) -> bool:
        """Does the host name resolve at the moment?"""
        return self._mode is not ConnectMode.UNRESOLVED

    def __enter__(self) -> Self:
        self._loop_thread.run(self._listen(self.plan.connect if not self.plan.skip else ConnectMode.ACCEPT))
        return self

    def __exit__(self, *_: object) -> None:
        self._loop_thread.run(self._end())

    def pause(self) -> None:
        """The client waits between two attempts: a fault of connections that occurs once ends here."""
        if self.plan.once and self._mode is not ConnectMode.ACCEPT:
            self.repair()

    def repair(self) -> None:
        """Inject no more faults."""
        self.plan = FaultPlan(connect=self.plan.connect, certificates=self.plan.certificates, skip=1 << 30)
        self._loop_thread.run(self._listen(ConnectMode.ACCEPT))

    # --- connections, on the background's loop -----------------------------------------------------------------

    def _bound(self, port: int) -> socket.socket:
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(("127.0.0.1", port))
        bound.setblocking(False)
        return bound

    async def _listen(self, mode: ConnectMode) -> None:
        """Handle new connections according to the mode from now on."""
        self._mode = mode
        listening, self._sockets = self._sockets, []
        for old in listening:
            with contextlib.suppress(OSError):
                asyncio.get_running_loop().remove_reader(old)
            old.close()
        if mode is ConnectMode.REFUSE:
            return
        listener = self._bound(self.port)
        self._sockets.append(listener)
        if mode is ConnectMode.IGNORE:
            listener.listen(0)
            for _ in range(2):  # these two fill the accept queue
                waiting = socket.socket()
                waiting.setblocking(False)
                waiting.connect_ex(listener.getsockname())
                self._sockets.append(waiting)
            return
        listener.listen()
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self) -> None:
        await self._listen(ConnectMode.REFUSE)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in self._unserved:  # its task was cancelled before it began
            connection.close()
        self._reserve.close()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            connection.setblocking(False)
            self._unserved.add(connection)
            self._start(self._serve(connection))

    async def _serve(self, connection: socket.socket) -> None:
        self._unserved.discard(connection)
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        # The client may disconnect early, which the test observes on the client side.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=self.plan.certificates.get(self._mode)
            )
            writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            try:
                await self._respond(await _read_request(reader), writer)
            finally:
                transport.close()

    async def _respond(self, request: Received, writer: asyncio.StreamWriter) -> None:
        plan, number = self.plan, len(self.requests)
        self.requests.append(request)
        exchange = Exchange(request, partial(call, self._app), writer)
        over = plan.once and self.fired > 0
        if plan.effect is not None and number >= plan.skip and not over and plan.matches(request):
            self.fired += 1
            await plan.effect(exchange)
            return
        response = await exchange.forward()
        if number + 1 == plan.skip and plan.connect is not self._mode:
            await self._listen(plan.connect)  # before the client can send the next request
        await exchange.send(response.wire)


async def _read_request(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ", 2)
    headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in head[1:] if line))
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    return Received(method, target, headers, await reader.readexactly(length))


async def call(app: ASGIApp, request: Received) -> Response:
    """Send a request to an ASGI application."""
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
    return Response(start["status"], kept, b"".join(message.get("body", b"") for message in rest))
