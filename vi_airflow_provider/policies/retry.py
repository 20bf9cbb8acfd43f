"""``ViRetryPolicy``: whether and when Airflow retries a task that failed with an error of Vi (Airflow 3.3)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from vi_airflow_provider.api.errors import ViError

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context
    from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
else:
    try:
        from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
    except ImportError:  # before Airflow 3.3, tasks have no such argument
        RetryPolicy = object


class ViRetryPolicy(RetryPolicy):
    """Retry a task if the error of Vi may pass, and wait as long as the server requests.

    For tasks of your own that call ``ViHook``; the operators decide the same by themselves. An error that a later try
    cannot mend (credentials, permission, a bad value, unusable connection settings) fails the task at once. After 429
    or 503 with ``Retry-After``, the next try comes no sooner than the server allows. All other failures follow the
    ``retries`` and ``retry_delay`` of the task.

    :param max_delay: longest time between two tries, even if the server requests a longer wait
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
        delay = min(timedelta(seconds=min(error.retry_after, self.max_delay.total_seconds())), self.max_delay)
        return RetryDecision.retry(delay, f"the server requests a wait of {delay.total_seconds():.0f} s")

    def serialize(self) -> dict[str, Any]:
        """Return the policy as JSON data."""
        return {"__type": type(self).__name__, "max_delay": self.max_delay.total_seconds()}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> ViRetryPolicy:
        """Read what ``serialize`` returned."""
        return cls(max_delay=timedelta(seconds=data["max_delay"]))


def _vi_errors(error: BaseException | None) -> Iterator[ViError]:
    """Yield the errors of Vi among an exception and its causes, from the outside in."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, ViError):
            yield error
        error = error.__cause__
