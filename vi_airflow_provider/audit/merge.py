"""Reading two exports side by side, as a merge join by id: neither is held in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar

Old = TypeVar("Old")
New = TypeVar("New")

_BY_ID = itemgetter(0)


def merge_by_id(
    old: Iterable[tuple[str, Old]], new: Iterable[tuple[str, New]]
) -> Iterator[tuple[str, Old | None, New | None]]:
    """Yield each id with its value on either side, in the order of the ids; ``None`` where a side lacks it.

    :param old: ids and values, sorted by id
    :param new: the same of the other side
    :raises ValueError: a side is not sorted, or has an id twice
    """
    entries = merge(_labeled(old, 0), _labeled(new, 1), key=_BY_ID)
    for document_id, both in groupby(entries, key=_BY_ID):
        sides: list[Any] = [None, None]
        for _, side, value in both:
            sides[side] = value
        yield document_id, sides[0], sides[1]


def _labeled(entries: Iterable[tuple[str, Any]], side: int) -> Iterator[tuple[str, int, Any]]:
    last = None
    for document_id, value in entries:
        if last is not None and document_id <= last:
            raise ValueError(f"the export is not sorted by id: {document_id!r:.80} follows {last!r:.80}")
        last = document_id
        yield document_id, side, value
