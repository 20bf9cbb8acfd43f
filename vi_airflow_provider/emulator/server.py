"""`Emulator`: the application behind a socket, in a thread of this process."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, Unpack

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from vi_airflow_provider.emulator.backend import Backend
from vi_airflow_provider.emulator.colleague import Colleague
from vi_airflow_provider.emulator.fault_rules import FaultBook
from vi_airflow_provider.emulator.http.app import create_app
from vi_airflow_provider.emulator.http.pages import PAGES_PREFIX
from vi_airflow_provider.emulator.request_log import RecordedRequest
from vi_airflow_provider.emulator.settings import Changes, Choices, Modes, Settings
from vi_airflow_provider.emulator.store.collection import Clock, system_clock
from vi_airflow_provider.emulator.store.plans import PlanBook
from vi_airflow_provider.emulator.store.store import Store

CONNECTION_VARIABLE = "AIRFLOW_CONN_VI_DEFAULT"


class Emulator:
    """A local Vi. Use it as a context manager, or call `start` and `stop`; it may be started again."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        state: str | os.PathLike[str] | None = None,
        clock: Clock = system_clock,
        **settings: Unpack[Choices],
    ) -> None:
        self._address = (host, port)
        self._backend = Backend(Settings(**settings), clock=clock, state=state, host=host)
        self._app = create_app(self._backend)
        self._serving: _Serving | None = None

    # -- life cycle --------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Bind the socket (OSError if that fails) and serve; requests can be sent as soon as this returns."""
        if self._serving is None:
            self._serving = _Serving(self._app, _bind(*self._address))
        return self

    def stop(self) -> None:
        """Abort all connections, close the socket, join the thread."""
        if self._serving is not None:
            self._serving.stop()
            self._serving = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # -- access ------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """`http://host:port`, with the port that was bound."""
        if self._serving is None:
            raise RuntimeError("the emulator is not running")
        host, port = self._serving.address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def organization_id(self) -> str:
        """The only organization it serves."""
        return self._backend.settings.organization_id

    @property
    def secret_key(self) -> str:
        """The only key it accepts."""
        return self._backend.settings.secret_key

    @property
    def ui_url_template(self) -> str:
        """The template of its web pages, the target of "Open in Vi"."""
        return f"{self.url}{PAGES_PREFIX}{{organization_id}}/flows/{{flow_id}}"

    @property
    def connection(self) -> dict[str, Any]:
        """The fields of an Airflow connection to it."""
        return {
            "conn_type": "vi",
            "host": self.url,
            "login": self.organization_id,
            "password": self.secret_key,
            "extra": {"ui_url_template": self.ui_url_template},
        }

    @property
    def stored_connection(self) -> dict[str, Any]:
        """The same connection with the port apart, for a database that Airflow's UI reads.

        For a connection without a port, the UI's Test button posts port 0, and Airflow 3.3 refuses to test what
        differs from the stored connection.
        """
        host, _, port = self.url.rpartition(":")
        return {**self.connection, "host": host, "port": int(port)}

    @property
    def airflow_conn(self) -> str:
        """The connection as JSON, the value of an `AIRFLOW_CONN_…` variable."""
        return json.dumps(self.connection)

    @property
    def environment(self) -> dict[str, str]:
        """The variable that defines it as Airflow's connection `vi_default`."""
        return {CONNECTION_VARIABLE: self.airflow_conn}

    @property
    def export_line(self) -> str:
        """The variable as a line for a shell."""
        return f"export {CONNECTION_VARIABLE}={shlex.quote(self.airflow_conn)}"

    # -- content and behaviour -------------------------------------------------------------

    @property
    def store(self) -> Store:
        """Its flows and runs."""
        return self._backend.store

    @property
    def faults(self) -> FaultBook:
        """The fault rules: `add(status=503, times=2)`, `clear()`."""
        return self._backend.faults

    @property
    def colleague(self) -> Colleague:
        """Somebody else who works on the same flows: `edit(moment="after", method="GET")`, `clear()`."""
        return self._backend.colleague

    @property
    def plans(self) -> PlanBook:
        """How runs go that start from now on: `add(scenario="fail_at_end", vocabulary="product")`, `clear()`."""
        return self._backend.store.runs.plans

    def bill(self) -> dict[str, Any]:
        """For each run id that was PUT: how often it was started, its seconds on a GPU, and the times of its PUTs."""
        return self._backend.store.bill()

    def advance(self, seconds: float) -> None:
        """Move the emulator's clock forward: runs go on, delayed writes become visible, downloads expire."""
        self._backend.store.advance(seconds)

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests so far, in order of arrival, without those to the control API."""
        return self._backend.request_log.snapshot()

    def clear_requests(self) -> None:
        """Remove the recorded requests."""
        self._backend.request_log.clear()

    def reset(self, **changes: Unpack[Changes]) -> None:
        """Return to the initial settings, apart from `changes`, with new samples and without faults or requests."""
        self._backend.reset(**changes)

    def configure(self, **modes: Unpack[Modes]) -> None:
        """Change settings such as `cursor` or `latency_ms` and keep everything else."""
        self._backend.configure(**modes)


class _Serving:
    """One listening socket and the thread that serves it."""

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        host, port, *_ = listener.getsockname()
        self.address: tuple[str, int] = (host, port)
        self._listener = listener
        self._server = _Server(app)
        self._thread = threading.Thread(target=self._run, name="vi-emulator", daemon=True)
        self._thread.start()
        self._server.ready.wait()

    def _run(self) -> None:
        try:
            # The same loop on every platform: resetting a connection needs the real socket.
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(self._server.serve(sockets=[self._listener]))
        finally:
            self._listener.close()
            self._server.ready.set()  # also if the server could not start

    def stop(self) -> None:
        self._server.stop()
        self._thread.join()


class _Server(uvicorn.Server):
    """uvicorn's server, which signals when it is ready and stops at once, whatever its clients do."""

    def __init__(self, app: ASGIApp) -> None:
        config = uvicorn.Config(
            _forgiving_cancellation(app),
            http=_Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # the control API trusts the address of the client
            server_header=False,
            timeout_keep_alive=75,
        )
        super().__init__(config)
        self.ready = threading.Event()
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def stop(self) -> None:
        """Thread-safe, and harmless if the server has already ended."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopping.set)

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.ready.set()
        while not self._stopping.is_set():
            await self.on_tick(0)  # renews the Date header
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), timeout=1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # the connections learn of it in the next turn of the loop
        for task in list(self.server_state.tasks):
            task.cancel()
        await asyncio.gather(*self.server_state.tasks, return_exceptions=True)


class _Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # httptools or h11, whichever is installed
    """Hands the connection to the application, so that a fault can reset it."""

    app_state: dict[str, Any]

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        # asyncio does this only for sockets that name their protocol; otherwise each response waits 40 ms for an ACK.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.app_state = {**self.app_state, "transport": transport}


def _forgiving_cancellation(app: ASGIApp) -> ASGIApp:
    """Ignore cancellation: only a shutdown cancels requests, after their connections are aborted."""

    async def forgiving(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            return

    return forgiving


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    listener.setblocking(False)
    return listener
