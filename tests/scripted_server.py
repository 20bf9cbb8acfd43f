"""A TCP server that responds to each request with the next act of a script, byte for byte.

It is not an HTTP server: it reads one request, performs the act (send bytes, reset the connection, remain silent), and
closes the connection unless the act keeps it open. So it can be as wrong as a real network.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import BinaryIO, Self


class After(Enum):
    """What the server does after it has sent the bytes of an act."""

    CLOSE = auto()
    RESET = auto()  # the peer reads ECONNRESET, not the end of the stream
    HANG = auto()  # silent until the peer gives up
    KEEP = auto()  # wait for the next request on the same connection


@dataclass(frozen=True)
class Act:
    """What the server does with one request. ``refuse``: the port is closed, so no request arrives."""

    send: bytes = b""
    after: After = After.CLOSE
    refuse: bool = False


@dataclass(frozen=True)
class Received:
    """A request as received, with names and order of its headers unchanged."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class ScriptedServer:
    """Performs its acts in order, one per request, regardless of the request.

    Acts that refuse the connection must come first: the server starts to listen when :meth:`pause`, which is called
    while the client waits between two attempts, has passed them.

    :param acts: the script
    :param tls: context for TLS; plain HTTP without it
    """

    def __init__(self, acts: Iterable[Act] = (), *, tls: ssl.SSLContext | None = None) -> None:
        self.acts = list(acts)
        self.received: list[Received] = []
        self.refused = 0
        self.connections = 0
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listening = False
        scheme = "http" if tls is None else "https"
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"{scheme}://{self.address}"

    @property
    def requests(self) -> int:
        """Number of attempts of clients, refused ones included."""
        return len(self.received) + self.refused

    def __enter__(self) -> Self:
        self.pause()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # ends accept()
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=5)
            assert not thread.is_alive()

    def pause(self) -> None:
        """The client waits between two attempts: prepare for the next one."""
        if self.acts and self.acts[0].refuse:
            self.acts.pop(0)
            self.refused += 1
        elif not self._listening:
            self._listening = True
            self._listener.listen()
            self._start(self._accept)

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        # The client may disconnect early, which the test observes on the client side.
        with contextlib.suppress(OSError, ssl.SSLError):
            if self._tls is not None:
                connection = self._encrypted(connection)
            with connection.makefile("rb") as stream:
                while (request := _read_request(stream)) is not None:
                    with self._lock:
                        self.received.append(request)
                        act = self.acts.pop(0) if self.acts else _END_OF_SCRIPT
                    connection.sendall(act.send)
                    if act.after is After.KEEP:
                        continue
                    if act.after is After.HANG:
                        stream.read()
                    if act.after is After.RESET:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
        with self._lock:
            self._open.discard(connection)
        connection.close()

    def _encrypted(self, connection: socket.socket) -> socket.socket:
        assert self._tls is not None
        wrapped = self._tls.wrap_socket(connection, server_side=True)
        with self._lock:
            self._open = self._open - {connection} | {wrapped}
        return wrapped


_END_OF_SCRIPT = Act(b"HTTP/1.1 418 The script is over\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def http_bytes(
    status: int, body: bytes = b"", headers: Iterable[tuple[str, str]] = (), *, missing: int = 0, keep: bool = False
) -> bytes:
    """Return an HTTP/1.1 response, ``missing`` bytes shorter than its Content-Length."""
    lines = [f"HTTP/1.1 {status} {'Reason' if status != 200 else 'OK'}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if status not in (204, 304):
        lines.append(f"Content-Length: {len(body) + missing}")
    if not keep:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _read_request(stream: BinaryIO) -> Received | None:
    lines: list[str] = []
    while line := stream.readline():
        if line == b"\r\n":
            break
        lines.append(line.decode("latin-1").rstrip("\r\n"))
    else:
        return None
    method, target, _ = lines[0].split(" ", 2)
    headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:]))
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    return Received(method, target, headers, stream.read(length))
