"""Failed polls of any wait: how many of them end it, and how long the pause after one is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vi_airflow_provider.api.errors import ViError

#: Consecutive failed polls that end a wait, unless the user chooses another number.
MAX_FAILURES: Final = 10
#: Longest pause in seconds after a failed poll, however long ``Retry-After`` is: a broken proxy may specify years.
MAX_PAUSE: Final = 3600.0


def ends_wait(error: ViError, failures: int, max_failures: int | None = MAX_FAILURES) -> bool:
    """Return whether a failed poll ends the wait.

    :param failures: consecutive failed polls, including this one
    :param max_failures: number of failures that ends the wait; ``None`` for no limit
    """
    return not error.retryable or (max_failures is not None and failures >= max_failures)


def retry_after(error: ViError) -> float:
    """Return the seconds of ``Retry-After``, an hour at most."""
    return min(error.retry_after or 0.0, MAX_PAUSE)
