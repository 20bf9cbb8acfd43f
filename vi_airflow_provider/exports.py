"""Exports of flows: a file sorted by flow id, and a manifest that proves it complete.

The flows are spooled to a local database as they arrive, so memory does not grow with their number, and the same
flows give the same bytes in whatever order the server lists them.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import logging
import sqlite3
import tempfile
import zlib
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import ObjectStoragePath
from pydantic import TypeAdapter, ValidationError

from vi_airflow_provider import audit
from vi_airflow_provider.api.codec import mistakes
from vi_airflow_provider.api.errors import one_line
from vi_airflow_provider.api.models import Flow, canonical_json
from vi_airflow_provider.storage import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

FORMATS: Final = ("jsonl", "csv", "parquet")
_KIND: Final = "vi-flow-export"
_SUFFIX: Final = ".manifest.json"
#: A cell that begins with one of these is a formula to a spreadsheet; the last four are the wide forms of the first.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_BATCH: Final = 500
#: Where the facts of a manifest end and the digests of its flows begin; the facts are within the first bytes.
_DIGESTS: Final = ',\n "flows": {'
_HEAD: Final = 1 << 16

log = logging.getLogger(__name__)

_COLUMNS: Final = (
    *("flow_id", "name", "schema", "training_project", "time_created", "last_updated", "generation", "block_count"),
    *("blocks", "attributes", "digest", "etag", "self_link", "organization_id", "spec"),
)


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


class FlowSpool:
    """Flows on local disk, to be read back sorted by their id; the last one of an id counts. Closing deletes it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="vi-export-")
        self.path = Path(self._folder.name)
        self._database = sqlite3.connect(self.path / "flows.db", isolation_level=None)
        # Nobody reads it after a crash, so it need not survive one.
        self._database.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-4000;")
        self._database.execute("CREATE TABLE flow (id TEXT, digest TEXT, document BLOB)")
        self._database.execute("CREATE UNIQUE INDEX by_id ON flow (id)")

    def add(self, flow: Flow) -> None:
        """Keep a flow."""
        wire = flow.to_wire()
        document = canonical_json(wire)  # before the digest takes away what does not count
        self._database.execute(
            "INSERT OR REPLACE INTO flow VALUES (?, ?, ?)", (flow.flow_id, audit.wire_digest(wire), document)
        )

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM flow").fetchone()[0])

    def documents(self) -> Iterator[bytes]:
        """Yield the flows as canonical JSON."""
        for (document,) in self._database.execute("SELECT document FROM flow ORDER BY id"):
            yield document

    def flows(self) -> Iterator[Flow]:
        """Yield the flows."""
        return map(Flow.model_validate_json, self.documents())

    def digests(self) -> Iterator[tuple[str, str]]:
        """Yield id and digest of each flow."""
        yield from self._database.execute("SELECT id, digest FROM flow ORDER BY id")

    def close(self) -> None:
        """Delete it."""
        self._database.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def write_file(spool: FlowSpool, format_: str, *, compressed: bool) -> Path:
    """Write the export to a local file beside the spool."""
    path = spool.path / "export"
    if format_ == "parquet":
        _write_parquet(spool, path)
        return path
    with path.open("wb") as raw, _maybe_gzip(raw, compressed) as file:
        if format_ == "jsonl":
            for document in spool.documents():
                file.write(document + b"\n")
        else:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="")
            _write_csv(spool, text)
            text.detach()  # flushes it, and leaves the file open
    return path


def publish(spool: FlowSpool, target: ObjectStoragePath, file: Path, manifest: ExportManifest) -> None:
    """Put an export and its manifest in their place: both, or none.

    The manifest goes first, and vouches for the file that it replaces, too. So whenever we are killed, there is no
    file that nobody vouches for. If writing fails, what was there before is put back.

    :param file: the export, as :func:`write_file` has written it
    """
    try:
        replaced = verify(str(target))
    except ExportError:
        replaced = None
    path = manifest_path(str(target))
    before = path.read_bytes() if path.exists() else None
    try:
        write_atomically(path, _write_manifest(spool, manifest, replaced))
        write_atomically(target, file)
    except BaseException:
        # It may have arrived in spite of the error, as when the answer of the object store was lost.
        if not target.exists() or _sha256(target) != manifest.sha256:
            _put_back(path, before)
        raise


def _put_back(path: ObjectStoragePath, content: bytes | None) -> None:
    if content is not None:
        write_atomically(path, content)
    elif path.exists():
        path.unlink()


def _write_manifest(spool: FlowSpool, manifest: ExportManifest, replaced: ExportManifest | None) -> Path:
    path = spool.path / "manifest"
    head = {"kind": _KIND, "version": 1, **asdict(manifest), "replaces": replaced and asdict(replaced)}
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head, sort_keys=True, indent=1).removesuffix("\n}") + _DIGESTS)
        for number, (flow_id, digest) in enumerate(spool.digests()):
            file.write(f'{"," if number else ""}\n  {json.dumps(flow_id)}: "{digest}"')
        file.write("\n }\n}\n")
    return path


def manifest_path(uri: str) -> ObjectStoragePath:
    """Return where the manifest of an export is."""
    path = ObjectStoragePath(uri)
    return path.parent / f"{path.name}{_SUFFIX}"


def read_manifest(uri: str) -> list[ExportManifest]:
    """Return the manifest of an export, and after it that of the file which it replaces, if there was one.

    :raises ExportError: there is none, or it is none of ours
    """
    return _manifests(manifest_path(uri), whole=True)


