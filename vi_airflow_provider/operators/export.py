"""``ExportFlowsOperator``: every flow spec in one file that is complete or absent, verifiable and comparable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from airflow.providers.common.compat.sdk import AirflowFailException

from vi_airflow_provider.operators.selection import FlowSelectionOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from vi_airflow_provider.audit.export import Exported

_ARGUMENTS: Final = ("destination", "format", "compare_to", "fail_on_drift", "html_report", "csv_bom")


class ExportFlowsOperator(FlowSelectionOperator):
    """Write the flows of an organization, all of them or those that match, to a file with a manifest.

    The file is sorted by flow id, so the same flows give the same bytes. A reader sees the old file or the new one,
    never a part of one.

    :param destination: URL of the file, as ObjectStoragePath takes it; with the suffix ``.gz`` it is compressed
    :param format: ``"jsonl"`` (canonical JSON, one flow per line), ``"csv"`` (safe for spreadsheets) or ``"parquet"``;
        by default what the suffix of ``destination`` implies, ``"jsonl"`` for any other suffix
    :param compare_to: URL of an earlier ``jsonl`` export; or ``"previous"``, the newest one in the folder of
        ``destination``; or URL of a folder, ending in ``/``: the newest one in it and its subfolders
    :param fail_on_drift: fail, after the export is written, if anything has changed since ``compare_to``
    :param html_report: write a page for people beside the export, with the changes and all flows
    :param csv_bom: begin a ``csv`` with a byte order mark, without which Excel misreads letters like ``ü``
    :return: ``{"uri", "manifest_uri", "report_uri", "count", "sha256", "added", "removed", "changed"}``; the last
        three are ``None`` if there was nothing to compare with
    """

    template_fields = (*FlowSelectionOperator.template_fields, *_ARGUMENTS)
    #: What was written, for OpenLineage.
    _exported: Exported | None = None

    def __init__(
        self,
        *,
        destination: str,
        format: Literal["jsonl", "csv", "parquet"] | None = None,  # noqa: A002 - the field's word
        compare_to: str | None = None,
        fail_on_drift: bool = False,
        html_report: bool = False,
        csv_bom: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.format = format
        self.compare_to = compare_to
        self.fail_on_drift = fail_on_drift
        self.html_report = html_report
        self.csv_bom = csv_bom

    def execute(self, context: Context) -> dict[str, Any]:
        """Export, and fail after that if there is drift and the task is to fail on it."""
        from vi_airflow_provider.audit import export, plan

        with self.session(context) as hook:
            selection = plan.Selection.build(self.criteria(), self.page_size)
            arguments = {name: getattr(self, name) for name in _ARGUMENTS}
            planned = plan.ExportPlan.build(**arguments, selection=selection)
            self._exported = exported = export.export_flows(planned, hook, hook.settings.organization_id)
        result = exported.as_xcom()
        self._describe_in_outlet_events(context, result)
        if exported.drift and planned.fail_on_drift:
            if task_instance := context.get("ti"):
                task_instance.xcom_push(key="return_value", value=result)
            # Without retries: another try would compare with what this one has written.
            raise AirflowFailException(exported.drift)
        return result

    def _describe_in_outlet_events(self, context: Context, result: dict[str, Any]) -> None:
        """Give the event of each outlet what the DAGs that are scheduled on it need."""
        events: Any = context.get("outlet_events")
        for outlet in self.outlets if events is not None else ():
            if hasattr(outlet, "uri"):
                events[outlet].extra = {name: result[name] for name in ("uri", "count", "sha256")}

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Report to OpenLineage what was read and written, also if drift has failed the task."""
        if self._exported is None:
            return None
        from vi_airflow_provider.audit.lineage import export_lineage

        return export_lineage(self._exported.target, self._exported.manifest)
