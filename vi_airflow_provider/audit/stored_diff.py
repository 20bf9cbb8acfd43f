"""The diff of two exports, stored on disk: if every flow has changed, it is as large as the exports."""

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

    from vi_airflow_provider.api.models import Flow


@contextmanager
def spooled_diff(old: Iterable[Flow], new: Iterable[Flow]) -> Iterator[diff.Diff]:
    """Compare two exports as :func:`audit.diff_exports` does; the diff is read from disk, as often as needed.

    :raises ValueError: one of them is not sorted by flow id, or has a flow twice
    """
    with closing(tempfiles.database()) as database:
        database.execute("CREATE TABLE drift (kind TEXT, flow TEXT)")
        counts = dict.fromkeys(_READERS, 0)
        for kind, flow in diff.compare(old, new):
            database.execute("INSERT INTO drift VALUES (?, ?)", (kind, json.dumps(asdict(flow))))
            counts[kind] += 1
        yield diff.Diff(**{kind: _Spooled(database, kind, count) for kind, count in counts.items()})


class _Spooled(Collection[Any]):
    """The flows of one kind, in the order in which they were found."""

    def __init__(self, database: sqlite3.Connection, kind: diff.Kind, count: int) -> None:
        self._database = database
        self._kind = kind
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        query = "SELECT flow FROM drift WHERE kind = ? ORDER BY rowid"
        for (flow,) in self._database.execute(query, (self._kind,)):
            yield _READERS[self._kind](json.loads(flow))

    def __contains__(self, flow: object) -> bool:
        return any(each == flow for each in self)


def _flow(data: dict[str, Any]) -> diff.FlowRef:
    return diff.FlowRef(**data)


def _changed_flow(data: dict[str, Any]) -> diff.ChangedFlow:
    changes = [diff.Change(**change) for change in data.pop("changes")]
    return diff.ChangedFlow(**data, changes=changes)


_READERS: Final[dict[diff.Kind, Callable[[dict[str, Any]], diff.FlowRef]]] = {
    "added": _flow,
    "removed": _flow,
    "changed": _changed_flow,
}
