"""Ordered collections and page cursors.

A cursor is of one of two kinds. A *key* is the position of the last document that was returned: if documents are
created or deleted between two pages, no other document is skipped or repeated. An *offset* counts the documents
that were returned: a deletion on an earlier page shifts an unseen document past the next page, and a creation
repeats one. An offset may be valid only with the page size that it was issued for. Or a cursor is a *page number*,
whose place depends on the page size: with another size, documents are skipped or repeated.
"""

from __future__ import annotations

import base64
import binascii
import json
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, TypeVar

from vi_airflow_provider.emulator.store.behaviour import CursorKind
from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.schema import encode

T = TypeVar("T")


class Position(NamedTuple):
    """The sort key of a document in its listing: by rank, then by id."""

    rank: int
    id: str


class PageNumber(NamedTuple):
    """A number of pages of the requested size."""

    number: int


class SizedOffset(NamedTuple):
    """A number of documents, and the page size that it is valid with."""

    offset: int
    size: int


#: Where a page starts: behind a position, or after a number of documents or pages.
Place = Position | int | PageNumber | SizedOffset


@dataclass(frozen=True)
class Page(Generic[T]):
    """Consecutive items, and the place to continue from: None at the end of the listing."""

    items: list[T]
    next: Place | None


class Listing(Generic[T]):
    """Items by id, in the order of their ranks. The cost of a page does not depend on where it starts."""

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
        """All ids, in order."""
        return [position.id for position in self._order]

    def get(self, id_: str) -> T | None:
        """The item, or None."""
        found = self._items.get(id_)
        return None if found is None else found[1]

    def put(self, id_: str, rank: int, item: T) -> None:
        """Add or replace; a new rank moves the item."""
        position = Position(rank, id_)
        old = self._items.get(id_)
        if old is None or old[0] != position:
            self.remove(id_)
            insort(self._order, position)
        self._items[id_] = (position, item)

    def remove(self, id_: str) -> None:
        """Remove an item, if it exists."""
        if (old := self._items.pop(id_, None)) is not None:
            del self._order[bisect_left(self._order, old[0])]

    def page(self, after: Place | None, size: int, *, cursor: CursorKind = "key") -> Page[T]:
        """Up to `size` items behind a place, even if the item at that place no longer exists."""
        stop = self._index(after, size) + size
        positions = self._order[stop - size : stop]
        place = _place(cursor, stop, size, positions) if stop < len(self._order) else None
        return Page([self._items[position.id][1] for position in positions], place)

    def _index(self, after: Place | None, size: int) -> int:
        match after:
            case Position():
                return bisect_right(self._order, after)
            case PageNumber(number):
                return number * size
            case SizedOffset(offset, issued_for):
                if issued_for != size:
                    raise ApiError(400, "p was issued for another s")
                return offset
        return after or 0


def _place(cursor: CursorKind, stop: int, size: int, positions: list[Position]) -> Place:
    """The place behind a page that ends before the index `stop`."""
    match cursor:
        case "key":
            return positions[-1]
        case "offset":
            return stop
        case "page":
            return PageNumber(stop // size)
        case "sized":
            return SizedOffset(stop, size)


@dataclass(frozen=True)
class Cursor:
    """The content of `nextPage`: opaque to clients, valid for the listing that issued it."""

    listing: str
    place: Place | None
    # Distinguishes two cursors of one place: an empty page must not return the cursor it was requested with.
    turn: int = 0

    def encode(self) -> str:
        """The token."""
        return base64.urlsafe_b64encode(encode([self.listing, self.place, self.turn])).decode()

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
            case [str(name), int(offset), int(turn)] if name == listing and offset >= 0:
                return cls(listing, offset, turn)
            case [str(name), [int(number)], int(turn)] if name == listing and number >= 0:
                return cls(listing, PageNumber(number), turn)
            case [str(name), [int(offset), int(size)], int(turn)] if name == listing and offset >= 0:
                return cls(listing, SizedOffset(offset, size), turn)
            case [str(name), [int(rank), str(id_)], int(turn)] if name == listing:
                return cls(listing, Position(rank, id_), turn)
        raise ApiError(400, f"p is not a page cursor of {listing}")

    def next_turn(self) -> Cursor:
        """The same place as another token."""
        return replace(self, turn=self.turn + 1)
