"""Find the newest export of a folder to compare with: one that is readable and matches its manifest."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.providers.common.compat.sdk import ObjectStoragePath

from vi_airflow_provider.api.errors import one_line
from vi_airflow_provider.audit.manifest import ExportError, ExportManifest, read_manifest
from vi_airflow_provider.audit.subject import FLOWS, Subject
from vi_airflow_provider.audit.verification import verify
from vi_airflow_provider.storage.files import list_files
from vi_airflow_provider.storage.manifest import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)


class StoredExport(NamedTuple):
    """A verified export, and the version that is stored."""

    uri: str
    manifest: ExportManifest


def newest_export(
    folder: ObjectStoragePath,
    organization_id: str,
    subject: Subject[Any] = FLOWS,
    *,
    exclude: ObjectStoragePath,
    recursive: bool = False,
    strict: bool = False,
) -> StoredExport | None:
    """Return the newest ``jsonl`` export of an organization in a folder, ``None`` if there is no such export.

    An export that does not match its manifest, or cannot be read, is skipped with a warning, and so is one with a
    damaged manifest.

    :param exclude: chosen only if there is no other: an export that is repeated is compared with the one before it,
        not with itself
    :param recursive: search the subfolders, too
    :param strict: raise an error instead of concluding from unusable exports that there are no others
    :raises ExportError: ``strict``, and all exports are damaged or cannot be read
    """
    unusable: list[str] = []
    candidates = _candidates(folder, organization_id, subject, exclude, unusable, recursive=recursive)
    for *_, uri in sorted(candidates, reverse=True):
        try:
            return StoredExport(uri, verify(uri, subject))
        except Exception as error:  # whatever the file system's driver raises, too
            _skip(uri, error, unusable)
    if strict and unusable:
        raise ExportError(
            f"{folder}: all exports to compare with are damaged or cannot be read ({len(unusable)}): {unusable[0]}"
        )
    return None


def _candidates(
    folder: ObjectStoragePath,
    organization_id: str,
    subject: Subject[Any],
    exclude: ObjectStoragePath,
    unusable: list[str],
    *,
    recursive: bool,
) -> Iterator[tuple[bool, str, str]]:
    """Yield preference, creation time and URL of each comparable export; the greatest is the newest."""
    for path in list_files(folder, recursive=recursive):
        if not subject.manifest.is_manifest(path):
            continue
        try:
            manifest = read_manifest(path, subject.manifest)[0]
        except Exception as error:  # whatever the file system's driver raises, too
            if not (isinstance(error, ExportError) and _is_of_something_else(path, subject)):
                _skip(str(path), error, unusable)
            continue
        if manifest.organization_id == organization_id and manifest.format == "jsonl":
            export = subject.manifest.data_of(path)
            yield export.path != exclude.path, manifest.created_at, str(export)


def _is_of_something_else(path: ObjectStoragePath, subject: Subject[Any]) -> bool:
    """Return whether a manifest that cannot be read as one of these exports is that of an archive, for example."""
    try:
        kind = kind_of(path)
    except Exception:
        return False
    if kind is None:  # of another program, or damaged
        return not subject.manifest.data_of(path).name.endswith((".jsonl", ".jsonl.gz"))
    return kind != subject.manifest.name


def _skip(uri: str, error: Exception, unusable: list[str]) -> None:
    reason = str(error) if isinstance(error, ExportError) else one_line(f"{type(error).__name__}: {error}")
    log.warning("Not compared with %s: %s", uri, reason)
    unusable.append(uri)