def _manifests(path: ObjectStoragePath, *, whole: bool) -> list[ExportManifest]:
    try:
        # Of a year of exports, only the heads are read to find the newest.
        with path.fs.open(path.path, "rb", block_size=_HEAD) as file:
            head, found, _ = ("", "", "") if whole else file.read(_HEAD).decode().partition(_DIGESTS)
            facts = json.loads(f"{head}}}" if found else head.encode() + file.read())
        if facts["kind"] != _KIND or facts["version"] != 1:
            raise ValueError(f"it is a {facts['kind']!r:.80} of version {facts['version']!r:.20}")
        return [_MANIFEST.validate_python(each) for each in (facts, facts["replaces"]) if each]
    except FileNotFoundError:
        reason = "there is none"
    except ValidationError as error:
        reason = mistakes(error)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = one_line(f"{type(error).__name__}: {error}")
    raise ExportError(f"manifest {path}: {reason}")


def verify(uri: str) -> ExportManifest:
    """Check an export against its manifest, and return the manifest.

    :raises ExportError: the file is missing, cut off or changed
    """
    manifests = read_manifest(uri)
    try:
        sha256 = _sha256(ObjectStoragePath(uri))
    except FileNotFoundError:
        raise ExportError(f"{uri}: there is a manifest, but no file") from None
    for manifest in manifests:
        if manifest.sha256 == sha256:
            return manifest
    raise ExportError(f"{uri} is not what its manifest says: it was cut off or changed")


def _sha256(path: ObjectStoragePath) -> str:
    digest = hashlib.sha256()
    with path.fs.open(path.path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_export(uri: str) -> Iterator[Flow]:
    """Yield the flows of a ``jsonl`` export, plain or gzipped.

    :raises ExportError: it is no such export
    """
    path = ObjectStoragePath(uri)
    try:
        with path.fs.open(path.path, "rb") as raw, _maybe_gunzip(raw, path.name.endswith(".gz")) as file:
            for line in file:
                yield Flow.model_validate_json(line)
    except FileNotFoundError:
        raise ExportError(f"there is no export {uri}") from None
    except (ValueError, EOFError, gzip.BadGzipFile, zlib.error) as error:  # pydantic's errors are ValueErrors
        reason = one_line(f"{uri} is no jsonl export: {error}")
    else:
        return
    raise ExportError(reason)


def previous_export(target: ObjectStoragePath, organization_id: str) -> str | None:
    """Return the newest ``jsonl`` export of an organization in the folder of a new one, ``None`` where there is none.

    The export at the target itself counts only if there is no other: when a day is exported again, it is compared
    with the day before, not with itself. One that its manifest does not vouch for is passed over, with a warning.
    """
    found: list[tuple[bool, str, str]] = []
    for path in target.parent.iterdir() if target.parent.exists() else ():
        if not path.name.endswith(_SUFFIX):
            continue
        try:
            manifest = _manifests(path, whole=False)[0]
        except ExportError:
            continue
        if manifest.organization_id == organization_id and manifest.format == "jsonl":
            name = path.name.removesuffix(_SUFFIX)
            found.append((name != target.name, manifest.created_at, str(path.parent / name)))
    for *_, uri in sorted(found, reverse=True):
        try:
            verify(uri)
        except ExportError as error:
            log.warning("Not compared with %s: %s", uri, error)
        else:
            return uri
    return None


def file_sha256(path: Path) -> str:
    """Return the hexadecimal sha256 of a local file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _row(flow: Flow) -> dict[str, Any]:
    spec, metadata = flow.spec, flow.metadata
    return {
        "flow_id": flow.flow_id,
        "name": spec.name,
        "schema": spec.schema,
        "training_project": spec.training_project,
        "time_created": metadata.time_created,
        "last_updated": metadata.last_updated,
        "generation": metadata.generation,
        "block_count": len(spec.blocks),
        "blocks": " > ".join(block.block for block in spec.blocks),
        "attributes": _json(metadata.attributes),
        "digest": flow.digest,
        "etag": flow.etag,
        "self_link": flow.self_link,
        "organization_id": flow.organization_id,
        "spec": _json(spec.to_wire()),
    }


def _write_csv(spool: FlowSpool, file: IO[str]) -> None:
    # RFC 4180. All text in quotes: a spreadsheet that splits at semicolons must not find a cell inside a cell.
    writer = csv.writer(file, lineterminator="\r\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(_COLUMNS)
    for flow in spool.flows():
        row = _row(flow)
        writer.writerow([_cell(row[name]) for name in _COLUMNS])


def _cell(value: Any) -> Any:
    """Keep text from being a formula: a quote in front makes it text to every spreadsheet."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _write_parquet(spool: FlowSpool, path: Path) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ExportError("parquet needs pyarrow: install vi-airflow-provider[parquet]") from None
    times, counts = ("time_created", "last_updated"), ("generation", "block_count")
    kinds = {name: pa.string() for name in _COLUMNS}
    kinds |= dict.fromkeys(times, pa.timestamp("ms", tz="UTC")) | dict.fromkeys(counts, pa.int64())
    schema = pa.schema(list(kinds.items()))
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for rows in _batches(_row(flow) for flow in spool.flows()):
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _json(value: Any) -> str:
    return canonical_json(value).decode("utf-8", "replace")


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
