"""The vocabulary between the protocol, which decides, and the clients, which move bytes and sleep.

A call is a generator of steps: :class:`Send`, :class:`Sleep` and :class:`Concurrently`. A client replies to a ``Send``
with a :class:`Response`, or with a :class:`Failure` if no complete response arrived. Neither side raises for what the
network does.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Any, Final, TypeAlias, TypeVar

from vi_airflow_provider.api.errors import one_line

T = TypeVar("T")

#: Documents of a page that are validated before other tasks get their turn: less than a millisecond's work.
DOCUMENTS_PER_TURN: Final = 25


@dataclass(frozen=True)
class Request:
    """One HTTP request. ``headers`` hold the key (as a ``Secret``) and are not shown."""

    method: str
    url: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    #: Does the caller read the resource before each attempt, so that repeating it is safe whatever the method?
    guarded: bool = False

    @property
    def idempotent(self) -> bool:
        """May it be sent twice? (RFC 9110 section 9.2.2)."""
        return self.guarded or self.method in ("GET", "PUT", "DELETE")


@dataclass(frozen=True)
class Send:
    """Send the request and read the response: within ``timeout`` seconds, at most ``max_bytes`` decoded bytes."""

    request: Request
    timeout: float
    max_bytes: int


@dataclass(frozen=True)
class Sleep:
    """Wait before the next step; no time at all gives way to the other tasks of an event loop."""

    seconds: float


@dataclass(frozen=True)
class Concurrently:
    """Carry out several calls, at most ``limit`` at a time; the reply is the list of their results, in order."""

    calls: Sequence[Steps[Any]]
    limit: int


@dataclass(frozen=True)
class Response:
    """A complete HTTP response. ``headers`` are keyed in lower case; ``body`` is decoded (gzip, deflate).

    Neither is shown: a server may quote the key that it rejects.
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
    """Why there is no complete response."""

    NAME_RESOLUTION = "the host name does not resolve (DNS)"
    CONNECT = "no TCP connection to the server"
    CONNECT_TIMEOUT = "no TCP connection to the server in time"
    PROXY = "the proxy refused the connection"
    CERTIFICATE = "the server's TLS certificate is not trusted"
    TLS = "no TLS connection to the server"
    TIMEOUT = "no complete response in time"
    BROKEN = "the connection broke before the response was complete"
    TOO_LARGE = "the response is too large"
    INVALID = "the response is not valid HTTP"

    @property
    def before_send(self) -> bool:
        """Is it certain that the server did not receive the request?"""
        return self in _BEFORE_SEND

    @property
    def transient(self) -> bool:
        """Can a retry succeed? Not if the certificate, or the response itself, is the problem."""
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
    """No complete response. ``status`` is known if only the body is missing; ``detail`` holds no secret."""

    kind: FailureKind
    detail: str = ""
    status: int | None = None

    @property
    def summary(self) -> str:
        """What is wrong, in one line, for a message or a log."""
        return self.kind.value + (f": {one_line(self.detail)}" if self.detail else "")


Outcome: TypeAlias = Response | Failure

#: What a client sends into a call: the outcome of a ``Send``, the results of ``Concurrently``, ``None`` otherwise.
Reply: TypeAlias = Response | Failure | list[Any] | None

#: A call in progress: yields its next step, receives the reply, returns the value or raises a ``ViError``.
Steps: TypeAlias = Generator[Send | Sleep | Concurrently, Reply, T]
