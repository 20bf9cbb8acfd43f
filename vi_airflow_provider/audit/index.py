"""The exports of a folder, by their manifests: grouped by what they are of, newest first, with what changed.

Nothing here proves that a file matches its manifest: that is :func:`~vi_airflow_provider.audit.verification.verify`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, get_args

from vi_airflow_provider.api.errors import one_line
from vi_airflow_provider.audit import comparison, plan
from vi_airflow_provider.audit.diff import Kind
from vi_airflow_provider.audit.manifest import EXPORT, RUN_EXPORT, ExportError, ExportManifest, read_manifest
from vi_airflow_provider.audit.merge import merge_by_id
from vi_airflow_provider.audit.subject import FLOWS, RUNS, Subject
from vi_airflow_provider.storage.files import list_files
from vi_airflow_provider.storage.manifest import kind_of

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

_SUBJECTS: Final[dict[str, Subject[Any]]] = {EXPORT.name: FLOWS, RUN_EXPORT.name: RUNS}
#: Greater counts and sizes cannot be real.
_MOST: Final = 1 << 53


@dataclass(frozen=True)
class Entry:
    """An export as its manifest describes it.

    :param data: the exported file, ``None`` if it does not exist; so is ``report``
    :param changes: number of documents per kind of change since the next older export of the series, ``None`` if they
        were not compared
    :param not_compared: the reason, if there is an older one
    """

    subject: Subject[Any]
    described: ExportManifest
    created_at: datetime
    manifest: ObjectStoragePath
    data: ObjectStoragePath | None
    report: ObjectStoragePath | None
    changes: dict[Kind, int] | None = None
    not_compared: str = ""


@dataclass(frozen=True)
class Series:
    """Exports of the same kind, organization, format and selection, newest first."""

    entries: list[Entry]

    @property
    def newest(self) -> Entry:
        """The newest export."""
        return self.entries[0]


@dataclass(frozen=True)
class Index:
    """The exports of a folder and its subfolders.

    :param unreadable: one sentence for each manifest that cannot be read
    """

    series: list[Series] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Number of exports."""
        return sum(len(series.entries) for series in self.series)


def read_index(folder: ObjectStoragePath) -> Index:
    """Read the manifests of a folder and its subfolders, and compare each export with the next older one.

    What cannot be read or compared is named in the index.

    :raises Exception: whatever the file system's driver raises, if the folder cannot be listed
    """
    paths = {path.path: path for path in list_files(folder, recursive=True)}
    index, entries = Index(), list[Entry]()
    for _, path in sorted(paths.items()):
        if not EXPORT.is_manifest(path):
            continue
        try:
            entry = _entry(path, paths)
        except Exception as error:  # a damaged manifest, or whatever the file system's driver raises
            index.unreadable.append(_reason(error, path))
        else:
            entries += [entry] if entry else []
    for series in _series(entries):
        index.series.append(Series([*map(_compared, *_next_older(series.entries)), series.entries[-1]]))
    return index


def _entry(path: ObjectStoragePath, paths: dict[str, ObjectStoragePath]) -> Entry | None:
    """Read a manifest; return ``None`` if it is not of an export, but of an archive."""
    kind = kind_of(path)
    if kind is not None and kind not in _SUBJECTS:
        return None
    subject = _SUBJECTS[kind or EXPORT.name]
    described = read_manifest(path, subject.manifest)[0]
    try:
        created_at = _time(described.created_at)
    except (ValueError, OverflowError):
        reason = f"{described.created_at!r:.80} is not a time with a time zone"
    else:
        if 0 <= described.count <= _MOST and 0 <= described.size <= _MOST:
            found = subject.manifest.files(str(subject.manifest.data_of(path)))
            data, report = paths.get(found.data.path), paths.get(found.report.path)
            return Entry(subject, described, created_at, path, data, report)
        reason = f"count {described.count!r:.40} or size {described.size!r:.40} is impossible"
    raise ExportError(f"manifest {path}: {reason}")


def _time(value: str) -> datetime:
    time = datetime.fromisoformat(value)
    if time.tzinfo is None:
        raise ValueError(value)
    return time.astimezone(UTC)


def _series(entries: list[Entry]) -> list[Series]:
    """Group exports; the order does not depend on that of a listing."""
    found: dict[Hashable, Series] = {}
    for entry in sorted(entries, key=lambda each: (each.created_at, each.manifest.path), reverse=True):
        described = entry.described
        key = entry.subject.noun, described.organization_id, described.format, _selection_of(entry)
        found.setdefault(key, Series([])).entries.append(entry)
    return sorted(
        found.values(),
        key=lambda each: (
            each.newest.subject.noun,
            each.newest.described.organization_id,
            plan.describe(each.newest.described.filters),
            each.newest.described.format,
        ),
    )


def _selection_of(entry: Entry) -> Hashable:
    """Return what is equal for exports of the same documents, however their filters are spelled."""
    filters = entry.described.filters
    try:
        selection = plan.Selection.build(filters, None, entry.subject.filter)
    except Exception:  # whatever a manifest of another version, or a damaged one, has for a filter
        return json.dumps(filters, sort_keys=True)
    # As values that can be hashed: attributes are a mapping.
    criteria = ((name, _hashable(value)) for name, value in selection.wanted)
    return (*criteria, selection.limit)


def _hashable(value: Any) -> Hashable:
    return frozenset(value.items()) if isinstance(value, Mapping) else value


def _next_older(entries: list[Entry]) -> tuple[list[Entry], list[Entry]]:
    pairs = list(pairwise(entries))
    return [new for new, _ in pairs], [old for _, old in pairs]


def _compared(new: Entry, old: Entry) -> Entry:
    """Add what changed since an older export."""
    try:
        return replace(new, changes=_changes(old, new))
    except Exception as error:  # a damaged file, or whatever the file system's driver raises
        return replace(new, not_compared=_reason(error, new.manifest))


def _changes(old: Entry, new: Entry) -> dict[Kind, int]:
    """Count what changed; the files are read only if the manifests are not enough."""
    none: dict[Kind, int] = dict.fromkeys(get_args(Kind), 0)
    if old.described.sha256 == new.described.sha256:
        return none
    listed = (each.subject.manifest.fingerprints(each.manifest) for each in (old, new))
    counts = none | Counter(
        "added" if before is None else "removed" if after is None else "changed"
        for _, before, after in merge_by_id(*listed)
        if before != after
    )
    if not counts["changed"] or new.described.format != "jsonl":
        return counts
    # A fingerprint also covers what a comparison ignores, such as the spelling of a number.
    with comparison.compared(*(str(each.subject.manifest.data_of(each.manifest)) for each in (old, new))) as diff:
        return diff.counts()


def _reason(error: Exception, path: ObjectStoragePath) -> str:
    return one_line(str(error) if isinstance(error, ExportError) else f"{path}: {type(error).__name__}: {error}")
