"""What the outcome of a request means: success, or which error, with which message."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeGuard
from urllib.parse import urlsplit

import msgspec

from vi_airflow_provider.api.errors import (
    ViAuthenticationError,
    ViCertificateError,
    ViConflictError,
    ViError,
    ViNetworkError,
    ViNotFoundError,
    ViPermissionError,
    ViRateLimitError,
    ViResponseError,
    ViServerError,
    ViTimeoutError,
    ViValidationError,
    one_line,
)
from vi_airflow_provider.api.protocol.messages import Failure, FailureKind, Outcome, Request, Response
from vi_airflow_provider.api.protocol.redaction import without_keys

#: What parsing JSON may raise.
NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

#: What to do about a 409 that concerns a run; the advice of the class concerns flows.
RUN_CONFLICT_ADVICE: Final = "If the run is active, wait for it to end or kill it, then try again."
_OF_A_RUN: Final = re.compile(r"/workspaces/[^/]+/runs/")

_ERRORS_BY_STATUS: Final[Mapping[int, type[ViError]]] = {
    401: ViAuthenticationError,
    403: ViPermissionError,
    404: ViNotFoundError,
    408: ViTimeoutError,
    409: ViConflictError,
    429: ViRateLimitError,
}

_ERRORS_BY_KIND: Final[Mapping[FailureKind, type[ViError]]] = {
    FailureKind.TIMEOUT: ViTimeoutError,
    FailureKind.CONNECT_TIMEOUT: ViTimeoutError,
    FailureKind.CERTIFICATE: ViCertificateError,
    FailureKind.TOO_LARGE: ViResponseError,
    FailureKind.INVALID: ViResponseError,
}


def is_success(outcome: Outcome, also: frozenset[int] = frozenset()) -> TypeGuard[Response]:
    """Is this a 2xx, or one of the statuses that the call accepts?"""
    return isinstance(outcome, Response) and (200 <= outcome.status < 300 or outcome.status in also)


def error_class(outcome: Outcome) -> type[ViError]:
    """Return the error that an outcome means (VI_API.md section 7)."""
    if isinstance(outcome, Failure):
        return _ERRORS_BY_KIND.get(outcome.kind, ViNetworkError)
    if outcome.status in _ERRORS_BY_STATUS:
        return _ERRORS_BY_STATUS[outcome.status]
    if 400 <= outcome.status < 500:
        return ViValidationError
    return ViServerError if 500 <= outcome.status < 600 else ViResponseError


@dataclass(frozen=True)
class ErrorContext:
    """Where a value comes from, for errors about it. ``redact`` removes secrets from text of the server."""

    method: str
    path: str
    status_code: int | None = None
    trace_id: str | None = None
    attempts: int = 0
    redact: Callable[[str], str] = field(default=str, repr=False)

    @classmethod
    def of(cls, request: Request, outcome: Outcome, attempts: int, redact: Callable[[str], str]) -> ErrorContext:
        """Describe the outcome of a request."""
        headers = outcome.headers if isinstance(outcome, Response) else {}
        trace_id = one_line(redact(headers.get("x-cloud-trace-context", "").partition("/")[0][:400]), 100)
        # A cursor is the server's text.
        path = redact(request.path) if "?p=" in request.path else request.path
        return cls(request.method, path, outcome.status, trace_id or None, attempts, redact)

    def error(self, kind: type[ViError], message: str, *, advice: str | None = None) -> ViError:
        """Build an error that names the request."""
        if advice is None and kind is ViConflictError and _OF_A_RUN.search(self.path):
            advice = RUN_CONFLICT_ADVICE
        return kind(
            self.redact(message),
            status_code=self.status_code,
            method=self.method,
            path=self.path,
            trace_id=self.trace_id,
            attempts=self.attempts,
            advice=advice,
        )

    def response_error(self, message: str, *, advice: str | None = None) -> ViError:
        """Build an error about a response that violates the contract."""
        return self.error(ViResponseError, message, advice=advice)


def describe(request: Request, outcome: Outcome, proxy: str | None, redact: Callable[[str], str]) -> str:
    """Describe an unsuccessful outcome in one line without secrets: status and server message, or failure and host."""
    if isinstance(outcome, Failure):
        url = urlsplit(proxy if proxy and outcome.kind is FailureKind.PROXY else request.url)
        return f"{outcome.summary} ({url.netloc.rpartition('@')[2]})"
    # A server may quote the header that it rejects, even that of another client.
    message = one_line(without_keys(redact(server_message(outcome)[:2000])))
    return f"{outcome.summary}: {message}" if message else outcome.summary


def server_message(response: Response) -> str:
    """Return the server's description of an error: ``message``, else ``error``, else the body; nothing of HTML."""
    text = response.body[:1000].decode("utf-8", "replace")
    try:
        body = msgspec.json.decode(response.body)
    except NOT_JSON:
        return "" if "<" in text else text
    if isinstance(body, dict):
        for key in ("message", "error"):
            if isinstance(body.get(key), str) and body[key]:
                return str(body[key])
    return text
