"""An export from end to end: list, spool, compare, write, publish."""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from io import TextIOWrapper
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, get_args

from airflow.providers.common.compat.sdk import ObjectStoragePath

from vi_airflow_provider import __version__
from vi_airflow_provider.audit import report as html_report
from vi_airflow_provider.audit import writer
from vi_airflow_provider.audit.diff import Kind
from vi_airflow_provider.audit.manifest import ExportError, ExportManifest, files_of
from vi_airflow_provider.audit.plan import ExportPlan, Selection
from vi_airflow_provider.audit.reader import newest_export, read_export, verify
from vi_airflow_provider.audit.spool import FlowSpool
from vi_airflow_provider.audit.stored_diff import spooled_diff
from vi_airflow_provider.selection.filter import FlowFilter
from vi_airflow_provider.storage.manifest import sha256_and_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vi_airflow_provider.api.models import Flow
    from vi_airflow_provider.audit.diff import Diff

#: Flows between two lines of progress in the log.
PROGRESS: Final = 1000
#: Lines of a diff that the log shows.
MAX_LOGGED: Final = 200

log = logging.getLogger(__name__)


class FlowSource(Protocol):
    """Where the flows come from, as a hook or a client of ``api`` has it."""

    def list_flows(self, *, page_size: int | None, limit: int | None, prefetch: bool) -> Iterator[Flow]:
        """Yield all flows."""
        ...


@dataclass(frozen=True)
class Exported:
    """An export that was published."""

    target: ObjectStoragePath
    manifest: ExportManifest
    has_report: bool
    compared_to: str | None
    #: Number of flows per kind of change; ``None`` if nothing was compared.
    changes: dict[Kind, int] | None

    @property
    def drift(self) -> str:
        """The changes since the other export in one sentence; empty if nothing has changed."""
        if not self.changes or not any(self.changes.values()):
            return ""
        counts = ", ".join(f"{count} {kind}" for kind, count in self.changes.items())
        return f"The flows differ from {self.compared_to}: {counts}."

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

    :raises ExportError: what it is to be compared with is missing or damaged; nothing was requested yet
    """
    # Found and verified first: a listing may take hours.
    old = _find_old_export(plan, organization_id)
    with FlowSpool() as spool:
        for flow in _with_progress(_selected(plan.selection, source)):
            spool.add(flow)
        with _compared(old, spool) as diff:
            file = writer.write_file(spool, plan.format, compressed=plan.compressed)
            manifest = _manifest(plan, organization_id, len(spool), file)
            report = _report(plan, spool, manifest, diff, old) if plan.html_report else None
            writer.publish(spool, plan.target, file, manifest, report)
            log.info("%s flows exported: %s, sha256 %s", f"{manifest.count:,}", plan.target, manifest.sha256)
            _log_diff(diff)
            return Exported(plan.target, manifest, plan.html_report, old, None if diff is None else diff.counts())


def _selected(selection: Selection, source: FlowSource) -> Iterator[Flow]:
    limit = selection.limit
    # Without a filter, the listing itself can stop at the limit. With a filter, any page may be the last one that is
    # needed, so none is prefetched.
    bound = limit if selection.wanted == FlowFilter() else None
    flows = source.list_flows(page_size=selection.page_size, limit=bound, prefetch=limit == bound)
    return islice(selection.wanted.select(flows, datetime.now(UTC)), limit)


def _with_progress(flows: Iterator[Flow]) -> Iterator[Flow]:
    began = time.monotonic()
    for number, flow in enumerate(flows, 1):
        if number % PROGRESS == 0:
            rate = number / max(time.monotonic() - began, 1e-9)
            log.info("%s flows so far, %s per second.", f"{number:,}", f"{rate:,.0f}")
        yield flow


def _find_old_export(plan: ExportPlan, organization_id: str) -> str | None:
    """Find the export to compare with, and verify it."""
    if plan.compare_to is None:
        return None
    if plan.compare_to == "previous":
        old = newest_export(plan.target.parent, organization_id, exclude=plan.target)
    elif plan.compare_to.endswith("/"):
        folder = ObjectStoragePath(plan.compare_to)
        old = newest_export(folder, organization_id, exclude=plan.target, recursive=True)
    else:
        old = plan.compare_to
        _check_comparable(old, organization_id)
    if old is None:
        place = f"{plan.target.parent}/" if plan.compare_to == "previous" else plan.compare_to
        log.warning("Nothing to compare with: %s has no earlier jsonl export of this organization", place)
    else:
        log.info("Comparing with %s", old)
    return old


def _check_comparable(uri: str, organization_id: str) -> None:
    manifest = verify(uri)
    if manifest.format != "jsonl":
        raise ExportError(f"compare_to: {uri} is a {manifest.format} export; only jsonl can be compared")
    if manifest.organization_id != organization_id:
        log.warning("%s is an export of another organization, %.200r", uri, manifest.organization_id)


def _compared(old: str | None, spool: FlowSpool) -> AbstractContextManager[Diff | None]:
    return nullcontext() if old is None else spooled_diff(read_export(old), spool.flows())


def _manifest(plan: ExportPlan, organization_id: str, count: int, file: IO[bytes]) -> ExportManifest:
    sha256, size = sha256_and_size(file)
    return ExportManifest(
        file=plan.target.name,
        format=plan.format,
        count=count,
        sha256=sha256,
        size=size,
        created_at=datetime.now(UTC).isoformat(),
        organization_id=organization_id,
        filters=dict(plan.selection.criteria),
        provider_version=__version__,
    )


def _report(
    plan: ExportPlan, spool: FlowSpool, manifest: ExportManifest, diff: Diff | None, old: str | None
) -> IO[bytes]:
    facts = html_report.ReportFacts(
        organization_id=manifest.organization_id,
        exported_at=datetime.fromisoformat(manifest.created_at),
        count=manifest.count,
        sha256=manifest.sha256,
        uri=str(plan.target),
        compared_to=old,
        provider_version=manifest.provider_version,
    )
    file = spool.file()
    page = TextIOWrapper(file, encoding="utf-8", newline="\n")
    html_report.write_report(page, facts, spool.flows(), diff)
    page.detach()  # flushes it and leaves the file open
    return file


def _log_diff(diff: Diff | None) -> None:
    if diff is not None:
        lines = "\n".join(islice(diff.lines(), MAX_LOGGED))
        log.info("%d added, %d removed, %d changed.\n%s", *diff.counts().values(), lines)
