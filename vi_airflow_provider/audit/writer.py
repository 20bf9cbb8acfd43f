"""Writing exports: a file sorted by flow id, and a manifest that proves it complete.

Publishing an export
--------------------
File and manifest are two objects, and an object store cannot write both at once. A file must never be without a
manifest that accepts it, because it would not be evidence. So the manifest is written first, and accepts the version
that it replaces, too. Killed after a step, an export that replaces ``old`` by ``new`` leaves this:

=================  ======  ==============  ================================
after              file    manifest        ``verify``
=================  ======  ==============  ================================
(before)           old     old             old
1. report          old     old             old; the report is the new one
2. manifest        old     new, or old     old
3. file            new     new, or old     new
4. stale report    new     new, or old     new; the stale report is removed
=================  ======  ==============  ================================

If a step fails, the companions are restored, unless the file may have arrived in spite of the error: the new manifest
accepts both files, the old manifest only the old file.

What breaks if you change it: with the file first, a kill leaves a file without evidence. With a manifest that accepts
only the new file, a kill between 2 and 3 does the same to the old one. A file that is compared with an older version
of itself needs that version until the comparison is complete, so nothing is written before.
"""

from __future__ import annotations

import gzip
import io
import logging
import shutil
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final

from vi_airflow_provider.audit import tabular
from vi_airflow_provider.audit.manifest import EXPORT, ExportError, ExportManifest, files_of, manifest_facts
from vi_airflow_provider.audit.reader import verify
from vi_airflow_provider.storage.files import open_to_read, write_atomically
from vi_airflow_provider.storage.manifest import sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from vi_airflow_provider.audit.spool import FlowSpool

FORMATS: Final = ("jsonl", "csv", "parquet")

log = logging.getLogger(__name__)


def write_file(spool: FlowSpool, format_: str, *, compressed: bool) -> IO[bytes]:
    """Write the export to a local file of the spool."""
    raw = spool.file()
    if format_ == "parquet":
        try:
            tabular.write_parquet(spool.flows(), raw)
        except ImportError:
            raise ExportError("parquet needs pyarrow: install vi-airflow-provider[parquet]") from None
        return raw
    with _maybe_gzip(raw, compressed) as file:
        if format_ == "jsonl":
            for document in spool.documents():
                file.write(document + b"\n")
        else:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="")
            tabular.write_csv(spool.flows(), text)
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
    spool: FlowSpool,
    target: ObjectStoragePath,
    file: IO[bytes],
    manifest: ExportManifest,
    report: IO[bytes] | None = None,
) -> None:
    """Store an export, its manifest and its report: all of them, or none.

    :param file: the export as :func:`write_file` has written it
    :param report: without one, the report of the export that is replaced is removed
    """
    files = files_of(str(target))
    companions = {files.manifest: _write_manifest(spool, manifest, _replaced(target))}
    if report is not None:
        companions = {files.report: report} | companions
    before = {path: _copy(path, spool) for path in companions}
    try:
        for path, content in (companions | {target: file}).items():
            write_atomically(path, content)
    except BaseException:
        if not _may_have_arrived(target, manifest.sha256):
            for path, old in before.items():
                _restore(path, old)
        raise
    if report is None:
        _restore(files.report, None)


def _replaced(target: ObjectStoragePath) -> ExportManifest | None:
    try:
        return verify(str(target))
    except ExportError:
        return None


def _write_manifest(spool: FlowSpool, manifest: ExportManifest, replaced: ExportManifest | None) -> IO[bytes]:
    file = spool.file()
    EXPORT.write(file, manifest_facts(manifest, replaced), spool.fingerprints())
    return file


def _may_have_arrived(target: ObjectStoragePath, sha256: str) -> bool:
    """Tell whether an export was stored in spite of an error, as when the response of the object store was lost.

    If this cannot be checked, assume it was: the new manifest accepts both files, the old one only the old file.
    """
    try:
        return target.exists() and sha256_of(target) == sha256
    except Exception as error:  # whatever the file system's driver raises; it must not hide the original error
        log.warning("Cannot check whether %s was stored: %s: %s", target, type(error).__name__, error)
        return True


def _copy(path: ObjectStoragePath, spool: FlowSpool) -> IO[bytes] | None:
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
