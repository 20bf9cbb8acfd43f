"""Reading exports: their documents, whether they match their manifests, and which one is the newest."""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from contextlib import contextmanager
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from airflow.providers.common.compat.sdk import ObjectStoragePath

from vi_airflow_provider.api.errors import one_line
from vi_airflow_provider.audit.manifest import ExportError, ExportManifest, files_of, read_manifest
from vi_airflow_provider.audit.merge import merge_by_id
from vi_airflow_provider.audit.subject import FLOWS, RUNS, D, Subject
from vi_airflow_provider.storage.files import list_files, open_to_read
from vi_airflow_provider.storage.manifest import sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vi_airflow_provider.api.models import Flow

T = TypeVar("T")

#: How many documents that contradict the manifest are named.
_NAMED: Final = 5

log = logging.getLogger(__name__)


def read_export(uri: str) -> Iterator[Flow]:
    """Yield the flows of a ``jsonl`` export, as :func:`read_documents` does."""
    return read_documents(uri, FLOWS)


def read_documents(uri: str, subject: Subject[D]) -> Iterator[D]:
    """Yield the documents of a ``jsonl`` export, plain or gzipped.

    :raises ExportError: the file is missing or not such an export
    """
    return _read(uri, subject.parse)


def subject_of(uri: str) -> Subject[Any]:
    """Return what an export is of: as its manifest states, or its first document; flows, if there is neither."""
    for subject in (FLOWS, RUNS):
        try:
            read_manifest(files_of(uri).manifest, subject.manifest)
        except ExportError:
            continue
        return subject
    try:
        first = next(_read(uri, json.loads), None)
    except ExportError:  # the caller, who reads it next, gets this error
        first = None
    return RUNS if isinstance(first, dict) and first.get("kind") == "Run" else FLOWS


def _read(uri: str, parse: Callable[[bytes], T]) -> Iterator[T]:
    path = ObjectStoragePath(uri)
    try:
        with open_to_read(path) as raw, _maybe_gunzip(raw, path.name.endswith(".gz")) as file:
            for line in file:
                yield parse(line)
    except FileNotFoundError:
        raise ExportError(f"{uri}: this export does not exist") from None
    except (ValueError, EOFError, gzip.BadGzipFile, zlib.error) as error:  # pydantic's errors are ValueErrors
        reason = one_line(f"{uri} is not a jsonl export: {error}")
    else:
        return
    raise ExportError(reason)


@contextmanager
def _maybe_gunzip(raw: IO[bytes], compressed: bool) -> Iterator[IO[bytes]]:
    if compressed:
        with gzip.GzipFile(fileobj=raw, mode="rb") as file:
            yield file  # type: ignore[misc]
    else:
        yield raw


def verify(uri: str, subject: Subject[Any] = FLOWS, *, every_document: bool = False) -> ExportManifest:
    """Check an export against its manifest, and return the manifest. Memory does not grow with the number of documents.

    :param every_document: of a ``jsonl`` export, also compare the fingerprint of each document, and name those that
        contradict the manifest
    :raises ExportError: the file or its manifest is missing, truncated or changed
    """
    versions = read_manifest(files_of(uri).manifest, subject.manifest)
    sha256 = _sha256_of_data(uri)
    _check_listing(uri, versions[0], subject)
    manifest = next((version for version in versions if version.sha256 == sha256), None)
    described = versions[0]
    if manifest is None:
        raise subject.manifest.mismatch(
            uri, _disagreements(uri, subject) if every_document and described.format == "jsonl" else ""
        )
    if every_document and manifest.format == "jsonl":
        # Of a version that was to be replaced, the manifest has the count, but not the fingerprints.
        found = _disagreements(uri, subject) if manifest is described else _miscount(uri, manifest, subject)
        if found:
            raise subject.manifest.mismatch(uri, found)
    return manifest


