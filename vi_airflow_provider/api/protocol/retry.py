"""Whether a request is sent again, and when: values and pure functions, testable without a client.

As with ``urllib3.util.Retry``, the state of a call's retries is an immutable value. :meth:`RetryState.after` takes the
outcome of an attempt and returns the state before the next one, or ``None`` to give up.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime

from vi_airflow_provider.api.protocol.messages import Failure, Outcome, Request, Response


@dataclass(frozen=True)
class RetryPolicy:
    """How often a call is retried, and how long it waits between two attempts.

    :param jitter: returns a random number between its two arguments
    """

    max_retries: int
    max_rate_limit_retries: int
    max_delay: float
    jitter: Callable[[float, float], float]

    def delay(self, outcome: Outcome, retries: int) -> float:
        """Return the seconds to wait: what ``Retry-After`` requests, else an exponential backoff with full jitter."""
        requested = retry_after(outcome)
        # Full jitter: tasks that failed at the same time do not retry at the same time.
        delay = self.jitter(0, 2.0 ** min(retries, 30)) if requested is None else requested
        return min(delay, self.max_delay)


@dataclass(frozen=True)
class RetryState:
    """How often a call was retried, and until when it may be.

    :param deadline: end of the retry budget, on the clock of the protocol
    :param delay: seconds to wait before the next attempt
    :param may_have_applied: did a failed attempt reach the server, which may have acted on it?
    """

    policy: RetryPolicy
    deadline: float
    retries: int = 0
    rate_limit_retries: int = 0
    delay: float = 0.0
    may_have_applied: bool = False

    def after(self, request: Request, outcome: Outcome, now: float) -> RetryState | None:
        """Return the state before the next attempt, ``None`` to give up."""
        if not may_retry(request, outcome):
            return None
        limited = _is_rate_limit(outcome)
        retries = self.rate_limit_retries if limited else self.retries
        if retries >= (self.policy.max_rate_limit_retries if limited else self.policy.max_retries):
            return None
        delay = self.policy.delay(outcome, retries)
        if now + delay >= self.deadline:
            return None
        if limited:
            return replace(self, delay=delay, rate_limit_retries=retries + 1)
        may_have_applied = self.may_have_applied or reached_server(outcome)
        return replace(self, delay=delay, retries=retries + 1, may_have_applied=may_have_applied)


def reached_server(outcome: Outcome) -> bool:
    """May the server have received the request, and acted on it, although the attempt failed?"""
    if isinstance(outcome, Failure):
        return not outcome.kind.before_send
    return outcome.status == 408 or outcome.status >= 500


def may_retry(request: Request, outcome: Outcome) -> bool:
    """Decide whether the same request may be sent again (VI_API.md section 8, provider rules)."""
    if isinstance(outcome, Failure):
        return outcome.kind.transient and (request.idempotent or outcome.kind.before_send)
    if _is_rate_limit(outcome):
        return True
    return request.idempotent and (outcome.status == 408 or 500 <= outcome.status < 600)


def retry_after(outcome: Outcome, now: Callable[[], float] = time.time) -> float | None:
    """Return the seconds that ``Retry-After`` requests (RFC 9110 section 10.2.3), ``None`` without a usable value."""
    if isinstance(outcome, Failure) or outcome.status not in (429, 503):
        return None
    value = outcome.headers.get("retry-after", "").strip()
    if re.fullmatch(r"-?\d{1,300}(\.\d{1,300})?", value, re.ASCII):
        return max(0.0, float(value))
    try:
        when = parsedate_to_datetime(value)
        # The oldest date format has no time zone and means UTC (RFC 9110 section 5.6.7).
        return max(0.0, when.replace(tzinfo=when.tzinfo or UTC).timestamp() - now())
    except (ValueError, OverflowError):
        return None


def _is_rate_limit(outcome: Outcome) -> bool:
    return isinstance(outcome, Response) and outcome.status == 429
