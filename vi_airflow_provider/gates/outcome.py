"""How a gate waits and how its waiting ends: decided here for every mode of a sensor, and for the trigger.

The outcome of waiting travels from the triggerer to the worker as an event: plain JSON, made by
:func:`build_event` and read by :func:`read_event`, and by nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from vi_airflow_provider.api import errors
from vi_airflow_provider.api.errors import ViError, ViResponseError, one_line

EVENT_VERSION: Final = 1
#: Looks that may fail one after the other before the wait ends; the sensors' default.
MAX_FAILURES: Final = 10
#: Longest pause in seconds that a failed look causes, whatever the server asks for: a broken proxy may ask for years.
MAX_PAUSE: Final = 3600.0


class WaitOutcome(StrEnum):
    """How waiting ended."""

    OPEN = "open"
    TIMEOUT = "timeout"
    #: An error that waiting cannot mend: credentials, permission, a bad value or connection.
    REFUSED = "refused"
    #: More failed looks in a row than the budget allows.
    OUTAGE = "outage"


class WaitResult(NamedTuple):
    """The end of waiting: the flow if the gate opened upon one, the error if one ended it."""

    outcome: WaitOutcome
    flow: dict[str, Any] | None = None
    error: ViError | None = None


def outcome_of_failure(error: ViError, failures: int, max_failures: int | None) -> WaitOutcome | None:
    """Say whether a failed look ends the wait, and how; ``None``: it goes on.

    :param failures: failed looks in a row, this one included
    :param max_failures: how many end the wait; ``None`` for no bound
    """
    if not error.retryable:
        return WaitOutcome.REFUSED
    return WaitOutcome.OUTAGE if max_failures is not None and failures >= max_failures else None


def pause_after_failure(error: ViError, poke_interval: float) -> float:
    """Return the seconds until the next look: never less than usual, up to an hour if ``Retry-After`` asks for it."""
    return max(poke_interval, min(error.retry_after or 0.0, MAX_PAUSE))


def next_tick(earliest: float, poke_interval: float) -> float:
    """Return the first multiple of the interval that is not before ``earliest`` (both in seconds).

    Gates with the same interval look at the same times, which lets them share answers.
    """
    # The subtrahend absorbs the rounding of times like 1.8e9 seconds, so that a multiple is its own next tick.
    return math.ceil(earliest / poke_interval - 1e-5) * poke_interval


def build_event(ended: WaitResult) -> dict[str, Any]:
    """Write the end of waiting as JSON data."""
    event: dict[str, Any] = {"version": EVENT_VERSION, "outcome": ended.outcome.value, "flow": ended.flow}
    if ended.error is not None:
        error = ended.error
        event["error"] = {
            "type": type(error).__name__,
            "message": str(error.args[0]),
            "status_code": error.status_code,
            "method": error.method,
            "path": error.path,
            "trace_id": error.trace_id,
            "attempts": error.attempts,
        }
    return event


def read_event(event: Any, *, absent: bool = False) -> WaitResult:
    """Read the end of waiting. What is not understood is a failure, never success.

    :param absent: it is the absence of a flow that was waited for
    :raises ViResponseError: the event is none of ours
    """
    try:
        if event["version"] != EVENT_VERSION:
            raise ValueError("an unknown version")
        outcome, flow, error = WaitOutcome(event["outcome"]), event["flow"], event.get("error")
        if (outcome is WaitOutcome.OPEN and not absent) != (isinstance(flow, Mapping) and "flow_id" in flow):
            raise ValueError("a flow where none is expected, or none where one is")
        if (outcome in (WaitOutcome.REFUSED, WaitOutcome.OUTAGE)) != (error is not None):
            raise ValueError("an error where none is expected, or none where one is")
        return WaitResult(outcome, None if flow is None else dict(flow), None if error is None else _read_error(error))
    except (TypeError, KeyError, ValueError, AttributeError) as problem:
        reason = one_line(f"{event!r:.100} ({problem!r})")
    raise ViResponseError(f"the triggerer sent an event that is not understood: {reason}")


def _read_error(data: Mapping[str, Any]) -> ViError:
    kind = getattr(errors, str(data["type"]), ViError)
    if not (isinstance(kind, type) and issubclass(kind, ViError)):
        kind = ViError
    facts = {name: data.get(name) for name in ("status_code", "method", "path", "trace_id")}
    return kind(str(data["message"]), attempts=int(data.get("attempts") or 0), **facts)
