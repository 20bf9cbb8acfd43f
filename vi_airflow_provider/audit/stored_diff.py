"""The diff of two exports, stored on disk: if every document has changed, it is as large as the exports."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from vi_airflow_provider.audit import diff
from vi_airflow_provider.storage import tempfiles

if TYPE_CHECKING:
    import sqlite3

    from vi_airflow_provider.audit.subject import D, Subject


@contextmanager
def spooled_diff(old: Iterable[D], new: Iterable[D], subject: Subject[D]) -> Iterator[diff.Diff]:
    """Compare two exports as :func:`audit.diff_exports` does; the diff is read from disk, as often as needed.

    :raises ValueError: one of them is not sorted by id, or has a document twice
    """
    with closing(tempfiles.database()) as database:
        database.execute("CREATE TABLE drift (kind TEXT, document TEXT)")
        counts = dict.fromkeys(_READERS, 0)
        for kind, document in diff.compare(old, new, subject):
            database.execute("INSERT INTO drift VALUES (?, ?)", (kind, json.dumps(asdict(document))))
            counts[kind] += 1
        found: dict[str, Any] = {kind: _Spooled(database, kind, count) for kind, count in counts.items()}
        yield diff.Diff(**found, noun=subject.noun)


class _Spooled(Collection[Any]):
    """The documents of one kind, in the order in which they were found."""

    def __init__(self, database: sqlite3.Connection, kind: diff.Kind, count: int) -> None:
        self._database = database
        self._kind = kind
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        query = "SELECT document FROM drift WHERE kind = ? ORDER BY rowid"
        for (document,) in self._database.execute(query, (self._kind,)):
            yield _READERS[self._kind](json.loads(document))

    def __contains__(self, document: object) -> bool:
        return any(each == document for each in self)


def _added(data: dict[str, Any]) -> diff.Ref:
    return diff.Ref(**data)


def _removed(data: dict[str, Any]) -> diff.Removed:
    return diff.Removed(**data)


def _changed(data: dict[str, Any]) -> diff.Changed:
    changes = [diff.Change(**change) for change in data.pop("changes")]
    return diff.Changed(**data, changes=changes)


_READERS: Final[dict[diff.Kind, Callable[[dict[str, Any]], diff.Ref]]] = {
    "added": _added,
    "removed": _removed,
    "changed": _changed,
}
