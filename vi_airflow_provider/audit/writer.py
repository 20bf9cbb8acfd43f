"""Writing exports: a file sorted by id, and a manifest that proves it complete.

Publishing an export
--------------------
File and manifest are two objects, and an object store cannot write both at once. A file must never be without a
manifest that accepts it, because it would not be evidence. So the manifest is written first, and accepts the version
that it replaces, too. Killed after a step, an export that replaces ``old`` by ``new`` leaves this:

=================  ======  =====================  =====================================
after              file    manifest accepts       ``verify``
=================  ======  =====================  =====================================
(before)           old     old                    old
1. report          old     old                    old; the report is the new one
2. manifest        old     new, old               old
3. file            new     new, old               new
4. settle          new     new, old               new
5. stale report    new     new, old               new; the report of old is removed
=================  ======  =====================  =====================================

If a step fails, the companions are restored, unless the file may have arrived in spite of the error: the new manifest
accepts both files, the old manifest only the old file.

Two tasks may export to one destination at a time, each unaware of the other. A manifest therefore also accepts the
version that the manifest before it described, whether or not its file has been written, and step 4 reads the manifest
back. If it describes the other task's version while the file is ours, ours is written again, and accepts both. So of
two tasks, in any order of their steps, the one that writes the file last is described or accepted by the manifest. If
one of them fails or is killed on the way, ``verify`` may report a mismatch, until the destination is exported again.

What breaks if you change it: with the file first, a kill leaves a file without evidence. With a manifest that accepts
only the new file, a kill between 2 and 3 does the same to the old one. Without step 4, or if it accepts only its own
version, two tasks can leave the file of one with the manifest of the other. Restoring the companions without asking
who wrote them last removes the manifest of a task that is still at work.
"""

from __future__ import annotations

import gzip
import io
import logging
import shutil
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final

from vi_airflow_provider.audit import tabular
from vi_airflow_provider.audit.manifest import ExportError, ExportManifest, files_of, manifest_facts, read_manifest
from vi_airflow_provider.storage.files import open_to_read, write_atomically
from vi_airflow_provider.storage.manifest import sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from vi_airflow_provider.audit.spool import Spool
    from vi_airflow_provider.storage.manifest import Files, ManifestKind

#: How often a task rewrites its manifest while other tasks write theirs.
_ATTEMPTS: Final = 3

log = logging.getLogger(__name__)


def write_file(
    spool: Spool[Any], target: ObjectStoragePath, format_: str, *, compressed: bool, bom: bool = True
) -> IO[bytes]:
    """Write the export to a local file of the spool.

    :param target: where it is published in the end
    :param bom: begin a csv with a byte order mark
    :raises ViValidationError: the format cannot hold a document; the message names it and the field
    """
    raw, table = spool.file(target), spool.subject.table
    if format_ == "parquet":
        try:
            tabular.write_parquet(spool.documents(), raw, table)
        except ImportError:
            raise ExportError("parquet needs pyarrow: install vi-airflow-provider[parquet]") from None
        return raw
    with _maybe_gzip(raw, compressed) as file:
        if format_ == "jsonl":
            for line in spool.lines():
                file.write(line + b"\n")
        else:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="")
            pieces = tabular.count_pieces(spool.documents(tabular.may_have_long_cells), table)
            tabular.write_csv(spool.documents(), text, pieces, table, bom=bom)
            text.detach()  # flushes it and leaves the file open
    return raw


@contextmanager
def _maybe_gzip(raw: IO[bytes], compressed: bool) -> Iterator[IO[bytes]]:
    if compressed:
        # Without name and time inside: the same flows give the same bytes.
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as file:
            yield file  # type: ignore[misc]
    else:
        yield raw


def publish(
    spool: Spool[Any],
    target: ObjectStoragePath,
    file: IO[bytes],
    version: ExportManifest,
    report: IO[bytes] | None = None,
) -> None:
    """Store an export, its manifest and its report: all of them, or none.

    :param file: the export as :func:`write_file` has written it
    :param version: describes it
    :param report: without one, the report of the export that is replaced is removed
    :raises ExportError: other tasks keep replacing the export
    """
    files = files_of(str(target))
    accepted = _accepted(files, spool.subject.manifest)
    companions = _companions(spool, files, version, accepted, report)
    before = {path: _copy(path, spool) for path in companions}
    try:
        _write(companions | {target: file})
    except BaseException:
        if not _may_have_arrived(target, version.sha256) and not _is_contested(
            files, spool.subject.manifest, version, accepted
        ):
            for path, old in before.items():
                _restore(path, old)
        raise
    _settle(spool, files, version, report)
    if report is None:
        _restore(files.report, None)


