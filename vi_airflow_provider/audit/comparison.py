"""The checks of the command lines: whether a stored export is complete, and what changed between two."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from vi_airflow_provider.audit import manifest, plan, reader, stored_diff, verification
from vi_airflow_provider.audit.manifest import ExportError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from vi_airflow_provider.audit.diff import Diff
    from vi_airflow_provider.audit.subject import Subject


def verified(uri: str) -> tuple[manifest.ExportManifest, str]:
    """Check an export and each of its documents against its manifest; return the manifest, and one sentence.

    :raises ExportError: it is missing, truncated, changed or unreadable
    """
    subject = reader.subject_of(uri)
    found = verification.verify(uri, subject, every_document=True)
    return found, f"{uri} is complete: {found.count} {subject.noun}s, sha256 {found.sha256}"


def compared(old: str, new: str) -> AbstractContextManager[Diff]:
    """Lend what changed between two ``jsonl`` exports.

    :raises ExportError: one of them is missing, unreadable, or not the one that its manifest describes, if it has a
        manifest; or they are of different kinds
    """
    subject = reader.subject_of(new)
    if reader.subject_of(old) is not subject:
        raise ExportError(f"{new} is an export of {subject.noun}s, but {old} is not")
    before, after = (reader.read_documents(uri, subject, _accepted(uri, subject)) for uri in (old, new))
    return stored_diff.spooled_diff(before, after, subject)


def _accepted(uri: str, subject: Subject[Any]) -> set[str] | None:
    """Return the sha256 of each version that the manifest of an export accepts; ``None`` without a manifest."""
    path = manifest.files_of(uri).manifest
    return {version.sha256 for version in manifest.read_manifest(path, subject.manifest)} if path.exists() else None


def caveats(old: str, new: str) -> Iterator[str]:
    """Yield what a reader of the diff must know, if the manifests show it; a diff needs no manifests."""
    subject: Subject[Any] = reader.subject_of(new)
    try:
        paths = (manifest.files_of(uri).manifest for uri in (old, new))
        before, after = (manifest.read_manifest(path, subject.manifest)[0] for path in paths)
    except ExportError:
        return
    if before.organization_id != after.organization_id:
        yield plan.organization_caveat(old, before.organization_id)
    if not plan.select_the_same(subject.filter, before.filters, after.filters):
        yield plan.selection_caveat(subject.noun, (new, after.filters), (old, before.filters))


def diff_lines(changes: Diff) -> Iterator[str]:
    """Return a diff as text for a person; the last line counts the documents of each kind of change."""
    counts = ", ".join(f"{count} {kind}" for kind, count in changes.counts().items())
    return chain(changes.lines(), (counts,))
