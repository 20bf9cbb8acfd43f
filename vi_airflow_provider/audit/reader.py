"""Read the documents of an export, plain or compressed."""

from __future__ import annotations

import gzip
import json
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import ObjectStoragePath
from pydantic import ValidationError

from vi_airflow_provider.api.errors import one_line
from vi_airflow_provider.api.validation import describe_errors
from vi_airflow_provider.audit.manifest import ExportError, files_of, read_manifest
from vi_airflow_provider.audit.subject import FLOWS, RUNS, D, Subject
from vi_airflow_provider.storage.files import open_to_read
from vi_airflow_provider.storage.places import refuse_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vi_airflow_provider.api.models import Flow

T = TypeVar("T")


def read_export(uri: str) -> Iterator[Flow]:
    """Yield the flows of a ``jsonl`` export, as :func:`read_documents` does."""
    return read_documents(uri, FLOWS)


def read_documents(uri: str, subject: Subject[D]) -> Iterator[D]:
    """Yield the documents of a ``jsonl`` export, plain or gzipped.

    :raises ExportError: the file is missing or not such an export
    :raises ViValidationError: the URL carries a secret
    """
    return _read(uri, subject.parse)


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


def _read(uri: str, parse: Callable[[bytes], T]) -> Iterator[T]:
    refuse_secrets("uri", uri)
    path = ObjectStoragePath(uri)
    try:
        with open_to_read(path) as raw, _maybe_gunzip(raw, path.name.endswith(".gz")) as file:
            for line in file:
                yield parse(line)
    except FileNotFoundError:
        raise ExportError(f"{uri}: this export does not exist") from None
    except ValidationError as error:
        reason = one_line(f"{uri} is not a jsonl export: {describe_errors(error)}")
    except (ValueError, EOFError, gzip.BadGzipFile, zlib.error) as error:
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
