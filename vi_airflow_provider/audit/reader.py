"""Read the documents of an export, plain or compressed."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

from airflow.providers.common.compat.sdk import ObjectStoragePath
from pydantic import ValidationError

from vi_airflow_provider.api.errors import one_line
from vi_airflow_provider.api.validation import describe_errors
from vi_airflow_provider.audit.manifest import ExportError, files_of, read_manifest
from vi_airflow_provider.audit.subject import FLOWS, RUNS, D, Subject
from vi_airflow_provider.storage.files import open_to_read
from vi_airflow_provider.storage.places import refuse_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from vi_airflow_provider.api.models import Flow

T = TypeVar("T")

#: Bytes that are read at a time.
_BLOCK: Final = 1 << 20


def read_export(uri: str) -> Iterator[Flow]:
    """Yield the flows of a ``jsonl`` export, as :func:`read_documents` does."""
    return read_documents(uri, FLOWS)


def read_documents(uri: str, subject: Subject[D], accepted: Collection[str] | None = None) -> Iterator[D]:
    """Yield the documents of a ``jsonl`` export, plain or gzipped.

    :param accepted: the sha256 of each version that the file may be; checked when all of it has been read
    :raises ExportError: the file is missing or not such an export, or another version than the accepted ones
    :raises ViValidationError: the URL carries a secret
    """
    if accepted is None:
        return _read(uri, subject.parse)
    return _read_version(uri, subject, accepted)


def _read_version(uri: str, subject: Subject[D], accepted: Collection[str]) -> Iterator[D]:
    digest = hashlib.sha256()
    yield from _read(uri, subject.parse, digest.update)
    if digest.hexdigest() not in accepted:
        raise subject.manifest.mismatch(uri)


def subject_of(uri: str) -> Subject[Any]:
    """Return what an export is of: as its manifest states, or its first document; flows, if there is neither.

    :raises ViValidationError: the URL carries a secret
    """
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


def _read(uri: str, parse: Callable[[bytes], T], note: Callable[[bytes], object] | None = None) -> Iterator[T]:
    """Yield the parsed lines of a file.

    :param note: is called with all bytes of the file, as they are stored
    """
    refuse_secrets("uri", uri)
    path = ObjectStoragePath(uri)
    try:
        with (
            open_to_read(path) as stored,
            _noted(stored, note) as raw,
            _maybe_gunzip(raw, path.name.endswith(".gz")) as file,
        ):
            for line in file:
                yield parse(line)
            while raw.read(_BLOCK):  # what may follow the compressed data
                pass
    except FileNotFoundError:
        raise ExportError(f"{uri}: this export does not exist") from None
    except ValidationError as error:
        reason = one_line(f"{uri} is not a jsonl export: {describe_errors(error)}")
    except (ValueError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        reason = one_line(f"{uri} is not a jsonl export: {error}")
    else:
        return
    raise ExportError(reason)


class _Noted(io.RawIOBase):
    """A file of which all bytes that are read are noted."""

    def __init__(self, file: IO[bytes], note: Callable[[bytes], object]) -> None:
        self._file = file
        self._note = note

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._file.read(len(buffer))
        self._note(block)
        buffer[: len(block)] = block
        return len(block)


@contextmanager
def _noted(file: IO[bytes], note: Callable[[bytes], object] | None) -> Iterator[IO[bytes]]:
    yield file if note is None else io.BufferedReader(_Noted(file, note), _BLOCK)


@contextmanager
def _maybe_gunzip(raw: IO[bytes], compressed: bool) -> Iterator[IO[bytes]]:
    if compressed:
        with gzip.GzipFile(fileobj=raw, mode="rb") as file:
            yield file  # type: ignore[misc]
    else:
        yield raw
