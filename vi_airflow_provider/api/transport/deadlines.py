"""Deadlines for the blocking client: ``urllib3``'s connections, with every read bounded by the deadline of its call.

The timeouts of ``requests`` bound the wait for the next byte. A server that sends a byte now and then, in the headers
or in the body, would block a thread for ever.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import select
import socket
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, cast

import requests
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from vi_airflow_provider.api.transport.strict_http import (
    CHUNK_SIZE,
    Head,
    InformationalResponses,
    MalformedResponseError,
    check_framing,
)

if TYPE_CHECKING:
    from urllib3.poolmanager import PoolManager, ProxyManager


class CallEndedError(Exception):
    """Another thread has ended the call."""


class Call:
    """A call in flight: until when what is read must have arrived, and how another thread ends it."""

    def __init__(self) -> None:
        #: On the clock of ``time.monotonic``. A change holds for a response that is being read, too.
        self.deadline = float("inf")
        self._ended = threading.Event()
        self._sent = threading.Event()
        self._lock = threading.RLock()  # a signal handler may come in between
        self._socket: Any = None
        self._pid = os.getpid()

    @property
    def ended(self) -> bool:
        """Has it been ended?"""
        return self._ended.is_set()

    def end(self) -> None:
        """End the call while it waits for a response or the next attempt; connecting is not interrupted."""
        self._ended.set()
        with self._lock:
            self._hang_up()

    def pause(self, seconds: float) -> None:
        """Wait between two attempts.

        :raises CallEndedError: the call was ended meanwhile
        """
        if self._ended.wait(seconds):
            raise CallEndedError

    def read_from(self, sock: socket.socket) -> None:
        """Note that the request is sent, and on which socket the response arrives."""
        with self._lock:
            self._socket = sock
            if self.ended:
                self._hang_up()
        self.note_sent()

    def note_sent(self) -> None:
        """Release the threads that wait until the first request is sent."""
        self._sent.set()

    def wait_until_sent(self, seconds: float) -> None:
        """Wait until the first request is sent, at most this many seconds."""
        self._sent.wait(seconds)

    def read_all(self) -> None:
        """Forget the socket: the connection may serve another call now."""
        with self._lock:
            self._socket = None

    def _hang_up(self) -> None:
        # After a fork, the connection is the parent's: a shutdown would end its request.
        if self._socket is not None and self._pid == os.getpid():
            with contextlib.suppress(OSError):
                # Wakes the thread that reads, as close() does not; bypasses ssl, whose state belongs to that thread.
                # TLS through a TLS proxy wraps a socket instead of being one.
                socket.socket.shutdown(getattr(self._socket, "socket", self._socket), socket.SHUT_RDWR)


#: The call whose responses are read in this context.
current: Final[ContextVar[Call]] = ContextVar("current")


class _Reads(io.RawIOBase):
    """The bytes that arrive on a socket, until the deadline."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._sock = sock
        self._timeout = sock.gettimeout() or float("inf")
        self._call = current.get()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining = self._call.deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the response was still arriving")
        self._sock.settimeout(min(self._timeout, remaining))
        return self._raw.readinto(buffer)

    def is_ready(self) -> bool:
        """Has more arrived, so that a read does not wait?"""
        if getattr(self._sock, "pending", int)():  # decrypted already
            return True
        poll = select.poll()
        poll.register(self._sock.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self._call = current.get()
        self._call.read_from(sock)
        self.fp = io.BufferedReader(_Reads(self.fp.detach(), sock))

    def read_into(self, buffer: memoryview) -> int:
        """Read what has arrived of the body into the caller's memory: at least a byte, unless the body has ended."""
        if self.chunked:
            piece = self.read1(len(buffer))
            buffer[: len(piece)] = piece
            return len(piece)
        count, arriving = 0, cast("_Reads", self.fp.raw)
        while (more := self.fp.readinto1(buffer[count:])) > 0:
            count += more
            if count == len(buffer) or not arriving.is_ready():
                break
        return count

    def _close_conn(self) -> None:
        # At the end of the body, before another call can get the connection.
        self._call.read_all()
        super()._close_conn()  # type: ignore[misc]

    def _read_status(self) -> tuple[str, int, str]:
        """Skip informational responses: the base class skips only status 100, and none that a proxy sends."""
        informational = InformationalResponses()
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not informational.includes(status):
                return version, status, reason
            http.client.parse_headers(self.fp)

    def begin(self) -> None:
        """Read the head, and check it more strictly than the base class does."""
        head = Head(self.fp)
        self.fp = cast("Any", head)
        try:
            super().begin()
        except MalformedResponseError:
            raise
        except http.client.HTTPException as error:
            if isinstance(error, ConnectionError):  # RemoteDisconnected
                raise
            raise MalformedResponseError(str(error)) from error
        finally:
            self.fp = head.stream
        check_framing(
            self.status, self.headers.get_all("content-length", []), self.headers.get_all("transfer-encoding", [])
        )

    def _read_next_chunk_size(self) -> int:
        line = self.fp.readline(http.client._MAXLINE + 1)  # type: ignore[attr-defined]
        if not CHUNK_SIZE.fullmatch(line):
            self._close_conn()
            raise (
                MalformedResponseError("the size of a chunk is not valid") if line else http.client.IncompleteRead(b"")
            )
        return int(line.partition(b";")[0], 16)

    def _read_and_discard_trailer(self) -> None:
        while (line := self.fp.readline(http.client._MAXLINE + 1)) not in (b"\r\n", b"\n"):  # type: ignore[attr-defined]
            if not line:  # the base class takes the end of the connection for that of the body
                self._close_conn()
                raise http.client.IncompleteRead(b"")


class _Connection(HTTPConnection):
    response_class = _Response


class _TlsConnection(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class Adapter(requests.adapters.HTTPAdapter):
    """Gives a session these connections, direct or through a proxy."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Create the pools of direct connections."""
        super().init_poolmanager(*args, **options)
        _use_ours(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> ProxyManager:
        """Create the pools of connections through a proxy."""
        manager: ProxyManager = super().proxy_manager_for(proxy, **options)
        _use_ours(manager)
        return manager


def _use_ours(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