def _sha256_of_data(uri: str) -> str:
    try:
        return sha256_of(ObjectStoragePath(uri))
    except FileNotFoundError:
        raise ExportError(f"{uri}: the manifest exists, but the file does not") from None


def _check_listing(uri: str, described: ExportManifest, subject: Subject[Any]) -> None:
    listed = sum(1 for _ in _listed(uri, subject))
    if listed != described.count:
        raise ExportError(
            f"manifest {files_of(uri).manifest}: its count is {described.count} {subject.noun}s, but it lists {listed}"
        )


def _miscount(uri: str, version: ExportManifest, subject: Subject[Any]) -> str:
    count = sum(1 for _ in read_documents(uri, subject))
    return "" if count == version.count else f": it has {count} {subject.noun}s"


def _listed(uri: str, subject: Subject[Any]) -> Iterator[tuple[str, str]]:
    return subject.manifest.fingerprints(files_of(uri).manifest)


def _disagreements(uri: str, subject: Subject[Any]) -> str:
    """Name the first documents of a ``jsonl`` export that contradict its manifest."""
    found = list(islice(_contradictions(uri, subject), _NAMED + 1))
    named = "".join(f"\n  {line}" for line in found[:_NAMED])
    return f"{named}\n  …" if len(found) > _NAMED else named


def _contradictions(uri: str, subject: Subject[Any]) -> Iterator[str]:
    documents = read_documents(uri, subject)
    stored = ((subject.id_of(each), subject.forms(each).fingerprint()) for each in documents)
    try:
        for document_id, expected, found in merge_by_id(_listed(uri, subject), stored):
            if found is None:
                yield one_line(f"{document_id}: missing from the file")
            elif expected is None:
                yield one_line(f"{document_id}: not in the manifest")
            elif expected != found:
                yield one_line(f"{document_id}: changed since it was exported")
    except (ExportError, ValueError) as error:
        yield str(error)


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

    An export that does not match its manifest, or cannot be read, is skipped with a warning.

    :param exclude: chosen only if there is no other: an export that is repeated is compared with the one before it,
        not with itself
    :param recursive: search the subfolders, too
    :param strict: raise an error instead of concluding from unreadable exports that there are no others
    :raises ExportError: ``strict``, and there are only exports that cannot be read
    """
    unreadable: list[str] = []
    candidates = _candidates(folder, organization_id, subject, exclude, unreadable, recursive=recursive)
    for *_, uri in sorted(candidates, reverse=True):
        try:
            return StoredExport(uri, verify(uri, subject))
        except ExportError as error:
            log.warning("Not compared with %s: %s", uri, error)
        except Exception as error:  # whatever the file system's driver raises
            log.warning("Not compared with %s: %s", uri, one_line(f"{type(error).__name__}: {error}"))
            unreadable.append(uri)
    if strict and unreadable:
        raise ExportError(
            f"{folder}: of the exports to compare with, {len(unreadable)} cannot be read: {unreadable[0]}"
        )
    return None


def _candidates(
    folder: ObjectStoragePath,
    organization_id: str,
    subject: Subject[Any],
    exclude: ObjectStoragePath,
    unreadable: list[str],
    *,
    recursive: bool,
) -> Iterator[tuple[bool, str, str]]:
    """Yield preference, creation time and URL of each comparable export; the greatest is the newest."""
    for path in list_files(folder, recursive=recursive):
        if not subject.manifest.is_manifest(path):
            continue
        try:
            manifest = read_manifest(path, subject.manifest)[0]
        except ExportError:
            continue  # of something else, like an archive
        except Exception as error:  # whatever the file system's driver raises
            log.warning("Not compared with %s: %s", path, one_line(f"{type(error).__name__}: {error}"))
            unreadable.append(str(path))
            continue
        if manifest.organization_id == organization_id and manifest.format == "jsonl":
            export = subject.manifest.data_of(path)
            yield export.path != exclude.path, manifest.created_at, str(export)
