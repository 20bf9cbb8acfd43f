"""``ViRetryPolicy``: whether and when Airflow retries a task that failed with an error of Vi (Airflow 3.3)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import conf

from vi_airflow_provider.api.errors import ViError

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context
    from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
else:
    try:
        from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
    except ImportError:  # before Airflow 3.3, tasks have no such argument
        RetryPolicy = object

#: The defaults of Airflow's settings, in seconds.
_RETRY_DELAY: Final = 300
_MAX_RETRY_DELAY: Final = 24 * 60 * 60


class ViRetryPolicy(RetryPolicy):
    """Retry a task if the error of Vi may pass, and wait at least as long as the server requests.

    For tasks of your own that call ``ViHook``; the operators decide the same by themselves. An error that a later try
    cannot mend (credentials, permission, a bad value, unusable connection settings) fails the task at once. After 429
    or 503 with ``Retry-After``, the next try comes no sooner than the server allows, and no sooner than the task's own
    ``retry_delay``, with its exponential backoff. All other failures follow the ``retries`` and ``retry_delay`` of the
    task.

    :param max_delay: longest wait that a server can request; the task's own delay may be longer
    """

    def __init__(self, *, max_delay: timedelta = timedelta(hours=1)) -> None:
        self.max_delay = max_delay

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide about a failure: see the class."""
        error = next(_vi_errors(exception), None)
        if error is None:
            return RetryDecision.default()
        if not error.retryable:
            return RetryDecision.fail(f"{type(error).__name__}: {error}")
        if error.retry_after is None:
            return RetryDecision.default()
        requested = min(error.retry_after, self.max_delay.total_seconds())
        shortest, longest = _own_delays(None if context is None else context.get("task"), try_number)
        if requested <= shortest:
            return RetryDecision.default()
        delay = timedelta(seconds=max(requested, longest))  # replaces the delay of the task, so it must satisfy both
        return RetryDecision.retry(delay, f"the server requests a wait of {requested:.0f} s")

    def serialize(self) -> dict[str, Any]:
        """Return the policy as JSON data."""
        return {"__type": type(self).__name__, "max_delay": self.max_delay.total_seconds()}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> ViRetryPolicy:
        """Read what ``serialize`` returned."""
        return cls(max_delay=timedelta(seconds=data["max_delay"]))


def _own_delays(task: Any, try_number: int) -> tuple[float, float]:
    """Return the bounds, in seconds, between which Airflow chooses the delay by the settings of a task.

    :param task: the task; ``None`` if it is not known, which counts as one without settings of its own
    """
    default = timedelta(seconds=conf.getint("core", "default_task_retry_delay", fallback=_RETRY_DELAY))
    delay = getattr(task, "retry_delay", default).total_seconds()
    growth = getattr(task, "retry_exponential_backoff", 0)
    growth = 2.0 if growth is True else float(growth)
    if growth <= 0 or growth == 1:
        return delay, delay
    most = float(conf.getint("core", "max_task_retry_delay", fallback=_MAX_RETRY_DELAY))
    if (own := getattr(task, "max_retry_delay", None)) is not None:
        most = min(most, own.total_seconds())
    try:
        shortest = max(1.0, math.ceil(delay * growth ** (try_number - 1)))
    except OverflowError:
        shortest = most
    return min(shortest, most), min(2 * shortest, most)


def _vi_errors(error: BaseException | None) -> Iterator[ViError]:
    """Yield the errors of Vi among an exception and its causes, from the outside in."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, ViError):
            yield error
        error = error.__cause__
