"""Which subscribed keys the head of the listing covers: bookkeeping of the shared poller.

A key is *covered* if it was found absent by a check of its own, sent while all new documents were being seen: its
document can only appear in the head. All other keys are *open*: new ones, and those whose document exists.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

K = TypeVar("K")


class Coverage(Generic[K]):
    """The subscribed keys, open and covered.

    :param needs_listing: returns whether the document of a key can only be found in the listing
    """

    def __init__(self, needs_listing: Callable[[K], bool]) -> None:
        self._needs_listing = needs_listing
        self._subscribers: Counter[K] = Counter()
        self.open: dict[K, None] = {}
        #: The key that was checked the longest time ago comes first.
        self.covered: dict[K, None] = {}
        #: How many keys of each group can only be found in the listing.
        self.open_for_listing = 0
        self.covered_for_listing = 0

    def __contains__(self, key: object) -> bool:
        return key in self._subscribers

    def __len__(self) -> int:
        return len(self._subscribers)

    def subscribe(self, key: K) -> None:
        """Add a subscriber of a key."""
        self._subscribers[key] += 1
        if self._subscribers[key] == 1:
            self.open[key] = None
            self.open_for_listing += self._needs_listing(key)

    def unsubscribe(self, key: K) -> bool:
        """Remove a subscriber; return whether it was the last one of the key."""
        self._subscribers[key] -= 1
        if self._subscribers[key]:
            return False
        del self._subscribers[key]
        self.uncover(key)
        del self.open[key]
        self.open_for_listing -= self._needs_listing(key)
        return True

    def cover(self, key: K) -> None:
        """Note that a key was checked and found absent."""
        if key in self.open:
            del self.open[key]
            self.open_for_listing -= self._needs_listing(key)
            self.covered_for_listing += self._needs_listing(key)
        elif key in self.covered:
            del self.covered[key]
        else:
            return
        self.covered[key] = None

    def uncover(self, key: K) -> None:
        """Note that a key must be fetched by itself."""
        if key in self.covered:
            del self.covered[key]
            self.open[key] = None
            self.covered_for_listing -= self._needs_listing(key)
            self.open_for_listing += self._needs_listing(key)

    def uncover_all(self) -> None:
        """Note that nothing is known of the head."""
        self.open.update(self.covered)
        self.covered.clear()
        self.open_for_listing += self.covered_for_listing
        self.covered_for_listing = 0

    def longest_unchecked(self, count: int) -> list[K]:
        """Return the covered keys whose checks were the longest time ago."""
        return list(islice(self.covered, count))
