"""What exceptions of the operating system, TLS and the HTTP parser mean, whatever library has wrapped them.

Each client adds the table of its own library (``requests_failures``, ``aiohttp_failures``).
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

from vi_airflow_provider.api.protocol.messages import Failure, FailureKind
from vi_airflow_provider.api.transport.strict_http import MalformedResponseError

#: Exceptions of a library and their meaning, where the operating system gives no reason; the first match counts.
KindTable: TypeAlias = Sequence[tuple[type[BaseException], FailureKind]]

_MALFORMED: Final = (http.client.BadStatusLine, http.client.LineTooLong, MalformedResponseError)


def classify(error: Exception, outer: BaseException | None, status: int | None, kinds: KindTable) -> Failure:
    """Return what an exception means.

    :param outer: the exception that the caller was handling when the request began; not part of the failure
    :param status: the HTTP status, if the response had begun
    :param kinds: the exceptions of the library
    """
    if known := root_failure(error, outer):
        return known
    kind = next((kind for exception, kind in kinds if isinstance(error, exception)), FailureKind.BROKEN)
    return Failure(kind, system_reason(error, outer), status)


def root_failure(error: BaseException, outer: BaseException | None) -> Failure | None:
    """Recognize the reason that the operating system, TLS or the HTTP parser gave, at any depth of the chain."""
    for cause in _chain(error, outer):
        if isinstance(cause, socket.gaierror):
            return Failure(FailureKind.NAME_RESOLUTION, cause.strerror or "")
        # aiohttp's own classes derive from those of ssl, but lack their attributes; the real one is their cause.
        if isinstance(cause, ssl.SSLCertVerificationError) and hasattr(cause, "verify_message"):
            return Failure(FailureKind.CERTIFICATE, cause.verify_message or "")
        if isinstance(cause, ssl.SSLError) and hasattr(cause, "reason"):
            return Failure(FailureKind.TLS, cause.reason or "")
        # RemoteDisconnected, an idle connection that was closed, is a BadStatusLine as well, but not malformed.
        if isinstance(cause, _MALFORMED) and not isinstance(cause, ConnectionError):
            return Failure(FailureKind.INVALID)
    return None


def system_reason(error: BaseException, outer: BaseException | None) -> str:
    """Return the operating system's message ("Connection refused"), or an empty text."""
    return next((c.strerror for c in _chain(error, outer) if isinstance(c, OSError) and c.strerror), "")


def without_frames(error: BaseException, outer: BaseException | None) -> BaseException:
    """Drop the tracebacks of an exception and of those it wraps: the locals of the libraries' frames hold secrets.

    For exceptions that must be raised, such as Ctrl-C or a timeout of the task; all others become a ``Failure``.

    :param outer: the exception that the caller was handling when the request began; it keeps its traceback
    """
    seen = {id(outer)}
    pending: list[BaseException | None] = [error]
    while pending:
        link = pending.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            link.__traceback__ = None
            pending += [link.__cause__, link.__context__]
    return error


def _chain(error: BaseException | None, outer: BaseException | None) -> Iterator[BaseException]:
    seen = {id(outer)}
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
