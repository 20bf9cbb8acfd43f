"""Flows on local disk, read back in the order of their ids. Memory does not grow with their number."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Self

from vi_airflow_provider.api.canonical import canonical_json, fingerprint
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.storage import tempfiles


class FlowSpool:
    """Stores flows in the order in which they arrive, with an index beside them; of equal ids, the last flow counts.

    Neither closing it nor a kill leaves a file behind.
    """

    def __init__(self) -> None:
        self._open = ExitStack()
        self._documents = self.file()
        self._end = 0
        # Only the index is in a database: storing whole documents in the order of their ids is slower.
        self._index = tempfiles.database()
        self._open.callback(self._index.close)
        self._index.execute(
            "CREATE TABLE flow (id TEXT PRIMARY KEY, fingerprint TEXT, start INT, size INT) WITHOUT ROWID"
        )
        self._index.execute("CREATE TABLE skipped (id TEXT PRIMARY KEY) WITHOUT ROWID")

    def add(self, flow: Flow) -> None:
        """Store a flow."""
        wire = flow.to_wire()
        document = canonical_json(wire)  # first, because the fingerprint reduces it in place
        row = flow.flow_id, fingerprint(wire), self._end, len(document)
        self._documents.write(document)
        self._end += len(document)
        self._index.execute("INSERT OR REPLACE INTO flow VALUES (?, ?, ?, ?)", row)

    def skip(self, flow_id: str) -> None:
        """Remember the id of a flow that is not stored."""
        self._index.execute("INSERT OR IGNORE INTO skipped VALUES (?)", (flow_id,))

    def knows(self, flow_id: str) -> bool:
        """Return whether a flow was stored or skipped."""
        query = "SELECT EXISTS (SELECT 1 FROM flow WHERE id = ?) OR EXISTS (SELECT 1 FROM skipped WHERE id = ?)"
        return bool(self._index.execute(query, (flow_id, flow_id)).fetchone()[0])

    def __len__(self) -> int:
        return int(self._index.execute("SELECT count(*) FROM flow").fetchone()[0])

    def documents(self, wanted: Callable[[int], bool] | None = None) -> Iterator[bytes]:
        """Yield the flows as canonical JSON.

        :param wanted: only those of whose sizes in bytes this is true
        """
        self._documents.flush()
        descriptor = self._documents.fileno()
        for start, size in self._index.execute("SELECT start, size FROM flow ORDER BY id"):
            if wanted is None or wanted(size):
                yield os.pread(descriptor, size, start)

    def flows(self, wanted: Callable[[int], bool] | None = None) -> Iterator[Flow]:
        """Yield the flows, as :meth:`documents` does."""
        return map(Flow.model_validate_json, self.documents(wanted))

    def fingerprints(self) -> Iterator[tuple[str, str]]:
        """Yield id and fingerprint of each flow."""
        yield from self._index.execute("SELECT id, fingerprint FROM flow ORDER BY id")

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
