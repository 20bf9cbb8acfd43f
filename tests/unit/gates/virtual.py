"""Hours of waiting in milliseconds: an event loop that skips its sleeps, and the emulator without sockets.

Everything waits on one clock, which advances only when all tasks sleep. A test can let a thousand gates wait for a day,
knows to the millisecond when each request was sent, and does not depend on the machine.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import json
import math
import selectors
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import time_machine

from vi_airflow_provider.api.protocol.messages import Failure, FailureKind, Response, Send
from vi_airflow_provider.emulator.backend import Backend
from vi_airflow_provider.emulator.fault_rules import FaultBook
from vi_airflow_provider.emulator.http.app import create_app
from vi_airflow_provider.emulator.settings import DEFAULT_ORGANIZATION_ID, DEFAULT_SECRET_KEY, Settings
from vi_airflow_provider.emulator.store.store import Store

T = TypeVar("T")

#: When virtual time begins: a second before midnight, which is a tick of every usual interval.
BEGIN: Final = 20_636 * 86_400.0 - 1.0
#: Seconds that every response takes.
LATENCY: Final = 0.02


class VirtualClock:
    """The wall clock and the clock of event loops, in one."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self._wall = 0.0
        self._traveller: time_machine.Traveller | None = None
        self._plans: list[tuple[float, int, Callable[[], object]]] = []

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        return BEGIN + self._wall + self.elapsed

    @property
    def time(self) -> Any:
        """Replacement for the module ``time``."""
        return SimpleNamespace(time=lambda: self.now, monotonic=lambda: self.elapsed, sleep=self.sleep)

    @contextmanager
    def running(self) -> Iterator[VirtualClock]:
        """Make it the wall clock of this process."""
        with time_machine.travel(BEGIN, tick=False) as self._traveller:
            yield self

    def at(self, elapsed: float, do: Callable[[], object]) -> None:
        """Plan an action."""
        heapq.heappush(self._plans, (elapsed, len(self._plans), do))

    def set_wall(self, by: float) -> None:
        """Change the wall clock, but not the one of event loops."""
        self._wall += by
        self._move(self.elapsed)

    def sleep(self, seconds: float) -> None:
        """Advance, and run the actions that are planned on the way."""
        target = self.elapsed + seconds
        while self._plans and self._plans[0][0] <= target:
            moment, _, do = heapq.heappop(self._plans)
            self._move(max(moment, self.elapsed))
            do()
        self._move(target)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in an event loop on this clock; fail if a task that is not awaited raises."""
        lost: list[dict[str, Any]] = []
        with asyncio.Runner(loop_factory=lambda: _VirtualLoop(self)) as runner:
            runner.get_loop().set_exception_handler(lambda _, context: lost.append(context))
            result = runner.run(main, context=contextvars.copy_context())
        assert not lost
        return result

    def _move(self, elapsed: float) -> None:
        self.elapsed = elapsed
        if self._traveller is not None:
            self._traveller.move_to(self.now)


class _VirtualLoop(asyncio.SelectorEventLoop):
    """Skips its sleeps, and runs work for threads at once, because time does not advance for a thread."""

    def __init__(self, clock: VirtualClock) -> None:
        self._virtual_clock = clock
        super().__init__(_SkippingSelector(clock))

    def time(self) -> float:
        return self._virtual_clock.elapsed

    def run_in_executor(self, _executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


class _SkippingSelector(selectors.DefaultSelector):
    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if timeout is None and not events:
            raise AssertionError("all tasks wait, and no timer or planned action can wake them")
        if timeout is not None and not events:
            # A little more, so that rounding does not leave the clock just before the timer forever.
            self._clock.sleep(timeout + math.ulp(self._clock.elapsed))
        return events


@dataclass(frozen=True)
class Sent:
    """A request: when it was sent (seconds since the beginning), with which key, and the status of its response."""

    at: float
    key: str
    method: str
    path: str
    query: str
    status: int | None

    @property
    def lists(self) -> bool:
        """Whether it was for a page of the listing."""
        return self.path.endswith("/flows")


class VirtualVi:
    """The emulator's application, called by the clients without sockets, in virtual time.

    :param clock: virtual time
    :param setenv: sets an environment variable
    """

    def __init__(self, clock: VirtualClock, setenv: Callable[[str, str], None]) -> None:
        self._clock = clock
        self._setenv = setenv
        self._backend = Backend(Settings(flows=0), clock=lambda: round(clock.now * 1000))
        self._app = create_app(self._backend)
        self._key = DEFAULT_SECRET_KEY
        #: The requests so far, in the order of their responses.
        self.requests: list[Sent] = []
        self.connect()

    @property
    def store(self) -> Store:
        return self._backend.store

    @property
    def faults(self) -> FaultBook:
        return self._backend.faults

    def connect(self, conn_id: str = "vi_default", **changes: Any) -> None:
        """Define an Airflow connection with the key that is accepted now."""
        fields = {"host": "http://127.0.0.1:9", "login": DEFAULT_ORGANIZATION_ID, "password": self._key}
        self._setenv(
            f"AIRFLOW_CONN_{conn_id.upper()}",
            json.dumps({"conn_type": "vi", **fields, "extra": {"verify": False}, **changes}),
        )

    def revoke_key(self) -> None:
        """Accept another key from now on, which no connection has."""
        self._key = DEFAULT_SECRET_KEY[:-6] + f"{len(self.requests):06}"

    def rotate_key(self) -> None:
        """Accept another key from now on, and store it in the connection."""
        self.revoke_key()
        self.connect()

    def put(self, flow_id: str, **spec: Any) -> None:
        """Create or replace a flow; all arguments but ``attributes`` are fields of its spec."""
        attributes = spec.pop("attributes", {})
        complete = {"name": flow_id, "schema": "v1", "tolerations": {}, "settings": {}, "blocks": [], **spec}
        self.store.put_flow(flow_id, {"spec": complete, "metadata": {"attributes": attributes}})

    def put_all(self, flow_ids: Iterable[str]) -> None:
        """Create or replace several flows."""
        for flow_id in flow_ids:
            self.put(flow_id)

    def send(self, send: Send, patience: float) -> Response | Failure:
        """Serve the synchronous client."""
        return self._clock.run(self.send_async(send, patience))

    async def send_async(self, send: Send, patience: float) -> Response | Failure:
        """Serve the asynchronous client, which waits at most ``patience`` seconds."""
        request = send.request
        key = str(request.headers["Authorization"]).removeprefix("Bearer ")
        url = urlsplit(request.url)
        began = self._clock.elapsed
        outcome: Response | Failure
        if key == self._key:
            try:
                async with asyncio.timeout(min(send.timeout, patience)):
                    await asyncio.sleep(LATENCY)
                    outcome = await self._respond(request.method, url.path, url.query)
            except TimeoutError:
                outcome = Failure(FailureKind.TIMEOUT)
        else:
            outcome = Response(401, {}, b'{"message":"unknown key"}')
        status = outcome.status if isinstance(outcome, Response) else None
        self.requests.append(Sent(began, key, request.method, url.path, url.query, status))
        return outcome

    async def _respond(self, method: str, path: str, query: str) -> Response | Failure:
        messages: list[dict[str, Any]] = []
        gone = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def keep(message: dict[str, Any]) -> None:
            messages.append(message)

        headers = {"authorization": f"Bearer {DEFAULT_SECRET_KEY}", "organization-id": DEFAULT_ORGANIZATION_ID}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "state": {"transport": _Transport(gone)},
        }
        await self._app(scope, receive, keep)  # type: ignore[arg-type]
        if not messages:
            return Failure(FailureKind.BROKEN)
        start, *rest = messages
        names = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return Response(start["status"], names, b"".join(message.get("body", b"") for message in rest))


class _Transport:
    """A connection that can be cut."""

    def __init__(self, gone: asyncio.Event) -> None:
        self.abort = gone.set

    def get_extra_info(self, _name: str) -> Any:
        return SimpleNamespace(setsockopt=lambda *_: None)
