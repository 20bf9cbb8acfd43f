"""``ExportFlowsOperator``: every flow spec in one file that is complete or absent, provable and comparable."""

from __future__ import annotations

import importlib.util
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from airflow.providers.common.compat.sdk import AirflowFailException

from vi_airflow_provider.operators.base import choice, flag, given
from vi_airflow_provider.operators.selection import FlowSelectionOperator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.common.compat.sdk import Context, ObjectStoragePath

    from vi_airflow_provider.api.models import Flow
    from vi_airflow_provider.audit import Diff
    from vi_airflow_provider.exports import ExportManifest, FlowSpool

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
    :param compare_to: URL of an earlier ``jsonl`` export, or ``"previous"`` for the newest one in the folder
    :param fail_on_drift: fail, after the export was written, if anything has changed since ``compare_to``
    :param html_report: write a page for a person beside the export, with what changed and all flows
    :return: ``{"uri", "manifest_uri", "report_uri", "count", "sha256", "added", "removed", "changed"}``; the last
        three are ``None`` where there was nothing to compare with
    """

    template_fields = (*FlowSelectionOperator.template_fields, "destination", "format", "compare_to", "fail_on_drift")

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
        """Spool, write, compare, publish."""
        from vi_airflow_provider import exports

        with self.vi(context) as hook, exports.FlowSpool() as spool:
            fail_on_drift, html_report = (
                flag("fail_on_drift", self.fail_on_drift),
                flag("html_report", self.html_report),
            )
            format_, target = self._checked(fail_on_drift=fail_on_drift)
            flows = self.selected(hook)
            old_uri = self._old_export(target, hook.settings.organization_id)
            for flow in self._with_progress(flows):
                spool.add(flow)
            diff = self._compare(old_uri, spool)
            manifest = self._publish(spool, target, format_, hook.settings.organization_id)
            result: dict[str, Any] = {
                "uri": str(target),
                "manifest_uri": str(exports.manifest_path(str(target))),
                "report_uri": self._report(spool, target, manifest, diff, old_uri) if html_report else None,
                "count": manifest.count,
                "sha256": manifest.sha256,
                "added": None if diff is None else len(diff.added),
                "removed": None if diff is None else len(diff.removed),
                "changed": None if diff is None else len(diff.changed),
            }
        self._tell(context, result, diff)
        if diff and fail_on_drift:
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
        from vi_airflow_provider.exports import FORMATS

        format_ = choice("format", self.format, FORMATS)
        if format_ == "parquet" and importlib.util.find_spec("pyarrow") is None:
            raise ViValidationError("format: parquet needs pyarrow: install vi-airflow-provider[parquet]")
        target = _file("destination", self.destination)
        if format_ == "parquet" and self.destination.endswith(".gz"):
            raise ViValidationError("destination: a parquet file is compressed inside, so it has no .gz")
        if given("compare_to", self.compare_to) not in (None, "previous"):
            _file("compare_to", self.compare_to)
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
        from vi_airflow_provider import exports

        if self.compare_to == "previous":
            return exports.previous_export(target, organization_id)
        if self.compare_to is not None:
            exports.verify(self.compare_to)
        return self.compare_to

    def _compare(self, old_uri: str | None, spool: FlowSpool) -> Diff | None:
        if old_uri is None:
            return None
        from vi_airflow_provider import audit, exports

        return audit.diff_exports(exports.read_export(old_uri), spool.flows())

    def _publish(
        self, spool: FlowSpool, target: ObjectStoragePath, format_: str, organization_id: str
    ) -> ExportManifest:
        from vi_airflow_provider import __version__, exports

        path = exports.write_file(spool, format_, compressed=target.name.endswith(".gz"))
        manifest = exports.ExportManifest(
            file=target.name,
            format=format_,
            count=len(spool),
            sha256=exports.file_sha256(path),
            size=path.stat().st_size,
            created_at=datetime.now(UTC).isoformat(),
            organization_id=organization_id,
            filters=json.loads(json.dumps(self.criteria(), default=str)),
            provider_version=__version__,
        )
        exports.publish(spool, target, path, manifest)
        return manifest

    def _report(
        self, spool: FlowSpool, target: ObjectStoragePath, manifest: ExportManifest, diff: Diff | None, old: str | None
    ) -> str:
        from vi_airflow_provider.report import ReportFacts, write_report
        from vi_airflow_provider.storage import write_atomically

        facts = ReportFacts(
            organization_id=manifest.organization_id,
            exported_at=datetime.fromisoformat(manifest.created_at),
            count=manifest.count,
            sha256=manifest.sha256,
            uri=str(target),
            compared_to=old,
            provider_version=manifest.provider_version,
        )
        page = spool.path / "report.html"
        with page.open("w", encoding="utf-8", newline="\n") as file:
            write_report(file, facts, spool.flows(), diff)
        path = target.parent / f"{target.name}.report.html"
        write_atomically(path, page)
        return str(path)

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
        """Tell OpenLineage what was read and what was written."""
        from airflow.providers.common.compat.openlineage.facet import Dataset
        from airflow.providers.common.compat.sdk import ObjectStoragePath
        from airflow.providers.openlineage.extractors import OperatorLineage

        target = ObjectStoragePath(self.destination)
        place = target.fs.unstrip_protocol(target.path)
        scheme, _, path = place.partition("://")
        bucket, _, key = path.partition("/")
        namespace, name = ("file", f"/{path.lstrip('/')}") if scheme == "file" else (f"{scheme}://{bucket}", key)
        source = Dataset(namespace=f"vi://{self.hook.settings.organization_id}", name="flows")
        return OperatorLineage(inputs=[source], outputs=[Dataset(namespace=namespace, name=name)])


def _file(name: str, value: Any) -> ObjectStoragePath:
    """Return an argument that is the URL of a file in a storage that there is."""
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from vi_airflow_provider.api.errors import ViValidationError
    from vi_airflow_provider.storage import refuse_secrets

    refuse_secrets(name, value if isinstance(value, str) else "")
    if not isinstance(value, str) or not ("://" in value or value.startswith("/")):
        # A template that rendered to None would otherwise be a file of this name, wherever the worker runs.
        raise ViValidationError(f"{name}: {value!r:.80} is no URL and no absolute path of a file")
    if value.endswith("/"):
        raise ViValidationError(f"{name}: {value!r:.200} is a folder; add the name of the file")
    try:
        path = ObjectStoragePath(value)
        path.fs  # noqa: B018 - found when it is asked for
    except (ValueError, ImportError) as error:
        reason = f"{name}: {value!r:.200}: {error}"
    else:
        return path
    raise ViValidationError(reason)
