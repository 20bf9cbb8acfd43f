"""Documents on local disk, read back in the order of their ids. Memory does not grow with their number."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from sqlite3 import Cursor
from types import TracebackType
from typing import IO, TYPE_CHECKING, Final, Generic, Self

from vi_airflow_provider.audit.subject import D, Subject
from vi_airflow_provider.storage import tempfiles
from vi_airflow_provider.storage.files import file_for

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

#: Entries that are added to the index, or looked up in it, at once; one by one, they take two to three times longer.
_ROWS: Final = 256
_UNKNOWN: Final = """
    SELECT id FROM asked
    WHERE NOT EXISTS (SELECT 1 FROM document WHERE document.id = asked.id)
    AND NOT EXISTS (SELECT 1 FROM skipped WHERE skipped.id = asked.id)
    ORDER BY asked.rowid
"""


class Spool(Generic[D]):
    """Stores documents in the order in which they arrive, with an index beside them; of equal ids, the last one counts.

    Neither closing it nor a kill leaves a file behind.
    """

    def __init__(self, subject: Subject[D]) -> None:
        self.subject = subject
        self._open = ExitStack()
        self._lines = self.file()
        self._end = 0
        # Only the index is in a database: storing whole documents in the order of their ids is slower.
        self._index = tempfiles.database()
        self._open.callback(self._index.close)
        self._index.execute(
            "CREATE TABLE document (id TEXT PRIMARY KEY, fingerprint TEXT, start INT, size INT) WITHOUT ROWID"
        )
        self._index.execute("CREATE TABLE skipped (id TEXT PRIMARY KEY) WITHOUT ROWID")
        self._index.execute("CREATE TABLE asked (id TEXT)")
        self._stored: list[tuple[str, str, int, int]] = []
        self._skipped: list[tuple[str]] = []

    def add(self, document: D) -> None:
        """Store a document."""
        forms = self.subject.forms(document)
        line = forms.text()
        self._stored.append((self.subject.id_of(document), forms.fingerprint(), self._end, len(line)))
        self._lines.write(line)
        self._end += len(line)
        if len(self._stored) == _ROWS:
            self._complete_index()

    def skip(self, document_id: str) -> None:
        """Remember the id of a document that is not stored."""
        self._skipped.append((document_id,))
        if len(self._skipped) == _ROWS:
            self._complete_index()

    def _complete_index(self) -> None:
        self._index.executemany("INSERT OR REPLACE INTO document VALUES (?, ?, ?, ?)", self._stored)
        self._index.executemany("INSERT OR IGNORE INTO skipped VALUES (?)", self._skipped)
        self._stored.clear()
        self._skipped.clear()

    def _query(self, query: str) -> Cursor:
        if self._stored or self._skipped:
            self._complete_index()
        return self._index.execute(query)

    def unknown(self, document_ids: Iterable[str]) -> Iterator[str]:
        """Yield those ids whose documents were neither stored nor skipped."""
        rows = ((each,) for each in document_ids)
        while batch := list(islice(rows, _ROWS)):
            self._query("DELETE FROM asked")
            self._index.executemany("INSERT INTO asked VALUES (?)", batch)
            yield from (each for (each,) in self._query(_UNKNOWN).fetchall())

    def __len__(self) -> int:
        return int(self._query("SELECT count(*) FROM document").fetchone()[0])

    def lines(self, wanted: Callable[[int], bool] | None = None) -> Iterator[bytes]:
        """Yield the documents as canonical JSON.

        :param wanted: only those of whose sizes in bytes this is true
        """
        self._lines.flush()
        descriptor = self._lines.fileno()
        for start, size in self._query("SELECT start, size FROM document ORDER BY id"):
            if wanted is None or wanted(size):
                yield os.pread(descriptor, size, start)

    def documents(self, wanted: Callable[[int], bool] | None = None) -> Iterator[D]:
        """Yield the documents, as :meth:`lines` does."""
        return map(self.subject.parse, self.lines(wanted))

    def fingerprints(self) -> Iterator[tuple[str, str]]:
        """Yield id and fingerprint of each document."""
        yield from self._query("SELECT id, fingerprint FROM document ORDER BY id")

    def file(self, target: ObjectStoragePath | None = None) -> IO[bytes]:
        """Return a new local file, which is deleted with the spool.

        :param target: what it is written to in the end
        """
        return self._open.enter_context(tempfiles.file() if target is None else file_for(target))

    def close(self) -> None:
        """Delete all of it."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
