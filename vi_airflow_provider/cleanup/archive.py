"""Archives of flows and runs: a file of canonical JSON lines, and a manifest that proves it complete.

An archive without a manifest is incomplete and cannot be restored. The manifest is written last, after the file has
been read back, so an archive is either complete or ignored. Local disk, S3 or any other ObjectStoragePath.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import IO, Any, Final

from airflow.providers.common.compat.sdk import ObjectStoragePath
from pydantic import ValidationError

from vi_airflow_provider import __version__
from vi_airflow_provider.api.errors import ViError, ViValidationError, one_line
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.api.protocol.codec import encode_body
from vi_airflow_provider.api.validation import describe_errors
from vi_airflow_provider.storage.failures import reason_of
from vi_airflow_provider.storage.files import list_files, open_to_read, write_atomically
from vi_airflow_provider.storage.manifest import Files, ManifestKind, Suffix, sha256_and_size, sha256_of
from vi_airflow_provider.storage.tempfiles import file as temporary_file
from vi_airflow_provider.storage.urls import resolve_destination

#: How the names of archives of flows end.
SUFFIX: Final = ".flows.jsonl"
#: How those of runs end.
RUNS_SUFFIX: Final = ".runs.jsonl"


class ArchiveError(Exception):
    """An archive cannot be written, or cannot be trusted. Nothing is deleted or restored then."""


class ArchiveNotWrittenError(ArchiveError):
    """The storage of an archive does not accept it."""


ARCHIVE: Final = ManifestKind(
    "vi-flow-archive",
    manifest=Suffix(".jsonl", ".manifest.json"),
    report=Suffix(SUFFIX, ".report.json"),
    error=ArchiveError,
)
#: A run cannot be restored: its archive is a record of what it was.
RUN_ARCHIVE: Final = ManifestKind(
    "vi-run-archive",
    manifest=Suffix(".jsonl", ".manifest.json"),
    report=Suffix(RUNS_SUFFIX, ".report.json"),
    error=ArchiveError,
)


@dataclass(frozen=True)
class Form:
    """What an archive holds.

    :param kind: of its manifest
    :param suffix: how its name ends
    :param check_line: raises if a line could not be used
    """

    kind: ManifestKind
    suffix: str
    check_line: Callable[[bytes], object]


@dataclass(frozen=True)
class Manifest:
    """What an archive contains."""

    uri: str
    count: int
    sha256: str
    organization_id: str
    #: ISO 8601; known once it is stored.
    created_at: str = field(default="", compare=False)


def files_of(uri: str) -> Files:
    """Locate an archive, its manifest and the report of the cleanup that wrote it."""
    return _kind_of(uri).files(uri)


def _kind_of(uri: str) -> ManifestKind:
    return RUN_ARCHIVE if uri.endswith(RUNS_SUFFIX) else ARCHIVE


def prefix_of(instance: str, *parts: str) -> str:
    """Return the prefix of the names of a task instance's archives, the same for each of its tries.

    :param instance: identifies the task instance
    :param parts: what people should read in the names
    """
    # A file name has at most 255 bytes, and ids of tasks in groups are long.
    prefix = "-".join((*(part[:60] for part in parts), sha256(instance.encode()).hexdigest()[:10]))
    return re.sub(r"[^A-Za-z0-9._-]", "_", prefix)


def unique_name(prefix: str) -> str:
    """Return a new name for an archive: a retry writes beside what the first try has written."""
    return f"{prefix}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def archives_of(folder: str, prefix: str) -> list[str]:
    """Return the archives in a folder with this prefix, oldest first; files without a manifest are ignored.

    :raises ArchiveError: the folder cannot be read
    :raises ViValidationError: the URL is not absolute, carries a secret, or its storage is not installed
    """
    with _explaining(f"{folder!s:.200} cannot be read"):
        place = resolve_destination("archive_to", folder)
        found = [path for path in list_files(place) if path.name.startswith(f"{prefix}-")]
        return sorted(str(ARCHIVE.data_of(path)) for path in found if ARCHIVE.is_manifest(path))


def write_archive(
    folder: str,
    name: str,
    documents: Mapping[str, bytes],
    organization_id: str,
    details: Mapping[str, Any],
    form: Form | None = None,
) -> Manifest:
    """Write flows or runs, read them back, and write a manifest for them.

    :param folder: URL or absolute path of a folder, as ObjectStoragePath takes it
    :param name: name of the archive, which must not exist
    :param documents: canonical JSON by ids; each is taken when it is written
    :param organization_id: the organization that they belong to
    :param details: further facts for the manifest, JSON data
    :param form: what the documents are, flows by default
    :raises ArchiveError: the archive could not be written, or does not read back as it was written
    :raises ViValidationError: the URL is not absolute, carries a secret, or its storage is not installed
    """
    form = form or FLOWS
    failure = f"the archive cannot be written to {folder!s:.200}"
    with _explaining(failure, ArchiveNotWrittenError), temporary_file() as content:
        place = resolve_destination("archive_to", folder)
        files = files_of(str(place / f"{name}{form.suffix}"))
        if files.data.exists():
            raise ArchiveError(f"{files.data} exists, and an archive is never overwritten")
        digest = _write_lines(content, documents)
        write_atomically(files.data, content)
        manifest = Manifest(str(files.data), len(documents), digest, organization_id)
        _check(manifest)
        for line in _lines(manifest.uri):
            form.check_line(line)
        _write_manifest(files, manifest, details, form.kind)
    return manifest


def _write_lines(file: IO[bytes], documents: Mapping[str, bytes]) -> str:
    for document_id in sorted(documents):
        file.write(documents[document_id] + b"\n")
    return sha256_and_size(file)[0]


def _write_manifest(files: Files, manifest: Manifest, details: Mapping[str, Any], kind: ManifestKind) -> None:
    facts = {
        "file": files.data.name,
        "count": manifest.count,
        "sha256": manifest.sha256,
        "organization_id": manifest.organization_id,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "provider_version": __version__,
        **details,
    }
    with temporary_file() as file:
        kind.write(file, facts)
        write_atomically(files.manifest, file)
    if read_manifest(manifest.uri) != manifest:
        raise ArchiveError(f"the manifest of {files.data} does not read back as it was written")


@contextmanager
def _explaining(failure: str, kind: type[ArchiveError] = ArchiveError) -> Iterator[None]:
    """Turn whatever the file system or its driver raises into an :class:`ArchiveError`."""
    try:
        yield
    except (ArchiveError, ViError):
        raise
    except Exception as error:
        raise kind(f"{failure}: {reason_of(error)}") from error


def read_archive(uri: str) -> Iterator[Flow]:
    """Yield the flows of an archive, after the archive as a whole has been checked against its manifest.

    :raises ArchiveError: it has no manifest, does not match its manifest, or is an archive of runs
    :raises ViValidationError: the URL is not absolute, carries a secret, or its storage is not installed
    """
    resolve_destination("archive", uri)
    if _kind_of(uri) is RUN_ARCHIVE:
        raise ArchiveError(f"{uri} is an archive of runs, and a deleted run cannot be restored")
    _check(read_manifest(uri))
    for number, line in enumerate(_lines(uri), 1):
        yield _flow(line, f"{uri}, line {number}")


def read_run_archive(uri: str) -> Iterator[dict[str, Any]]:
    """Yield the records of the runs of an archive, after the archive as a whole has been checked.

    :raises ArchiveError: it has no manifest, does not match its manifest, or is an archive of flows
    :raises ViValidationError: the URL is not absolute, carries a secret, or its storage is not installed
    """
    resolve_destination("archive", uri)
    if _kind_of(uri) is ARCHIVE:
        raise ArchiveError(f"{uri} is not an archive of runs: the name of one ends with {RUNS_SUFFIX}")
    _check(read_manifest(uri))
    for number, line in enumerate(_lines(uri), 1):
        yield _record(line, f"{uri}, line {number}")


def _record(line: bytes, place: str = "the archive") -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = one_line(f"{type(error).__name__}: {error}")
    else:
        if isinstance(record, dict):
            return record
        reason = "it is not the record of a run"
    raise ArchiveError(f"{place}: {reason}")


def _flow(line: bytes, place: str) -> Flow:
    try:
        return Flow.model_validate_json(line)
    except ValidationError as error:
        reason = describe_errors(error)
    raise ArchiveError(f"{place}: {reason}")


def read_manifest(uri: str) -> Manifest:
    """Return the manifest of an archive.

    :raises ArchiveError: the manifest is missing, malformed or of another kind
    """
    with _kind_of(uri).facts(files_of(uri).manifest) as facts:
        count, created_at = int(facts["count"]), str(facts.get("created_at", ""))
        return Manifest(uri, count, str(facts["sha256"]), str(facts["organization_id"]), created_at)


def _check(manifest: Manifest) -> None:
    count = sum(1 for _ in _lines(manifest.uri))
    if count != manifest.count or sha256_of(ObjectStoragePath(manifest.uri)) != manifest.sha256:
        raise ARCHIVE.mismatch(manifest.uri)


def _check_restorable(line: bytes) -> None:
    """Refuse a flow that can be read but not sent, like one with a number beyond all bounds."""
    flow = _flow(line, "the archive")
    try:
        encode_body(flow.to_wire())
    except ViValidationError as error:
        raise ArchiveError(f"flow {flow.flow_id!r:.80} could not be restored: {error}") from None


def _lines(uri: str) -> Iterator[bytes]:
    try:
        with open_to_read(ObjectStoragePath(uri)) as file:
            yield from file
    except FileNotFoundError:
        raise ArchiveError(f"{uri}: this archive does not exist") from None


FLOWS: Final = Form(ARCHIVE, SUFFIX, _check_restorable)
RUNS: Final = Form(RUN_ARCHIVE, RUNS_SUFFIX, _record)
