"""Exports of flows: a file sorted by flow id, and a manifest that proves it complete.

The flows are spooled to a local database as they arrive, so memory does not grow with their number, and the same
flows give the same bytes in whatever order the server lists them.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import logging
import shutil
import zlib
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import ObjectStoragePath
from pydantic import TypeAdapter, ValidationError

from vi_airflow_provider.api.errors import one_line
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.api.validation import describe_errors
from vi_airflow_provider.audit import tabular
from vi_airflow_provider.audit.spool import FlowSpool
from vi_airflow_provider.storage.files import open_to_read, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMATS: Final = ("jsonl", "csv", "parquet")
_KIND: Final = "vi-flow-export"
_SUFFIX: Final = ".manifest.json"
#: So many flows are named that are not as their manifest says.
_NAMED: Final = 5
#: Where the facts of a manifest end and the digests of its flows begin; the facts are within the first bytes.
_FLOWS: Final = ',\n "flows": {'
_HEAD: Final = 1 << 16

log = logging.getLogger(__name__)


class ExportError(Exception):
    """An export is not what its manifest says, or has none."""


@dataclass(frozen=True)
class ExportManifest:
    """What an export holds."""

    file: str
    format: str
    count: int
    sha256: str
    size: int
    created_at: str
    organization_id: str
    filters: dict[str, Any]
    provider_version: str


_MANIFEST: Final = TypeAdapter(ExportManifest)


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
            text.detach()  # flushes it, and leaves the file open
    return raw


def publish(
    spool: FlowSpool,
    target: ObjectStoragePath,
    file: IO[bytes],
    manifest: ExportManifest,
    report: IO[bytes] | None = None,
) -> None:
    """Put an export, its manifest and its report in their place: all, or none.

    The manifest goes before the file, and vouches for the file that it replaces, too. So whenever we are killed,
    there is no file that nobody vouches for. If writing fails, what was there before is put back. The report of an
    export that is replaced by one without a report goes.

    :param file: the export, as :func:`write_file` has written it
    """
    try:
        replaced = verify(str(target))
    except ExportError:
        replaced = None
    companions = {manifest_path(str(target)): _write_manifest(spool, manifest, replaced)}
    if report is not None:
        companions = {report_path(str(target)): report} | companions
    before = {path: _copy(path, spool) for path in companions}
    try:
        for path, content in (companions | {target: file}).items():
            write_atomically(path, content)
    except BaseException:
        if not _may_have_arrived(target, manifest.sha256):
            for path, old in before.items():
                _put_back(path, old)
        raise
    if report is None:
        _put_back(report_path(str(target)), None)


def _may_have_arrived(target: ObjectStoragePath, sha256: str) -> bool:
    """Tell whether an export is there in spite of an error, as when the answer of the object store was lost.

    If that cannot be seen, it may: the new manifest vouches for the old file, but the old one not for the new file.
    """
    try:
        return target.exists() and _sha256(target) == sha256
    except Exception as error:  # whatever the file system's driver raises; it must not hide the error that we have
        log.warning("Whether %s has arrived cannot be seen: %s: %s", target, type(error).__name__, error)
        return True


def _copy(path: ObjectStoragePath, spool: FlowSpool) -> IO[bytes] | None:
    if not path.exists():
        return None
    copy = spool.file()
    with open_to_read(path) as file:
        shutil.copyfileobj(file, copy, 1 << 20)
    return copy


def _put_back(path: ObjectStoragePath, content: IO[bytes] | None) -> None:
    """Make a companion what it was before; a failure is logged, for the others are to be put back all the same."""
    try:
        if content is not None:
            write_atomically(path, content)
        elif path.exists():
            path.unlink()
    except Exception as error:  # whatever the file system's driver raises
        done = "removed" if content is None else "put back as it was"
        log.warning("%s could not be %s: %s: %s", path, done, type(error).__name__, error)


def _write_manifest(spool: FlowSpool, manifest: ExportManifest, replaced: ExportManifest | None) -> IO[bytes]:
    raw = spool.file()
    head = {"kind": _KIND, "version": 1, **asdict(manifest), "replaces": replaced and asdict(replaced)}
    file = io.TextIOWrapper(raw, encoding="utf-8", newline="\n")
    file.write(json.dumps(head, sort_keys=True, indent=1).removesuffix("\n}") + _FLOWS)
    for number, (flow_id, fingerprint) in enumerate(spool.fingerprints()):
        file.write(f'{"," if number else ""}\n  {json.dumps(flow_id)}: "{fingerprint}"')
    file.write("\n }\n}\n")
    file.detach()
    return raw


def manifest_path(uri: str) -> ObjectStoragePath:
    """Return where the manifest of an export is."""
    path = ObjectStoragePath(uri)
    return path.parent / f"{path.name}{_SUFFIX}"


def report_path(uri: str) -> ObjectStoragePath:
    """Return where the report of an export is."""
    path = ObjectStoragePath(uri)
    return path.parent / f"{path.name}.report.html"


def read_manifest(uri: str) -> list[ExportManifest]:
    """Return the manifest of an export, and after it that of the file which it replaces, if there was one.

    :raises ExportError: there is none, or it is none of ours
    """
    return _manifests(manifest_path(uri))


def _manifests(path: ObjectStoragePath) -> list[ExportManifest]:
    with _told(path), open_to_read(path, _HEAD) as file:
        # Of a year of exports, only the heads are read to find the newest.
        head, found, _ = file.read(_HEAD).decode().partition(_FLOWS)
        facts = json.loads(f"{head}}}" if found else head.encode() + file.read())
        if facts["kind"] != _KIND or facts["version"] != 1:
            raise ValueError(f"it is a {facts['kind']!r:.80} of version {facts['version']!r:.20}")
        return [_MANIFEST.validate_python(each) for each in (facts, facts["replaces"]) if each]


def _fingerprints(path: ObjectStoragePath) -> Iterator[tuple[str, str]]:
    """Yield id and digest of each flow in a manifest, which is read as it is consumed."""
    with _told(path), open_to_read(path) as file:
        lines = iter(file)
        first = _FLOWS.strip(",\n").encode() + b"\n"
        if first not in lines:
            raise ValueError("it lists no flows")
        for line in lines:
            if line == b" }\n":
                return
            ((flow_id, fingerprint),) = json.loads(b"{%b}" % line.strip().removesuffix(b",")).items()
            yield flow_id, fingerprint
        raise ValueError("it is cut off")


@contextmanager
def _told(path: ObjectStoragePath) -> Iterator[None]:
    """Say of a manifest that cannot be read why that is."""
    try:
        yield
    except FileNotFoundError:
        reason = "there is none"
    except ValidationError as error:
        reason = describe_errors(error)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = one_line(f"{type(error).__name__}: {error}")
    else:
        return
    raise ExportError(f"manifest {path}: {reason}")


def verify(uri: str, *, every_flow: bool = False) -> ExportManifest:
    """Check an export against its manifest, and return the manifest. Memory does not grow with the number of flows.

    :param every_flow: of a ``jsonl`` export, compare also the digest of each flow, and name those that are not as
        the manifest says
    :raises ExportError: the file is missing, cut off or changed, or the manifest is
    """
    manifests = read_manifest(uri)
    try:
        sha256 = _sha256(ObjectStoragePath(uri))
    except FileNotFoundError:
        raise ExportError(f"{uri}: there is a manifest, but no file") from None
    listed = sum(1 for _ in _fingerprints(manifest_path(uri)))
    if listed != manifests[0].count:
        raise ExportError(f"manifest {manifest_path(uri)}: it counts {manifests[0].count} flows, and lists {listed}")
    for manifest in manifests:
        if manifest.sha256 == sha256:
            break
    else:
        told = _disagreements(uri) if every_flow and manifests[0].format == "jsonl" else ""
        raise ExportError(f"{uri} is not what its manifest says: it was cut off or changed{told}")
    if every_flow and manifest.format == "jsonl":
        # If it is the file that was to be replaced, the manifest has its count, and the digests of the next one.
        told = _disagreements(uri) if manifest is manifests[0] else ""
        if told or (count := sum(1 for _ in read_export(uri))) != manifest.count:
            raise ExportError(f"{uri} is not what its manifest says{told or f': it holds {count} flows'}")
    return manifest


def _disagreements(uri: str) -> str:
    """Name the first flows of a ``jsonl`` export that are not as its manifest says."""
    found = list(islice(_compared(uri), _NAMED + 1))
    named = "".join(f"\n  {line}" for line in found[:_NAMED])
    return f"{named}\n  …" if len(found) > _NAMED else named


def _compared(uri: str) -> Iterator[str]:
    listed = _fingerprints(manifest_path(uri))
    flows = ((flow.flow_id, flow.fingerprint) for flow in read_export(uri))
    try:
        expected, found = next(listed, None), next(flows, None)
        while expected or found:
            if not found or (expected and expected[0] < found[0]):
                assert expected  # noqa: S101 - the loop's condition
                yield one_line(f"{expected[0]}: not in the file")
                expected = next(listed, None)
            elif not expected or found[0] < expected[0]:
                yield one_line(f"{found[0]}: not in the manifest")
                found = next(flows, None)
            else:
                if expected[1] != found[1]:
                    yield one_line(f"{found[0]}: not as it was exported")
                expected, found = next(listed, None), next(flows, None)
    except ExportError as error:
        yield str(error)


def _sha256(path: ObjectStoragePath) -> str:
    digest = hashlib.sha256()
    with open_to_read(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_export(uri: str) -> Iterator[Flow]:
    """Yield the flows of a ``jsonl`` export, plain or gzipped.

    :raises ExportError: it is no such export
    """
    path = ObjectStoragePath(uri)
    try:
        with open_to_read(path) as raw, _maybe_gunzip(raw, path.name.endswith(".gz")) as file:
            for line in file:
                yield Flow.model_validate_json(line)
    except FileNotFoundError:
        raise ExportError(f"there is no export {uri}") from None
    except (ValueError, EOFError, gzip.BadGzipFile, zlib.error) as error:  # pydantic's errors are ValueErrors
        reason = one_line(f"{uri} is no jsonl export: {error}")
    else:
        return
    raise ExportError(reason)


def newest_export(
    folder: ObjectStoragePath, organization_id: str, *, but: ObjectStoragePath, below: bool = False
) -> str | None:
    """Return the newest ``jsonl`` export of an organization in a folder, ``None`` where there is none.

    One that its manifest does not vouch for is passed over, with a warning.

    :param but: counts only if there is no other: when a day is exported again, it is compared with the day before,
        not with itself
    :param below: look in the folders below it, too
    """
    found: list[tuple[bool, str, str]] = []
    for path in _manifest_paths(folder, below=below):
        try:
            manifest = _manifests(path)[0]
        except ExportError:
            continue
        if manifest.organization_id == organization_id and manifest.format == "jsonl":
            export = path.parent / path.name.removesuffix(_SUFFIX)
            found.append((export.path != but.path, manifest.created_at, str(export)))
    for *_, uri in sorted(found, reverse=True):
        try:
            verify(uri)
        except ExportError as error:
            log.warning("Not compared with %s: %s", uri, error)
        else:
            return uri
    return None


def _manifest_paths(folder: ObjectStoragePath, *, below: bool) -> Iterator[ObjectStoragePath]:
    folder.fs.invalidate_cache()
    root = folder.path.rstrip("/") or folder.path  # of "/", nothing would be left: the working directory
    # One listing, not one for each folder: an object store has only keys. A missing folder has none.
    for name in folder.fs.find(root, maxdepth=None if below else 1):
        if name.endswith(_SUFFIX):
            yield folder / name.removeprefix(folder.fs._strip_protocol(root)).lstrip("/")


def measured(file: IO[bytes]) -> tuple[str, int]:
    """Return the hexadecimal sha256 and the size of a local file."""
    file.seek(0)
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    return sha256, file.tell()


@contextmanager
def _maybe_gzip(raw: IO[bytes], compressed: bool) -> Iterator[IO[bytes]]:
    if compressed:
        # Neither name nor time inside: the same flows give the same bytes.
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as file:
            yield file  # type: ignore[misc]
    else:
        yield raw


@contextmanager
def _maybe_gunzip(raw: IO[bytes], compressed: bool) -> Iterator[IO[bytes]]:
    if compressed:
        with gzip.GzipFile(fileobj=raw, mode="rb") as file:
            yield file  # type: ignore[misc]
    else:
        yield raw
