"""``ExportFlowsOperator``: every flow spec in one file that is complete or absent, provable and comparable."""

from __future__ import annotations

import importlib.util
import json
import time
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, Final, Literal

from airflow.providers.common.compat.sdk import AirflowFailException

from vi_airflow_provider.operators.selection import FlowSelectionOperator
from vi_airflow_provider.selection.arguments import boolean, choice, optional_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from airflow.providers.common.compat.sdk import Context, ObjectStoragePath

    from vi_airflow_provider.api.models import Flow
    from vi_airflow_provider.audit.diff import Diff
    from vi_airflow_provider.audit.spool import FlowSpool
    from vi_airflow_provider.audit.writer import ExportManifest

#: Flows between two lines of progress in the task log.
PROGRESS: Final = 1000
#: Lines of a diff that the task log shows.
MAX_LOGGED: Final = 200


class ExportFlowsOperator(FlowSelectionOperator):
    """Write the flows of an organization, all of them or those that match, to a file with a manifest.

    The file is sorted by flow id, so the same flows give the same bytes. A reader sees the old file or the new one,
    never half of one.

    :param destination: URL of the file, as ObjectStoragePath takes it; with the suffix ``.gz`` it is compressed
    :param format: ``"jsonl"`` (canonical JSON, one flow a line), ``"csv"`` (safe for spreadsheets) or ``"parquet"``
    :param compare_to: URL of an earlier ``jsonl`` export; or ``"previous"``, the newest one in the folder of
        ``destination``; or URL of a folder, with ``/`` at its end: the newest one in it and in the folders below
    :param fail_on_drift: fail, after the export was written, if anything has changed since ``compare_to``
    :param html_report: write a page for a person beside the export, with what changed and all flows
    :return: ``{"uri", "manifest_uri", "report_uri", "count", "sha256", "added", "removed", "changed"}``; the last
        three are ``None`` where there was nothing to compare with
    """

    template_fields = (
        *FlowSelectionOperator.template_fields,
        *("destination", "format", "compare_to", "fail_on_drift", "html_report"),
    )
    #: What was written, for OpenLineage.
    _written: tuple[ObjectStoragePath, ExportManifest] | None = None

    def __init__(
        self,
        *,
        destination: str,
        format: Literal["jsonl", "csv", "parquet"] = "jsonl",  # noqa: A002 - the field's word
        compare_to: str | None = None,
        fail_on_drift: bool = False,
        html_report: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.format = format
        self.compare_to = compare_to
        self.fail_on_drift = fail_on_drift
        self.html_report = html_report

    def execute(self, context: Context) -> dict[str, Any]:
        """Spool, compare, write, publish."""
        from vi_airflow_provider.audit import writer
        from vi_airflow_provider.audit.spool import FlowSpool

        with self.session(context) as hook, FlowSpool() as spool:
            fail_on_drift = boolean("fail_on_drift", self.fail_on_drift)
            html_report = boolean("html_report", self.html_report)
            format_, target = self._checked(fail_on_drift=fail_on_drift)
            flows, organization_id = self.selected(hook), hook.settings.organization_id
            old_uri = self._old_export(target, organization_id)
            for flow in self._with_progress(flows):
                spool.add(flow)
            with self._compared(old_uri, spool) as diff:
                file = writer.write_file(spool, format_, compressed=target.name.endswith(".gz"))
                manifest = self._manifest(target, format_, organization_id, len(spool), file)
                report = self._report(spool, target, manifest, diff, old_uri) if html_report else None
                writer.publish(spool, target, file, manifest, report)
                self._written = target, manifest
                result: dict[str, Any] = {
                    "uri": str(target),
                    "manifest_uri": str(writer.manifest_path(str(target))),
                    "report_uri": str(writer.report_path(str(target))) if html_report else None,
                    "count": manifest.count,
                    "sha256": manifest.sha256,
                    "added": None if diff is None else len(diff.added),
                    "removed": None if diff is None else len(diff.removed),
                    "changed": None if diff is None else len(diff.changed),
                }
                self._tell(context, result, diff)
                drifted = bool(diff)
        if drifted and fail_on_drift:
            if task_instance := context.get("ti"):
                task_instance.xcom_push(key="return_value", value=result)
            # Not to be retried: a second try would compare with what this one has written.
            raise AirflowFailException(
                f"The flows differ from {old_uri}: {result['added']} added, {result['removed']} removed, "
                f"{result['changed']} changed."
            )
        return result

    def _checked(self, *, fail_on_drift: bool) -> tuple[str, ObjectStoragePath]:
        from vi_airflow_provider.api.errors import ViValidationError
        from vi_airflow_provider.audit.writer import FORMATS

        format_ = choice("format", self.format, FORMATS)
        if format_ == "parquet" and importlib.util.find_spec("pyarrow") is None:
            raise ViValidationError("format: parquet needs pyarrow: install vi-airflow-provider[parquet]")
        target = _place("destination", self.destination)
        if self.destination.endswith("/"):
            raise ViValidationError(f"destination: {self.destination!r:.200} is a folder; add the name of the file")
        if (target.parent / target.name).path != target.path:  # to an object store, a//b is another folder than a/b
            raise ViValidationError(
                f"destination: {self.destination!r:.200} has an empty part before the name of the file; "
                "write one slash there; what a template fills in may end with one already"
            )
        if format_ == "parquet" and self.destination.endswith(".gz"):
            raise ViValidationError("destination: a parquet file is compressed inside, so it has no .gz")
        if optional_text("compare_to", self.compare_to) not in (None, "previous"):
            _place("compare_to", self.compare_to)
        if self.compare_to is not None and format_ != "jsonl":
            raise ViValidationError('compare_to: only exports with format="jsonl" can be compared')
        if fail_on_drift and self.compare_to is None:
            raise ViValidationError("fail_on_drift: give compare_to, too; there is no drift without a comparison")
        return format_, target

    def _with_progress(self, flows: Iterator[Flow]) -> Iterator[Flow]:
        began = time.monotonic()
        for number, flow in enumerate(flows, 1):
            if number % PROGRESS == 0:
                rate = number / max(time.monotonic() - began, 1e-9)
                self.log.info("%s flows so far, %s a second.", f"{number:,}", f"{rate:,.0f}")
            yield flow

    def _old_export(self, target: ObjectStoragePath, organization_id: str) -> str | None:
        """Find what to compare with, and check it, before hours are spent on reading flows."""
        from airflow.providers.common.compat.sdk import ObjectStoragePath

        from vi_airflow_provider.audit import writer

        if self.compare_to is None:
            return None
        if self.compare_to == "previous":
            old = writer.newest_export(target.parent, organization_id, but=target)
        elif self.compare_to.endswith("/"):
            old = writer.newest_export(ObjectStoragePath(self.compare_to), organization_id, but=target, below=True)
        else:
            old = self.compare_to
            manifest = writer.verify(old)
            if manifest.format != "jsonl":
                raise writer.ExportError(f"compare_to: {old} is a {manifest.format} export; only jsonl can be compared")
            if manifest.organization_id != organization_id:
                self.log.warning("%s is an export of another organization, %.200r", old, manifest.organization_id)
        if old is None:
            place = f"{target.parent}/" if self.compare_to == "previous" else self.compare_to
            self.log.warning(
                "Nothing to compare with: there is no earlier jsonl export of this organization in %s", place
            )
        else:
            self.log.info("Comparing with %s", old)
        return old

    def _compared(self, old_uri: str | None, spool: FlowSpool) -> AbstractContextManager[Diff | None]:
        from contextlib import nullcontext

        if old_uri is None:
            return nullcontext()
        from vi_airflow_provider.audit import writer
        from vi_airflow_provider.audit.stored_diff import spooled_diff

        return spooled_diff(writer.read_export(old_uri), spool.flows())

    def _manifest(
        self, target: ObjectStoragePath, format_: str, organization_id: str, count: int, file: IO[bytes]
    ) -> ExportManifest:
        from vi_airflow_provider import __version__
        from vi_airflow_provider.audit import writer

        sha256, size = writer.measured(file)
        return writer.ExportManifest(
            file=target.name,
            format=format_,
            count=count,
            sha256=sha256,
            size=size,
            created_at=datetime.now(UTC).isoformat(),
            organization_id=organization_id,
            filters=json.loads(json.dumps(self.criteria(), default=str)),
            provider_version=__version__,
        )

    def _report(
        self, spool: FlowSpool, target: ObjectStoragePath, manifest: ExportManifest, diff: Diff | None, old: str | None
    ) -> IO[bytes]:
        from io import TextIOWrapper

        from vi_airflow_provider.audit.report import ReportFacts, write_report

        facts = ReportFacts(
            organization_id=manifest.organization_id,
            exported_at=datetime.fromisoformat(manifest.created_at),
            count=manifest.count,
            sha256=manifest.sha256,
            uri=str(target),
            compared_to=old,
            provider_version=manifest.provider_version,
        )
        file = spool.file()
        page = TextIOWrapper(file, encoding="utf-8", newline="\n")
        write_report(page, facts, spool.flows(), diff)
        page.detach()
        return file

    def _tell(self, context: Context, result: dict[str, Any], diff: Diff | None) -> None:
        from itertools import islice

        self.log.info("%s flows exported: %s, sha256 %s", f"{result['count']:,}", result["uri"], result["sha256"])
        if diff is not None:
            lines = "\n".join(islice(diff.lines(), MAX_LOGGED))
            counts = (result["added"], result["removed"], result["changed"])
            self.log.info("%d added, %d removed, %d changed.\n%s", *counts, lines)
        # What the event of each outlet tells the DAGs that are scheduled on it.
        events: Any = context.get("outlet_events")
        for outlet in self.outlets if events is not None else ():
            if hasattr(outlet, "uri"):
                events[outlet].extra = {name: result[name] for name in ("uri", "count", "sha256")}

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Tell OpenLineage what was read and what was written; after drift, too, when the task has failed."""
        if self._written is None:
            return None
        from vi_airflow_provider.audit.lineage import export_lineage

        return export_lineage(*self._written)


def _place(name: str, value: Any) -> ObjectStoragePath:
    """Return an argument that is a URL in a storage that there is."""
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from vi_airflow_provider.api.errors import ViValidationError
    from vi_airflow_provider.storage.files import refuse_secrets

    refuse_secrets(name, value if isinstance(value, str) else "")
    if not isinstance(value, str) or not ("://" in value or value.startswith("/")):
        # A template that rendered to None would otherwise be a file of this name, wherever the worker runs.
        raise ViValidationError(f"{name}: {value!r:.80} is no URL and no absolute path")
    try:
        path = ObjectStoragePath(value)
        path.fs  # noqa: B018 - found when it is asked for
    except (ValueError, ImportError) as error:
        reason = f"{name}: {value!r:.200}: {error}"
    else:
        return path
    raise ViValidationError(reason)
