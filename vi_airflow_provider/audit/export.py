"""An export from end to end: list, spool, compare, write, publish."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import TextIOWrapper
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args

from airflow.providers.common.compat.sdk import ObjectStoragePath

from vi_airflow_provider import __version__
from vi_airflow_provider.audit import report as html_report
from vi_airflow_provider.audit import writer
from vi_airflow_provider.audit.diff import Kind
from vi_airflow_provider.audit.listing import Listing
from vi_airflow_provider.audit.manifest import ExportError, ExportManifest, files_of
from vi_airflow_provider.audit.newest import StoredExport, newest_export
from vi_airflow_provider.audit.plan import ExportPlan, Selection, describe, organization_caveat, selection_caveat
from vi_airflow_provider.audit.reader import read_documents
from vi_airflow_provider.audit.report import ReportFacts
from vi_airflow_provider.audit.sources import FlowSource, L, RunSource, Source
from vi_airflow_provider.audit.spool import Spool
from vi_airflow_provider.audit.stored_diff import spooled_diff
from vi_airflow_provider.audit.subject import FLOWS, RUNS, D, Subject
from vi_airflow_provider.audit.verification import verify
from vi_airflow_provider.selection.arguments import boolean
from vi_airflow_provider.storage.manifest import sha256_and_size

if TYPE_CHECKING:
    from vi_airflow_provider.audit.diff import Diff
    from vi_airflow_provider.audit.sources import Calls

#: Lines of a diff that the log shows.
MAX_LOGGED: Final = 200

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exported:
    """An export that was published."""

    subject: Subject[Any]
    target: ObjectStoragePath
    manifest: ExportManifest
    has_report: bool
    compared_to: str | None
    #: Number of documents per kind of change; ``None`` if nothing was compared.
    changes: dict[Kind, int] | None
    #: What a reader of the comparison must know.
    caveats: tuple[str, ...] = ()
    #: Whether the task is to fail if anything has changed.
    fail_on_drift: bool = False

    @property
    def drift(self) -> str:
        """The changes since the other export in one sentence; empty if nothing has changed."""
        if not self.changes or not any(self.changes.values()):
            return ""
        counts = ", ".join(f"{count} {kind}" for kind, count in self.changes.items())
        return " ".join((f"The {self.subject.noun}s differ from {self.compared_to}: {counts}.", *self.caveats))

    @property
    def fails(self) -> bool:
        """Whether the task is to fail."""
        return self.fail_on_drift and bool(self.drift)

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


class Choice(NamedTuple):
    """Which documents to export, as the author of a DAG has written it.

    :param criteria: the arguments of the filter, and maybe ``limit``
    :param outputs: export runs with the metrics of their checkpoints, which takes a request for each run
    """

    criteria: Mapping[str, Any]
    page_size: Any
    outputs: Any = False


def export(
    noun: Literal["flow", "run"],
    calls: Calls,
    arguments: Mapping[str, Any],
    choice: Choice,
) -> Exported:
    """Export the flows or the runs of an organization.

    :param arguments: those of :meth:`ExportPlan.build`, as the author of a DAG has written them
    :raises ViValidationError: an argument is unusable; the message names it
    :raises ExportError: the export to compare with is missing or damaged; nothing was requested yet
    """
    if noun == "flow":
        selection = Selection.build(choice.criteria, choice.page_size, FLOWS.filter)
        plan = ExportPlan.build(**arguments, selection=selection, kind=FLOWS.manifest)
        return _export(plan, FLOWS, FlowSource(calls), calls.settings.organization_id)
    selection = Selection.build(choice.criteria, choice.page_size, RUNS.filter)
    plan = ExportPlan.build(**arguments, selection=selection, kind=RUNS.manifest)
    source = RunSource(calls, outputs=boolean("outputs", choice.outputs))
    return _export(plan, RUNS, source, calls.settings.organization_id)


def _export(plan: ExportPlan, subject: Subject[D], source: Source[L, D], organization_id: str) -> Exported:
    # Found and verified first: a listing may take hours.
    old = _find_old_export(plan, subject, organization_id)
    caveats = _caveats(plan, subject, old, organization_id)
    for caveat in caveats:
        log.warning("%s", caveat)
    with Spool(subject) as spool:
        listing = Listing(source, plan.selection, spool)
        listing.collect()
        with _compared(old, listing) as diff:
            file = writer.write_file(spool, plan.target, plan.format, compressed=plan.compressed, bom=plan.csv_bom)
            manifest = _manifest(plan, organization_id, listing, file)
            facts = _report_facts(plan, subject, manifest, old, caveats)
            report = _report(facts, spool, diff) if plan.html_report else None
            writer.publish(spool, plan.target, file, manifest, report)
            log.info(
                "%s %ss exported: %s, sha256 %s", f"{manifest.count:,}", subject.noun, plan.target, manifest.sha256
            )
            _log_diff(diff)
            changes = None if diff is None else diff.counts()
            return Exported(
                subject, plan.target, manifest, plan.html_report, old and old.uri, changes, caveats, plan.fail_on_drift
            )


def _find_old_export(plan: ExportPlan, subject: Subject[D], organization_id: str) -> StoredExport | None:
    """Find the export to compare with, and verify it."""
    if plan.compare_to is None:
        return None
    if plan.compare_to == "previous":
        old = _newest(plan, subject, plan.target.parent, organization_id, recursive=False)
    elif plan.compare_to.endswith("/"):
        old = _newest(plan, subject, ObjectStoragePath(plan.compare_to), organization_id, recursive=True)
    else:
        old = StoredExport(plan.compare_to, verify(plan.compare_to, subject))
        if old.manifest.format != "jsonl":
            raise ExportError(f"compare_to: {old.uri} is a {old.manifest.format} export; only jsonl can be compared")
    if old is not None:
        log.info("Comparing with %s", old.uri)
    return old


def _newest(
    plan: ExportPlan, subject: Subject[D], folder: ObjectStoragePath, organization_id: str, *, recursive: bool
) -> StoredExport | None:
    old = newest_export(
        folder, organization_id, subject, exclude=plan.target, recursive=recursive, strict=plan.fail_on_drift
    )
    if old is None:
        place = f"{str(folder).rstrip('/')}/"
        log.warning("Nothing to compare with: %s has no earlier jsonl export of this organization", place)
    return old


def _caveats(plan: ExportPlan, subject: Subject[D], old: StoredExport | None, organization_id: str) -> tuple[str, ...]:
    """Return what a reader of the comparison must know: the exports do not cover the same documents."""
    caveats: list[str] = []
    if old is not None and old.manifest.organization_id != organization_id:
        caveats.append(organization_caveat(old.uri, old.manifest.organization_id))
    if old is not None and not plan.selection.is_that_of(old.manifest.filters):
        caveats.append(
            selection_caveat(subject.noun, ("This one", plan.selection.criteria), (old.uri, old.manifest.filters))
        )
    return tuple(caveats)


@contextmanager
def _compared(old: StoredExport | None, listing: Listing[L, D]) -> Iterator[Diff | None]:
    """Lend the changes since an export, after the documents that seem to be removed have been requested."""
    if old is None:
        yield None
        return
    spool = listing.spool
    with spooled_diff(_verified(old, spool.subject), spool.documents(), spool.subject) as diff:
        if not listing.confirm_removed(each.id for each in diff.removed):
            yield diff
            return
    with spooled_diff(_verified(old, spool.subject), spool.documents(), spool.subject) as diff:
        yield diff


def _verified(old: StoredExport, subject: Subject[D]) -> Iterator[D]:
    """Yield the documents of an export that was verified before the listing, which may have taken hours.

    :raises ExportError: the file is another one by now
    """
    return read_documents(old.uri, subject, {old.manifest.sha256})


def _manifest(plan: ExportPlan, organization_id: str, listing: Listing[L, D], file: IO[bytes]) -> ExportManifest:
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
    plan: ExportPlan,
    subject: Subject[D],
    manifest: ExportManifest,
    old: StoredExport | None,
    caveats: tuple[str, ...],
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
        noun=subject.noun,
        compared_at=old and datetime.fromisoformat(old.manifest.created_at),
        compared_sha256=old and old.manifest.sha256,
    )


def _report(facts: ReportFacts, spool: Spool[D], diff: Diff | None) -> IO[bytes]:
    file = spool.file()
    page = TextIOWrapper(file, encoding="utf-8", newline="\n")
    html_report.write_report(page, facts, spool.documents(), diff)
    page.detach()  # flushes it and leaves the file open
    return file


def _log_diff(diff: Diff | None) -> None:
    if diff is not None:
        lines = "\n".join(islice(diff.lines(), MAX_LOGGED))
        log.info("%d added, %d removed, %d changed.\n%s", *diff.counts().values(), lines)