def _write(contents: Mapping[ObjectStoragePath, IO[bytes]]) -> None:
    for path, content in contents.items():
        write_atomically(path, content)


def _companions(
    spool: Spool[Any],
    files: Files,
    version: ExportManifest,
    accepted: Sequence[ExportManifest],
    report: IO[bytes] | None,
) -> dict[ObjectStoragePath, IO[bytes]]:
    """Return the companions of a version in the order in which they are written."""
    manifest = spool.file()
    spool.subject.manifest.write(manifest, manifest_facts(version, accepted), spool.fingerprints())
    return {files.manifest: manifest} if report is None else {files.report: report, files.manifest: manifest}


def _accepted(files: Files, kind: ManifestKind) -> list[ExportManifest]:
    """Return the versions that a new manifest must accept, too, the one whose file is there first.

    The other one is the version that the present manifest describes: another task may be about to write its file.
    """
    versions = _versions(files, kind)
    if len(versions) > 1:
        try:
            stored = sha256_of(files.data)
        except FileNotFoundError:
            stored = ""
        versions = [version for version in versions if version is versions[0] or version.sha256 == stored]
        versions.sort(key=lambda version: version.sha256 != stored)
    return versions


def _versions(files: Files, kind: ManifestKind) -> list[ExportManifest]:
    files.manifest.fs.invalidate_cache()  # other processes write, too
    try:
        return read_manifest(files.manifest, kind)
    except ExportError:
        return []


def _settle(spool: Spool[Any], files: Files, version: ExportManifest, report: IO[bytes] | None) -> None:
    """Make sure that the manifest describes the file, although another task may have written its own meanwhile."""
    for _ in range(_ATTEMPTS):
        versions = _versions(files, spool.subject.manifest)
        if versions and versions[0].sha256 == version.sha256:
            return
        log.warning("%s is being exported by another task, too; give each task a destination of its own", files.data)
        if sha256_of(files.data) != version.sha256:
            return  # replaced, and settled by the task that replaced it
        _write(_companions(spool, files, version, versions, report))
    raise ExportError(f"{files.data} keeps being replaced by other tasks; give each task a destination of its own")


def _is_contested(
    files: Files, kind: ManifestKind, version: ExportManifest, accepted: Sequence[ExportManifest]
) -> bool:
    """Return whether another task has written its manifest meanwhile, so that restoring ours would remove it."""
    try:
        found = {each.sha256 for each in _versions(files, kind)[:1]}
    except Exception as error:  # whatever the file system's driver raises; it must not hide the original error
        log.warning("Cannot check who wrote %s: %s: %s", files.manifest, type(error).__name__, error)
        return False
    return not found <= {version.sha256, *(each.sha256 for each in accepted)}


def _may_have_arrived(target: ObjectStoragePath, sha256: str) -> bool:
    """Return whether an export was stored in spite of an error, as when the response of the object store was lost.

    If this cannot be checked, assume it was: the new manifest accepts both files, the old one only the old file.
    """
    try:
        return target.is_file() and sha256_of(target) == sha256
    except Exception as error:  # whatever the file system's driver raises; it must not hide the original error
        log.warning("Cannot check whether %s was stored: %s: %s", target, type(error).__name__, error)
        return True


def _copy(path: ObjectStoragePath, spool: Spool[Any]) -> IO[bytes] | None:
    if not path.exists():
        return None
    copy = spool.file()
    with open_to_read(path) as file:
        shutil.copyfileobj(file, copy, 1 << 20)
    return copy


def _restore(path: ObjectStoragePath, content: IO[bytes] | None) -> None:
    """Restore a companion to what it was; a failure is logged, and does not keep the others from being restored."""
    try:
        if content is not None:
            write_atomically(path, content)
        elif path.exists():
            path.unlink()
    except Exception as error:  # whatever the file system's driver raises
        action = "removed" if content is None else "restored"
        log.warning("%s could not be %s: %s: %s", path, action, type(error).__name__, error)
