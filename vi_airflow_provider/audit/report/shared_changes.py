"""Changes that several documents have in common: the same field, edited alike, is shown once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from vi_airflow_provider.audit.diff import Change, Changed, Ref
from vi_airflow_provider.storage import tempfiles

if TYPE_CHECKING:
    from types import TracebackType

#: As many documents make a group: of fewer, each is shown with all of its changes.
LEAST_SHARED: Final = 3


class Group(NamedTuple):
    """A change, and how many documents have it."""

    key: bytes
    change: Change
    size: int


class SharedChanges:
    """Finds the groups among the changed documents, on disk: memory does not grow with their number."""

    def __init__(self, changed: Iterable[Changed]) -> None:
        self._database = tempfiles.database()
        self._database.execute("CREATE TABLE change (key BLOB, position INT, change TEXT, ref TEXT)")
        for position, document in enumerate(changed):
            for change in document.changes:
                row = _key(change), position, json.dumps(list(vars(change).values()))
                self._database.execute(
                    "INSERT INTO change VALUES (?, ?, ?, ?)", (*row, json.dumps([document.id, document.name]))
                )
        self._database.execute("CREATE INDEX by_key ON change (key, position)")

    def groups(self) -> Iterator[Group]:
        """Yield the groups, the largest first."""
        query = """
            SELECT key, change, count(*) AS size, min(position) AS first FROM change
            GROUP BY key HAVING size >= ? ORDER BY size DESC, first, change
        """
        for key, change, size, _first in self._database.execute(query, (LEAST_SHARED,)).fetchall():
            yield Group(key, Change(*json.loads(change)), size)

    def members(self, group: Group) -> Iterator[Ref]:
        """Yield the documents of a group, in the order of their ids."""
        for (ref,) in self._database.execute("SELECT ref FROM change WHERE key = ? ORDER BY position", (group.key,)):
            yield Ref(*json.loads(ref))

    def own(self, document: Changed) -> list[Change]:
        """Return the changes of a document that are in no group."""
        return [change for change in document.changes if not self._is_shared(change)]

    def _is_shared(self, change: Change) -> bool:
        query = "SELECT count(*) FROM (SELECT 1 FROM change WHERE key = ? LIMIT ?)"
        return bool(self._database.execute(query, (_key(change), LEAST_SHARED)).fetchone()[0] == LEAST_SHARED)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with closing(self._database):
            pass


def _key(change: Change) -> bytes:
    return hashlib.sha256(json.dumps(list(vars(change).values())).encode()).digest()
