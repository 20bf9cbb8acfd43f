"""Flows on local disk, read back in the order of their ids. Memory does not grow with their number."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Final, Self

from pydantic import ValidationError

from vi_airflow_provider.api.canonical import canonical_json, fingerprint
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.api.validation import describe_errors
from vi_airflow_provider.storage import tempfiles

#: A document with at most this number of brackets is within the depth of every parser.
_SHALLOW: Final = 100


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
        """Store a flow.

        :raises ViValidationError: it could not be read again
        """
        wire = flow.to_wire()
        document = canonical_json(wire)  # first, because the fingerprint reduces it in place
        _check_readable(flow.flow_id, document)
        row = flow.flow_id, fingerprint(wire), self._end, len(document)
        self._documents.write(document)
        self._end += len(document)
        self._index.execute("INSERT OR REPLACE INTO flow VALUES (?, ?, ?, ?)", row)

    def skip(self, flow_id: str) -> None:
        """Remember the id of a flow that is not stored."""
        self._index.execute("INSERT OR IGNORE INTO skipped VALUES (?)", (flow_id,))

    def knows(self, flow_id: str) -> bool:
        """Tell whether a flow was stored or skipped."""
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


def _check_readable(flow_id: str, document: bytes) -> None:
    """Refuse a document that a reader would not accept: deeper than its parser goes, or not UTF-8."""
    try:
        document.decode()
        # Reading every document again would double the cost. Only many brackets can be nested deeply.
        if document.count(b"[") + document.count(b"{") > _SHALLOW:
            Flow.model_validate_json(document)
    except ValueError as error:
        reason = describe_errors(error) if isinstance(error, ValidationError) else str(error)
    else:
        return
    raise ViValidationError(f"flow {flow_id!r:.80} cannot be exported, because it could not be read again: {reason}")
