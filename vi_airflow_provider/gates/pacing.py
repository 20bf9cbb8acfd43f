"""When a gate polls next: one set of rules for a worker that pokes, one that is rescheduled, and the triggerer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from vi_airflow_provider.api.failed_polls import retry_after

if TYPE_CHECKING:
    from vi_airflow_provider.api.errors import ViError

#: Shortest poll interval in seconds, in every mode: all tasks of a triggerer share its event loop.
MIN_INTERVAL: Final = 0.1
#: Part of the poll interval, and seconds at most, over which triggers spread their polls. Within it they share a
#: result, and a thousand of them do not wake up in the same turn of the event loop.
SPREAD: Final = 0.1
MAX_SPREAD: Final = 1.0
#: Part of the poll interval by which a trigger may delay a poll to meet those of other triggers.
MAX_DRIFT: Final = 0.05
#: Seconds for which the settings of a connection are used before the connection is read again.
CONNECTION_MAX_AGE: Final = 60.0

#: So large a number of doublings exceeds every timeout.
_MAX_DOUBLINGS: Final = 40
#: Tolerates polls that come a little early, so that rounded times do not repeat a pause.
_ROUNDING: Final = 0.01


class Pace(NamedTuple):
    """The time between two polls of one gate.

    :param interval: seconds between two polls
    :param exponential_backoff: double the pause after each poll
    :param max_wait: longest pause in seconds with ``exponential_backoff``
    """

    interval: float
    exponential_backoff: bool = False
    max_wait: float | None = None

    def pause(self, elapsed: float) -> float:
        """Return the seconds until the next poll.

        With backoff, polls are due 0, 1, 3, 7, … intervals after the wait began. The pause follows from the elapsed
        time alone, so a rescheduled sensor and a restarted triggerer keep the pace without counting polls.

        :param elapsed: seconds since the wait began
        """
        interval = max(self.interval, MIN_INTERVAL)
        if not self.exponential_backoff:
            return interval
        doublings = math.floor(math.log2(max(0.0, elapsed) / interval + 1) + _ROUNDING)
        pause = interval * 2.0 ** min(doublings, _MAX_DOUBLINGS)
        return max(MIN_INTERVAL, min(pause, self.max_wait)) if self.max_wait else pause


def pause_after_failure(error: ViError, pause: float) -> float:
    """Return the seconds until the next poll: the usual pause, or ``Retry-After`` up to an hour if that is longer."""
    return max(pause, retry_after(error))


def next_tick(earliest: float, interval: float) -> float:
    """Return the first multiple of the interval that is not before ``earliest`` (both in seconds).

    Triggers with the same interval poll at the same times, which lets them share results.
    """
    # The subtrahend absorbs the rounding of times like 1.8e9 seconds, so that a multiple is its own next tick.
    return math.ceil(earliest / interval - 1e-5) * interval


def next_poll(earliest: float, interval: float, offset: float = 0.0) -> float:
    """Return the time of the next poll: ``earliest``, delayed by at most ``MAX_DRIFT`` towards the shared ticks.

    A wait begins at any time. Waiting for the next tick at once could double the first pause, so a trigger approaches
    the ticks over several polls and keeps to them afterwards.

    :param offset: seconds after each tick at which this trigger polls
    """
    aligned = next_tick(earliest - offset, interval) + offset
    return min(aligned, earliest + MAX_DRIFT * interval)
