"""The vocabulary between the protocol, which decides, and the clients, which act.

The protocol yields :class:`Send` and :class:`Sleep`; a client answers a ``Send`` with an :class:`Response`, or with
a :class:`Failure` when no complete answer came. Neither side raises for what the network does.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Final, TypeAlias, TypeVar

from vi_airflow_provider.api.errors import one_line

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """One HTTP request. ``headers`` hold the key (as a ``Secret``) and are not shown."""

    method: str
    url: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)

    @property
    def idempotent(self) -> bool:
        """May it be sent twice? (RFC 9110 section 9.2.2)."""
        return self.method in ("GET", "PUT", "DELETE")


@dataclass(frozen=True)
class Send:
    """Send the request and read the whole answer: within ``timeout`` seconds, at most ``max_bytes`` decoded bytes."""

    request: Request
    timeout: float
    max_bytes: int


@dataclass(frozen=True)
class Sleep:
    """Wait, then go on."""

    seconds: float


@dataclass(frozen=True)
class Response:
    """A complete HTTP answer. ``headers`` are keyed in lower case; ``body`` is decoded (gzip, deflate).

    Neither is shown: a server may quote the key that it did not like.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def summary(self) -> str:
        """Status and its name, for a message or a log."""
        try:
            return f"{self.status} {HTTPStatus(self.status).phrase}"
        except ValueError:
            return str(self.status)


class FailureKind(Enum):
    """Why there is no complete answer."""

    NAME_RESOLUTION = "the host name does not resolve (DNS)"
    CONNECT = "no TCP connection to the server"
    CONNECT_TIMEOUT = "no TCP connection to the server in time"
    PROXY = "the proxy did not let us through"
    CERTIFICATE = "the server's TLS certificate is not trusted"
    TLS = "no TLS connection to the server"
    TIMEOUT = "no complete answer in time"
    BROKEN = "the connection broke before the answer was complete"
    TOO_LARGE = "the answer is too large"
    INVALID = "the answer is not valid HTTP"

    @property
    def before_send(self) -> bool:
        """Is it certain that the server did not see the request?"""
        return self in _BEFORE_SEND

    @property
    def transient(self) -> bool:
        """May another try go better? Not where a certificate, or the answer itself, is the problem."""
        return self not in (FailureKind.CERTIFICATE, FailureKind.TOO_LARGE)


_BEFORE_SEND = frozenset(
    {
        FailureKind.NAME_RESOLUTION,
        FailureKind.CONNECT,
        FailureKind.CONNECT_TIMEOUT,
        FailureKind.PROXY,
        FailureKind.CERTIFICATE,
    }
)


@dataclass(frozen=True)
class Failure:
    """No complete answer. ``status`` is known where only the body is missing; ``detail`` holds no secret."""

    kind: FailureKind
    detail: str = ""
    status: int | None = None

    @property
    def summary(self) -> str:
        """What is wrong, in one line, for a message or a log."""
        return self.kind.value + (f": {one_line(self.detail)}" if self.detail else "")


#: A call in the making: yields what to do next, is sent the outcome, returns the value or raises a ``ViError``.
Steps: TypeAlias = Generator[Send | Sleep, Response | Failure | None, T]


_MALFORMED: Final = (http.client.BadStatusLine, http.client.LineTooLong)


def root_failure(error: BaseException, outer: BaseException | None) -> Failure | None:
    """Recognize what the operating system, TLS and the HTTP parser say, however deep a library has wrapped it.

    :param outer: the exception that the caller was handling when the request began; it is none of ours
    """
    for cause in _chain(error, outer):
        if isinstance(cause, socket.gaierror):
            return Failure(FailureKind.NAME_RESOLUTION, cause.strerror or "")
        # aiohttp's own classes derive from those of ssl, and lack their attributes; the real one is their cause.
        if isinstance(cause, ssl.SSLCertVerificationError) and hasattr(cause, "verify_message"):
            return Failure(FailureKind.CERTIFICATE, cause.verify_message or "")
        if isinstance(cause, ssl.SSLError) and hasattr(cause, "reason"):
            return Failure(FailureKind.TLS, cause.reason or "")
        # RemoteDisconnected, a connection closed while idle, is a BadStatusLine, too, and no garbage.
        if isinstance(cause, _MALFORMED) and not isinstance(cause, ConnectionError):
            return Failure(FailureKind.INVALID)
    return None


def system_reason(error: BaseException, outer: BaseException | None) -> str:
    """Return the operating system's words for an error ("Connection refused"), or nothing."""
    return next((c.strerror for c in _chain(error, outer) if isinstance(c, OSError) and c.strerror), "")


def _chain(error: BaseException | None, outer: BaseException | None) -> Iterator[BaseException]:
    seen = {id(outer)}
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
