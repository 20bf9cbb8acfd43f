"""Documents on local disk, read back in the order of their ids. Memory does not grow with their number."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Generic, Self

from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.audit.subject import D, Subject
from vi_airflow_provider.storage import tempfiles


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

    def add(self, document: D) -> None:
        """Store a document."""
        wire = document.to_wire()
        line = canonical_json(wire)  # first, because the fingerprint reduces it in place
        row = self.subject.id_of(document), self.subject.fingerprint(wire), self._end, len(line)
        self._lines.write(line)
        self._end += len(line)
        self._index.execute("INSERT OR REPLACE INTO document VALUES (?, ?, ?, ?)", row)

    def skip(self, document_id: str) -> None:
        """Remember the id of a document that is not stored."""
        self._index.execute("INSERT OR IGNORE INTO skipped VALUES (?)", (document_id,))

    def knows(self, document_id: str) -> bool:
        """Return whether a document was stored or skipped."""
        query = "SELECT EXISTS (SELECT 1 FROM document WHERE id = ?) OR EXISTS (SELECT 1 FROM skipped WHERE id = ?)"
        return bool(self._index.execute(query, (document_id, document_id)).fetchone()[0])

    def __len__(self) -> int:
        return int(self._index.execute("SELECT count(*) FROM document").fetchone()[0])

    def lines(self, wanted: Callable[[int], bool] | None = None) -> Iterator[bytes]:
        """Yield the documents as canonical JSON.

        :param wanted: only those of whose sizes in bytes this is true
        """
        self._lines.flush()
        descriptor = self._lines.fileno()
        for start, size in self._index.execute("SELECT start, size FROM document ORDER BY id"):
            if wanted is None or wanted(size):
                yield os.pread(descriptor, size, start)

    def documents(self, wanted: Callable[[int], bool] | None = None) -> Iterator[D]:
        """Yield the documents, as :meth:`lines` does."""
        return map(self.subject.model.model_validate_json, self.lines(wanted))

    def fingerprints(self) -> Iterator[tuple[str, str]]:
        """Yield id and fingerprint of each document."""
        yield from self._index.execute("SELECT id, fingerprint FROM document ORDER BY id")

    def file(self) -> IO[bytes]:
        """Return a new local file, which is deleted with the spool."""
        return self._open.enter_context(tempfiles.file())

    def close(self) -> None:
        """Delete all of it."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
