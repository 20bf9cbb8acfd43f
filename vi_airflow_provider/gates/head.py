"""How much of a long listing must be read to find every document that was created since: pure decisions, no requests.

Theory of operation. A listing may be sorted by creation, newest first (VI_API.md section 6). Then a new document can
only appear at its head, which need not be read further than to what it held before. The order is a hint of the vendor
and no promise, so each reading checks it:

- *Evidence*: creation times never increase, and decrease at least ``EVIDENCE`` times. Equal times prove nothing; an
  unsorted listing passes by accident once in hundreds of thousands of readings.
- *Floor*: a reading ends below the middle of what the two readings before began with. So each part of the head is read
  at least twice: a document that was skipped because the listing changed between two pages, that became visible late,
  or that was created by a server whose clock is behind, is found by the next reading.
- *Loss*: a reading without evidence, or that did not reach the floor, or that lacks a document that was found in
  another way and belongs there, ends the knowledge. For ``RETRY`` seconds the head is not used.

Nothing here finds a document that appears with an old creation time, such as a restored one. For that the poller
checks each key by itself from time to time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Decreases of the creation time within one reading that prove the order.
EVIDENCE: Final = 8
#: Seconds for which the head is not used after its order did not hold.
RETRY: Final = 600.0


class HeadReading:
    """One reading of a listing from its beginning.

    :param clock: returns the time in seconds; only differences matter
    :param floor: creation time below which everything was seen before; ``None`` if nothing was seen
    """

    def __init__(self, clock: Callable[[], float], floor: int | None) -> None:
        self.began = clock()
        #: When the first page was there: documents that were created later stand above all others in it.
        self.seen_at = math.inf
        #: Creation time in the middle of the first page.
        self.middle: int | None = None
        #: Has it read as far as necessary? What follows is ignored.
        self.reached = False
        #: Are the creation times so far in order?
        self.ordered = True
        self._clock = clock
        self._floor = floor
        self._walk = 0
        self._last: int | None = None
        self._decreases = 0

    @property
    def done(self) -> bool:
        """Whether no more pages are needed."""
        return self.reached or not self.ordered

    def page(self, created: Sequence[Any], walk: int = 0) -> bool:
        """Take the creation times of a page; return whether no more pages are needed.

        :param walk: the number of times that the listing began before, with pages of another size
        """
        self.seen_at = min(self.seen_at, self._clock())
        if walk != self._walk:
            self._walk, self._last, self._decreases = walk, None, 0
        if self.done or not created:
            return self.done
        for time in created:
            self._take(time)
        if self.ordered and self._last is not None:
            self.middle = created[len(created) // 2] if self.middle is None else self.middle
            self.reached = self._decreases >= EVIDENCE and (self._floor is None or self._last < self._floor)
        return self.done

    def _take(self, time: Any) -> None:
        if not isinstance(time, int) or (self._last is not None and time > self._last):
            self.ordered = False
            return
        self._decreases += self._last is not None and time < self._last
        self._last = time


class Head:
    """What is known of the head of a listing.

    :param clock: returns the time in seconds
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._retry_at = -math.inf
        #: Middle and time of the last two readings.
        self._seen: tuple[tuple[int, float], tuple[int, float]] | None = None

    @property
    def known(self) -> bool:
        """Whether readings show every new document."""
        return self._seen is not None

    @property
    def due(self) -> bool:
        """Whether it is unknown, and may be read to get to know it."""
        return not self.known and self._clock() >= self._retry_at

    def covers(self, absent_at: float) -> bool:
        """Return whether readings show a document that did not exist at that time, if it is created."""
        return self._seen is not None and absent_at >= self._seen[0][1]

    def begin(self) -> HeadReading:
        """Begin a reading."""
        return HeadReading(self._clock, None if self._seen is None else min(middle for middle, _ in self._seen))

    def end(self, reading: HeadReading) -> bool:
        """Learn from a reading that met no error; return whether it has shown everything new."""
        if not self.known and reading.began < self._retry_at:
            return False
        if not reading.reached or reading.middle is None:
            self.lose()
            return False
        seen = (reading.middle, reading.seen_at)
        self._seen = (seen if self._seen is None else self._seen[1], seen)
        return True

    def shows(self, created: int) -> bool:
        """Return whether a document that was created then must stand in the head."""
        return self._seen is not None and created >= max(middle for middle, _ in self._seen)

    def lose(self) -> None:
        """Forget everything: the listing is not sorted, or too much of it is new."""
        self._seen = None
        self._retry_at = self._clock() + RETRY
