"""Ordered collections and page cursors.

A cursor holds the position of the last document that was returned, not an offset: if documents are created or
deleted between two pages, no other document is skipped or repeated.
"""

from __future__ import annotations

import base64
import binascii
import json
from bisect import bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, TypeVar

from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.schema import encode

T = TypeVar("T")


class Position(NamedTuple):
    """The sort key of a document in its listing: newest creation first, then by id."""

    age_rank: int  # minus the time of creation
    id: str


@dataclass(frozen=True)
class Page(Generic[T]):
    """Consecutive items; `last` is the position to continue from, None at the end of the listing."""

    items: list[T]
    last: Position | None


class Listing(Generic[T]):
    """Items by id, newest first. The cost of a page does not depend on where it starts."""

    def __init__(self) -> None:
        self._items: dict[str, tuple[Position, T]] = {}
        self._order: list[Position] = []

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._items

    def __iter__(self) -> Iterator[T]:
        return (self._items[position.id][1] for position in self._order)

    def ids(self) -> list[str]:
        """All ids, newest first."""
        return [position.id for position in self._order]

    def get(self, id_: str) -> T | None:
        """The item, or None."""
        found = self._items.get(id_)
        return None if found is None else found[1]

    def put(self, id_: str, time_created: int, item: T) -> None:
        """Add or replace; the time of creation of an item never changes."""
        position = Position(-time_created, id_)
        if id_ not in self._items:
            insort(self._order, position)
        self._items[id_] = (position, item)

    def remove(self, id_: str) -> None:
        """Remove an existing item."""
        position, _ = self._items.pop(id_)
        del self._order[bisect_right(self._order, position) - 1]

    def page(self, after: Position | None, size: int) -> Page[T]:
        """Up to `size` items behind a position, even if its item no longer exists."""
        start = 0 if after is None else bisect_right(self._order, after)
        positions = self._order[start : start + size]
        more = start + size < len(self._order)
        return Page([self._items[p.id][1] for p in positions], positions[-1] if more else None)


@dataclass(frozen=True)
class Cursor:
    """The content of `nextPage`: opaque to clients, valid for the listing that issued it."""

    listing: str
    position: Position | None
    # Distinguishes two cursors of one position: an empty page must not return the cursor it was requested with.
    turn: int = 0

    def encode(self) -> str:
        """The token."""
        fields = [self.listing, self.position, self.turn]
        return base64.urlsafe_b64encode(encode(fields)).decode()

    @classmethod
    def decode(cls, token: str, listing: str) -> Cursor:
        """Read a token that this listing issued; anything else is a 400."""
        try:
            value = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
        except (ValueError, binascii.Error, RecursionError):
            value = None
        match value:
            case [str(name), None, int(turn)] if name == listing:
                return cls(listing, None, turn)
            case [str(name), [int(rank), str(id_)], int(turn)] if name == listing:
                return cls(listing, Position(rank, id_), turn)
        raise ApiError(400, f"p is not a page cursor of {listing}")

    def next_turn(self) -> Cursor:
        """The same position as another token."""
        return replace(self, turn=self.turn + 1)
