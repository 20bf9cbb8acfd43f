"""How a wait ends, and the event that carries its end from the triggerer to the worker.

The event is plain JSON. :func:`build_event` writes it and :func:`read_event` reads it; nothing else does. Triggerer
and worker may run different versions of this package for a while, so fields are only ever added.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from vi_airflow_provider.api.errors import ViError, ViResponseError, error_from_json, error_to_json, one_line
from vi_airflow_provider.api.failed_polls import ends_wait

EVENT_VERSION: Final = 1


class WaitOutcome(StrEnum):
    """How a wait ended."""

    OPEN = "open"
    TIMEOUT = "timeout"
    #: An error that does not pass: credentials, permission, a bad value, an unusable connection.
    REFUSED = "refused"
    #: As many consecutive failed polls as the budget allows.
    OUTAGE = "outage"
    #: A state from which the gate will not open.
    FAILED = "failed"


class WaitResult(NamedTuple):
    """The end of a wait.

    :param found: what the task returns, if the gate opened on a document
    :param error: the error that ended the wait, if one did
    :param reason: why the gate will not open
    """

    outcome: WaitOutcome
    found: dict[str, Any] | None = None
    error: ViError | None = None
    reason: str | None = None


def outcome_of_failure(error: ViError, failures: int, max_failures: int | None) -> WaitOutcome | None:
    """Decide whether a failed poll ends the wait, and how; ``None`` if the wait goes on.

    :param failures: consecutive failed polls, including this one
    :param max_failures: number of failures that ends the wait; ``None`` for no limit
    """
    if not ends_wait(error, failures, max_failures):
        return None
    return WaitOutcome.OUTAGE if error.retryable else WaitOutcome.REFUSED


def lookup_failure(vi_conn_id: str, error: Exception) -> ViError:
    """Return the error of a poll for which Airflow did not provide the connection.

    Airflow reports a connection as "not defined" also while its secrets backend is down, so this does not end a wait
    at once. The text of ``error`` is left out: a backend may quote its own credentials.
    """
    return ViError(
        f"connection {one_line(vi_conn_id, 100)!r}: Airflow cannot provide it ({type(error).__name__}). Check that "
        "it is defined, and that the secrets backend responds"
    )


def build_event(result: WaitResult, kind: str = "flow") -> dict[str, Any]:
    """Write the end of a wait as JSON data.

    :param kind: what the wait was for; the field of the event that holds it
    """
    event: dict[str, Any] = {"version": EVENT_VERSION, "outcome": result.outcome.value, kind: result.found}
    if result.error is not None:
        event["error"] = error_to_json(result.error)
    if result.reason is not None:
        event["reason"] = result.reason
    return event


def read_event(event: Any, kind: str = "flow", *, absent: bool = False) -> WaitResult:
    """Read the end of a wait. An event that is not understood is a failure, never a success.

    :param kind: as of :func:`build_event`
    :param absent: the wait was for the absence of a document
    :raises ViResponseError: this provider did not write the event
    """
    try:
        return _read(event, kind, absent=absent)
    except (TypeError, KeyError, ValueError, AttributeError) as problem:
        reason = one_line(f"{event!r:.100} ({problem!r})")
    raise ViResponseError(f"the triggerer sent an event that is not understood: {reason}")


def _read(event: Any, kind: str, *, absent: bool) -> WaitResult:
    if event["version"] != EVENT_VERSION:
        raise ValueError("unknown version")
    outcome, found, error = WaitOutcome(event["outcome"]), event[kind], event.get("error")
    if (outcome is WaitOutcome.OPEN and not absent) != (isinstance(found, Mapping) and f"{kind}_id" in found):
        raise ValueError(f"unexpected or missing {kind}")
    if (outcome in (WaitOutcome.REFUSED, WaitOutcome.OUTAGE)) != (error is not None):
        raise ValueError("unexpected or missing error")
    reason = event.get("reason")
    if (outcome is WaitOutcome.FAILED) != isinstance(reason, str):
        raise ValueError("unexpected or missing reason")
    return WaitResult(
        outcome,
        None if found is None else dict(found),
        None if error is None else error_from_json(error),
        reason,
    )
