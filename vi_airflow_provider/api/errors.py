"""What can go wrong between Airflow and Vi: one family of exceptions, free of Airflow and of secrets.

The class of an error tells what happened, its attributes where, and its message ends with one sentence of advice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import groupby
from types import TracebackType
from typing import Any, ClassVar


def one_line(text: str, limit: int = 300) -> str:
    """Make foreign text safe for a message or a log: one line, bounded, without control characters.

    Line breaks and escapes would forge log lines; invisible bidirectional marks would show a text in another order.
    """
    text = text[: 4 * limit]  # a server may send megabytes
    if not text.isprintable():
        runs = groupby(text, str.isprintable)
        text = "".join("".join(run) if printable else " " for printable, run in runs)
    text = text.strip()
    return text if len(text) <= limit else f"{text[:limit]}…"


class ViError(Exception):
    """Base class of all errors of this provider.

    :param message: what happened, in one line, without any secret
    :param status_code: HTTP status of the last response, ``None`` without one
    :param method: HTTP method of the request
    :param path: path and query of the request, without host and credentials
    :param trace_id: the server's trace id (``x-cloud-trace-context``), to quote to its support
    :param attempts: how many requests were sent; 0 if the call was refused before the first
    :param retry_after: seconds that the server requested to wait, for a caller that paces itself
    :param advice: what to do, if the advice of the class does not fit
    """

    #: Can the same call, made again later and unchanged, succeed?
    #: Operators fail without Airflow's retries if it cannot.
    retryable: ClassVar[bool] = True
    #: One sentence about what the user can do.
    advice: str = ""

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        method: str | None = None,
        path: str | None = None,
        trace_id: str | None = None,
        attempts: int = 0,
        retry_after: float | None = None,
        advice: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.method = method
        self.path = path
        self.trace_id = trace_id
        self.attempts = attempts
        self.retry_after = retry_after
        if advice is not None:
            self.advice = advice

    def __str__(self) -> str:
        where = f"{self.method} {self.path}: " if self.method else ""
        what = str(self.args[0])
        what += "" if what.endswith((".", "?", "!")) else "."
        facts = [f"trace {self.trace_id}"] if self.trace_id else []
        if self.attempts > 1:
            facts.append(f"{self.attempts} attempts")
        return " ".join(filter(None, (f"{where}{what}", self.advice, f"({', '.join(facts)})" if facts else "")))


class ViConfigurationError(ViError):
    """The connection cannot be used as it is; nothing was sent."""

    retryable = False


class ViValidationError(ViError):
    """A value was refused: by us before the request (no ``status_code``), or by the server (400, other 4xx)."""

    retryable = False


class ViAuthenticationError(ViError):
    """401: the server does not accept the secret key."""

    retryable = False
    advice = "Check the secret key (the connection's password): it may be expired, revoked or of another organization."


class ViPermissionError(ViError):
    """403: the server accepts the key, but does not allow this call."""

    retryable = False
    advice = (
        "Check that the organization id (the connection's login) is the one of the key, "
        "and that the key has Training Access (Full, to change flows)."
    )


class ViNotFoundError(ViError):
    """404: no such flow, run or training project, or no such organization."""

    advice = "Check the id and the organization id (the connection's login)."


class ViConflictError(ViError):
    """409: the flow is in use, typically by an active run, or was changed concurrently; or the run is active."""

    advice = "If a run uses the flow, wait for it to end or kill it, then try again."


class ViRateLimitError(ViError):
    """429, even after all waits that ``Retry-After`` requested."""

    advice = "Use fewer parallel tasks, or raise max_rate_limit_retries or retry_budget in the connection's extra."


class ViServerError(ViError):
    """5xx, even after all retries."""

    advice = "The service has a problem; try again later."


class ViTimeoutError(ViError):
    """No complete response in time, or the server's own 408."""

    advice = "Check the network, or raise connect_timeout, read_timeout or retry_budget in the connection's extra."


class ViNetworkError(ViError):
    """No connection, or a broken one: name resolution, TCP, TLS, proxy."""

    advice = "Check the connection's host, the proxy and the firewall."


class ViCertificateError(ViNetworkError):
    """The server's TLS certificate is not trusted."""

    advice = "Check the connection's host, or name the CA file of your organization in verify of its extra."


class ViResponseError(ViError):
    """A response that violates the contract: not JSON, not a page, a field missing or of a wrong type."""

    advice = "Check that the connection's host is a Vi API endpoint and that no proxy or login page responds instead."


class refusing:  # noqa: N801 - reads as a statement, like contextlib.suppress
    """Replace a library's exception by one of ours that has no cause and no context.

    A cause would bring the frames of the library into the traceback, with the document, or even a secret, in their
    locals; Airflow prints those. ``raise … from None`` only hides the context from Python's own traceback::

        with refusing(ViValidationError, ValidationError, describe=describe_errors):
            return Model.model_validate(value)

    :param kind: makes our exception of a message
    :param caught: the exceptions to replace
    :param describe: makes the message of the exception
    """

    def __init__(
        self,
        kind: Callable[[str], BaseException],
        *caught: type[BaseException],
        describe: Callable[..., str] = str,
    ) -> None:
        self._kind = kind
        self._caught = caught
        self._describe = describe

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if isinstance(error, self._caught):
            refusal = self._kind(self._describe(error))
            try:
                raise refusal
            finally:
                refusal.__context__ = None


def error_to_json(error: ViError) -> dict[str, Any]:
    """Write an error as JSON data, for an event that a triggerer sends to a worker."""
    facts = ("status_code", "method", "path", "trace_id", "attempts")
    return {"type": type(error).__name__, "message": str(error.args[0])} | {
        name: getattr(error, name) for name in facts
    }


def error_from_json(data: Mapping[str, Any]) -> ViError:
    """Read an error that :func:`error_to_json` wrote; an unknown class, of a later version, becomes the base class.

    :raises LookupError: a field is missing
    """
    kind = globals().get(str(data["type"]))
    if not (isinstance(kind, type) and issubclass(kind, ViError)):
        kind = ViError
    facts = {name: data.get(name) for name in ("status_code", "method", "path", "trace_id")}
    return kind(str(data["message"]), attempts=int(data.get("attempts") or 0), **facts)
