"""Check an export against its manifest: its bytes, its count, and the fingerprint of each document."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import ObjectStoragePath

from vi_airflow_provider.api.errors import one_line
from vi_airflow_provider.audit.manifest import ExportError, ExportManifest, files_of, read_manifest
from vi_airflow_provider.audit.merge import merge_by_id
from vi_airflow_provider.audit.reader import read_documents
from vi_airflow_provider.audit.subject import FLOWS, Subject
from vi_airflow_provider.storage.manifest import sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How many documents that contradict the manifest are named.
_NAMED: Final = 5


def verify(uri: str, subject: Subject[Any] = FLOWS, *, every_document: bool = False) -> ExportManifest:
    """Check an export against its manifest, and return the manifest. Memory does not grow with the number of documents.

    :param every_document: of a ``jsonl`` export, also compare the fingerprint of each document, and name those that
        contradict the manifest
    :raises ExportError: the file or its manifest is missing, truncated or changed
    :raises ViValidationError: the URL carries a secret
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
