"""The client of a connection as it is now: an edit of the connection is in force within a minute.

Theory of operation. A triggerer runs for weeks, while keys are rotated, proxies move and CA files are replaced in
place. So the connection is read again before the first call that finds its settings older than
``CONNECTION_MAX_AGE``, and at once after a 401. Waiters share one lookup.

- *Same connection*: settings and identity of the CA file (path, inode, modification time, size) are equal. The client
  stays, with its open sockets.
- *Changed*: later calls use a new client. Calls in flight finish on the old one, which the last of them closes.
- *Unknown* (Airflow cannot provide the connection, or takes too long): the client in use stays, and the lookup is
  repeated after ``_RETRY`` seconds. Without a client, the call fails with a retryable error.
- *Unusable* (a field is missing or wrong): the same at first, because a CA file is unusable while it is replaced; after
  a second lookup with this result there is no client, and calls fail for good.

Invariants: only ``_refresh`` sets ``_current``; a client is closed if and only if it is neither current nor in use. A
waiter that is cancelled must not cancel the lookup, which belongs to all of them: never await ``_reading`` directly.
"""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from vi_airflow_provider.api.errors import ViAuthenticationError, ViError, ViTimeoutError
from vi_airflow_provider.gates.pacing import CONNECTION_MAX_AGE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from vi_airflow_provider.api.async_client import AsyncViClient
    from vi_airflow_provider.api.settings import ViSettings

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds between two lookups after one that failed.
_RETRY: Final = 5.0
#: Seconds that a call waits for a lookup: without a client, and with one that it can use instead.
_PATIENCE: Final = 60.0
_PATIENCE_WITH_CLIENT: Final = 10.0


@dataclass(eq=False)
class _Lease:
    """A client, the state of the connection that it was made from, and its calls in flight."""

    client: AsyncViClient
    identity: tuple[object, ...]
    calls: int = 0


class RefreshingClient:
    """Calls the service with the client of a connection, and replaces the client when the connection changes.

    :param connect: reads the connection and returns a new client; raises a :class:`ViError` if it cannot
    """

    def __init__(self, connect: Callable[[], Awaitable[AsyncViClient]]) -> None:
        self._connect = connect
        self._current: _Lease | None = None
        self._leases: set[_Lease] = set()
        self._reading: asyncio.Task[None] | None = None
        #: In seconds of the event loop's clock: begin of the last lookup, and when the next one is due.
        self._read_at = -math.inf
        self._due = -math.inf
        #: Did the last lookup find a connection that cannot be used?
        self._unusable = False

    async def call(self, ask: Callable[[AsyncViClient], Awaitable[T]]) -> T:
        """Call the service; again if the key was refused and the connection has changed.

        :param ask: makes requests with the client that it is given, and starts over if it is called again
        :raises ViError: of the call, or because there is no usable connection
        """
        began = _now()
        lease = await self._lease()
        try:
            return await self._use(lease, ask)
        except ViAuthenticationError:
            if self._current is lease and self._read_at <= began:
                await self._read(_PATIENCE)  # what is not known is not a refusal: its error replaces the 401
            if self._current is None or self._current is lease:
                raise
            renewed = self._current
        return await self._use(renewed, ask)

    async def close(self) -> None:
        """Close all clients; no call may be in flight."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        self._current = None
        for lease in tuple(self._leases):
            await self._close(lease)

    async def _lease(self) -> _Lease:
        current = self._current
        if current is None:
            await self._read(_PATIENCE)
        elif _now() >= self._due:
            try:
                await self._read(_PATIENCE_WITH_CLIENT)
            except ViError:
                if self._current is None:
                    raise
        if self._current is None:
            raise ViError("the connection was closed")
        return self._current

    async def _use(self, lease: _Lease, ask: Callable[[AsyncViClient], Awaitable[T]]) -> T:
        lease.calls += 1
        try:
            return await ask(lease.client)
        finally:
            lease.calls -= 1
            if lease is not self._current and not lease.calls:
                await self._close(lease)

    async def _close(self, lease: _Lease) -> None:
        self._leases.discard(lease)
        await lease.client.close()

    async def _read(self, patience: float) -> None:
        """Wait for a lookup of the connection, which all callers share."""
        if self._reading is None:
            self._read_at = _now()
            self._reading = asyncio.create_task(self._refresh(), name="vi-connection")
            self._reading.add_done_callback(self._ended)
        reading = self._reading
        done, _ = await asyncio.wait({reading}, timeout=patience)
        if not done:
            raise ViTimeoutError(f"Airflow did not provide the connection within {patience:g} s")
        if error := reading.exception():
            raise error.with_traceback(None)  # which would grow with each caller

    def _ended(self, reading: asyncio.Task[None]) -> None:
        self._reading = None
        if not reading.cancelled():
            reading.exception()  # retrieved, also if no caller is left

    async def _refresh(self) -> None:
        try:
            client = await self._connect()
            identity = (client.settings, *await asyncio.to_thread(_ca_identity, client.settings))
        except ViError as error:
            confirmed = self._unusable and not error.retryable
            self._unusable = not error.retryable
            self._due = _now() + _RETRY
            if confirmed:
                await self._replace(None)
            elif self._current is not None:
                log.warning("The settings in use are kept, because the connection could not be read: %s", error)
            raise
        self._unusable = False
        self._due = self._read_at + CONNECTION_MAX_AGE
        if self._current is None or self._current.identity != identity:
            await self._replace(_Lease(client, identity))

    async def _replace(self, lease: _Lease | None) -> None:
        old, self._current = self._current, lease
        if lease is not None:
            self._leases.add(lease)
        if old is not None and not old.calls:
            await self._close(old)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _ca_identity(settings: ViSettings) -> tuple[object, ...]:
    """Identify the contents of the trusted CA file or folder without reading them."""
    bundle = settings.ca_bundle()
    if isinstance(bundle, bool):
        return (bundle,)
    path = Path(bundle)
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return (bundle, *((str(file), *_file_identity(file)) for file in files))
    except OSError:  # being replaced; the next lookup finds another identity
        return (bundle, None)


def _file_identity(file: Path) -> tuple[int, int, int]:
    status = file.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size
