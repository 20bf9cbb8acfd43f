"""An export from end to end: list, spool, compare, write, publish."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import TextIOWrapper
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, Final, get_args

from airflow.providers.common.compat.sdk import ObjectStoragePath

from vi_airflow_provider import __version__
from vi_airflow_provider.audit import report as html_report
from vi_airflow_provider.audit import writer
from vi_airflow_provider.audit.diff import Kind
from vi_airflow_provider.audit.listing import FlowSource, Listing
from vi_airflow_provider.audit.manifest import ExportError, ExportManifest, files_of
from vi_airflow_provider.audit.plan import ExportPlan, describe, selection_caveat
from vi_airflow_provider.audit.reader import StoredExport, newest_export, read_export, verify
from vi_airflow_provider.audit.report import ReportFacts
from vi_airflow_provider.audit.spool import FlowSpool
from vi_airflow_provider.audit.stored_diff import spooled_diff
from vi_airflow_provider.storage.manifest import sha256_and_size

if TYPE_CHECKING:
    from vi_airflow_provider.audit.diff import Diff

#: Lines of a diff that the log shows.
MAX_LOGGED: Final = 200

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exported:
    """An export that was published."""

    target: ObjectStoragePath
    manifest: ExportManifest
    has_report: bool
    compared_to: str | None
    #: Number of flows per kind of change; ``None`` if nothing was compared.
    changes: dict[Kind, int] | None
    #: What a reader of the comparison must know.
    caveats: tuple[str, ...] = ()

    @property
    def drift(self) -> str:
        """The changes since the other export in one sentence; empty if nothing has changed."""
        if not self.changes or not any(self.changes.values()):
            return ""
        counts = ", ".join(f"{count} {kind}" for kind, count in self.changes.items())
        return " ".join((f"The flows differ from {self.compared_to}: {counts}.", *self.caveats))

    def as_xcom(self) -> dict[str, Any]:
        """Return the result of the task as JSON data."""
        files = files_of(str(self.target))
        return {
            "uri": str(files.data),
            "manifest_uri": str(files.manifest),
            "report_uri": str(files.report) if self.has_report else None,
            "count": self.manifest.count,
            "sha256": self.manifest.sha256,
            **{kind: self.changes and self.changes[kind] for kind in get_args(Kind)},
        }


def export_flows(plan: ExportPlan, source: FlowSource, organization_id: str) -> Exported:
    """Export the flows of an organization.

    :raises ExportError: the export to compare with is missing or damaged; nothing was requested yet
    """
    # Found and verified first: a listing may take hours.
    old = _find_old_export(plan, organization_id)
    caveats = _caveats(plan, old, organization_id)
    for caveat in caveats:
        log.warning("%s", caveat)
    with FlowSpool() as spool:
        listing = Listing(source, plan.selection, spool)
        listing.collect()
        with _compared(old, listing) as diff:
            file = writer.write_file(spool, plan.format, compressed=plan.compressed, bom=plan.csv_bom)
            manifest = _manifest(plan, organization_id, listing, file)
            facts = _report_facts(plan, manifest, old, caveats)
            report = _report(facts, spool, diff) if plan.html_report else None
            writer.publish(spool, plan.target, file, manifest, report)
            log.info("%s flows exported: %s, sha256 %s", f"{manifest.count:,}", plan.target, manifest.sha256)
            _log_diff(diff)
            changes = None if diff is None else diff.counts()
            return Exported(plan.target, manifest, plan.html_report, old and old.uri, changes, caveats)


def _find_old_export(plan: ExportPlan, organization_id: str) -> StoredExport | None:
    """Find the export to compare with, and verify it."""
    if plan.compare_to is None:
        return None
    if plan.compare_to == "previous":
        old = _newest(plan, plan.target.parent, organization_id, recursive=False)
    elif plan.compare_to.endswith("/"):
        old = _newest(plan, ObjectStoragePath(plan.compare_to), organization_id, recursive=True)
    else:
        old = StoredExport(plan.compare_to, verify(plan.compare_to))
        if old.manifest.format != "jsonl":
            raise ExportError(f"compare_to: {old.uri} is a {old.manifest.format} export; only jsonl can be compared")
    if old is not None:
        log.info("Comparing with %s", old.uri)
    return old


def _newest(
    plan: ExportPlan, folder: ObjectStoragePath, organization_id: str, *, recursive: bool
) -> StoredExport | None:
    old = newest_export(folder, organization_id, exclude=plan.target, recursive=recursive, strict=plan.fail_on_drift)
    if old is None:
        place = f"{str(folder).rstrip('/')}/"
        log.warning("Nothing to compare with: %s has no earlier jsonl export of this organization", place)
    return old


def _caveats(plan: ExportPlan, old: StoredExport | None, organization_id: str) -> tuple[str, ...]:
    """Return what a reader of the comparison must know: the exports do not cover the same flows."""
    caveats: list[str] = []
    if old is not None and old.manifest.organization_id != organization_id:
        caveats.append(f"{old.uri} is an export of another organization, {old.manifest.organization_id!r:.200}.")
    if old is not None and not plan.selection.is_that_of(old.manifest.filters):
        caveats.append(selection_caveat(("This one", plan.selection.criteria), (old.uri, old.manifest.filters)))
    return tuple(caveats)


@contextmanager
def _compared(old: StoredExport | None, listing: Listing) -> Iterator[Diff | None]:
    """Lend the changes since an export, after the flows that seem to be removed have been requested."""
    if old is None:
        yield None
        return
    with spooled_diff(read_export(old.uri), listing.spool.flows()) as diff:
        if not listing.confirm_removed(flow.flow_id for flow in diff.removed):
            yield diff
            return
    with spooled_diff(read_export(old.uri), listing.spool.flows()) as diff:
        yield diff


def _manifest(plan: ExportPlan, organization_id: str, listing: Listing, file: IO[bytes]) -> ExportManifest:
    sha256, size = sha256_and_size(file)
    return ExportManifest(
        file=plan.target.name,
        format=plan.format,
        count=len(listing.spool),
        sha256=sha256,
        size=size,
        created_at=datetime.now(UTC).isoformat(),
        organization_id=organization_id,
        filters=dict(plan.selection.criteria),
        provider_version=__version__,
        passes=listing.passes,
        late=listing.late,
    )


def _report_facts(
    plan: ExportPlan, manifest: ExportManifest, old: StoredExport | None, caveats: tuple[str, ...]
) -> ReportFacts:
    return ReportFacts(
        organization_id=manifest.organization_id,
        exported_at=datetime.fromisoformat(manifest.created_at),
        count=manifest.count,
        sha256=manifest.sha256,
        uri=str(plan.target),
        compared_to=old and old.uri,
        provider_version=manifest.provider_version,
        selection=describe(manifest.filters),
        caveats=caveats,
    )


def _report(facts: ReportFacts, spool: FlowSpool, diff: Diff | None) -> IO[bytes]:
    file = spool.file()
    page = TextIOWrapper(file, encoding="utf-8", newline="\n")
    html_report.write_report(page, facts, spool.flows(), diff)
    page.detach()  # flushes it and leaves the file open
    return file


def _log_diff(diff: Diff | None) -> None:
    if diff is not None:
        lines = "\n".join(islice(diff.lines(), MAX_LOGGED))
        log.info("%d added, %d removed, %d changed.\n%s", *diff.counts().values(), lines)
