"""The operators that export: every document in one file that is complete or absent, verifiable and comparable."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from airflow.providers.common.compat.sdk import AirflowFailException

from vi_airflow_provider.assets import events_of
from vi_airflow_provider.links.runs import ViRunLink
from vi_airflow_provider.operators.base import ViBaseOperator
from vi_airflow_provider.operators.selection import FlowSelectionOperator
from vi_airflow_provider.selection.combinations import FORMATS, Combination, comparison, export_format
from vi_airflow_provider.storage.places import earlier_export, written_file

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime, timedelta

    from airflow.providers.common.compat.sdk import Context

    from vi_airflow_provider.audit.export import Exported

_ARGUMENTS: Final = ("destination", "format", "compare_to", "fail_on_drift", "html_report", "csv_bom")


class ExportOperator(ViBaseOperator):
    """Base of the operators that write documents to a file with a manifest.

    The file is sorted by id, so the same documents give the same bytes. A reader sees the old file or the new one,
    never a part of one.

    :param destination: URL of the file, as ObjectStoragePath takes it; with the suffix ``.gz`` it is compressed
    :param format: ``"jsonl"`` (canonical JSON, one document per line), ``"csv"`` (safe for spreadsheets) or
        ``"parquet"``; by default what the suffix of ``destination`` implies, ``"jsonl"`` for any other suffix
    :param compare_to: URL of an earlier ``jsonl`` export; or ``"previous"``, the newest one in the folder of
        ``destination``; or URL of a folder, ending in ``/``: the newest one in it and its subfolders
    :param fail_on_drift: fail, after the export is written, if anything has changed since ``compare_to``
    :param html_report: write a page for people beside the export, with the changes and all documents
    :param csv_bom: begin a ``csv`` with a byte order mark, without which Excel misreads letters like ``ü``
    """

    template_fields: Sequence[str] = (*ViBaseOperator.template_fields, *_ARGUMENTS)
    choices: ClassVar = {"format": FORMATS}
    checks: ClassVar = {"destination": written_file, "compare_to": earlier_export}
    required: ClassVar = (("destination",),)
    combinations: ClassVar = (
        Combination(("format", "destination"), export_format),
        Combination(("compare_to", "fail_on_drift", "format", "destination"), comparison),
    )
    #: What is exported, in the singular.
    noun: ClassVar[Literal["flow", "run"]]
    page_size: int | None
    outputs: bool = False
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
        self.refuse_literals()

    @abstractmethod
    def criteria(self) -> dict[str, Any]:
        """Return the arguments that select documents, as they were given."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Export, and fail after that if there is drift and the task is to fail on it."""
        from vi_airflow_provider.audit import export

        with self.session(context) as hook:
            arguments = {name: getattr(self, name) for name in _ARGUMENTS}
            selection = export.Choice(self.criteria(), self.page_size, self.outputs)
            self._exported = exported = export.export(self.noun, hook, arguments, selection)
        result = exported.as_xcom()
        self._describe_in_outlet_events(context, result)
        if exported.fails:
            if task_instance := context.get("ti"):
                task_instance.xcom_push(key="return_value", value=result)
            # Without retries: another try would compare with what this one has written.
            raise AirflowFailException(exported.drift)
        return result

    def _describe_in_outlet_events(self, context: Context, result: dict[str, Any]) -> None:
        """Give the event of each outlet what the DAGs that are scheduled on it need."""
        for event in events_of(self.outlets, context):
            event.extra = {name: result[name] for name in ("uri", "count", "sha256")}

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Report to OpenLineage what was read and written, also if drift has failed the task."""
        if self._exported is None:
            return None
        from vi_airflow_provider.audit.lineage import export_lineage

        return export_lineage(self._exported.subject, self._exported.target, self._exported.manifest)


class ExportFlowsOperator(ExportOperator, FlowSelectionOperator):
    """Write the flows of an organization, all of them or those that match, to a file with a manifest.

    The file is sorted by flow id, so the same flows give the same bytes. A reader sees the old file or the new one,
    never a part of one.

    :return: ``{"uri", "manifest_uri", "report_uri", "count", "sha256", "added", "removed", "changed"}``; the last
        three are ``None`` if there was nothing to compare with
    """

    template_fields = (*FlowSelectionOperator.template_fields, *_ARGUMENTS)
    noun = "flow"

    criteria = FlowSelectionOperator.criteria


_RUN_CRITERIA: Final = (
    "states",
    "flow_id",
    "training_project",
    "attributes",
    "created_after",
    "created_before",
    "older_than",
)


class ExportRunsOperator(ExportOperator):
    """Write the training runs of an organization, all of them or those that match, to a file with a manifest.

    The file is sorted by run id, so the same runs give the same bytes. A reader sees the old file or the new one,
    never a part of one. It has no logs and no pre-signed URLs.

    :param outputs: with the metrics of the checkpoints, which takes a request for each run
    :param states: only runs in these states, like ``("succeeded",)``
    :param flow_id: only runs that this provider started of this flow
    :param training_project: only runs of this training project
    :param attributes: only runs that have these attributes with these values
    :param created_after: created at this time (aware datetime or ISO 8601 text) or later
    :param created_before: created earlier than this
    :param older_than: time since the last update, at least (timedelta or ISO 8601 duration like ``P90D``)
    :param limit: stop after this number of matching runs
    :param page_size: runs per request; the connection's setting by default
    :return: ``{"uri", "manifest_uri", "report_uri", "count", "sha256", "added", "removed", "changed"}``; the last
        three are ``None`` if there was nothing to compare with
    """

    template_fields = (*ExportOperator.template_fields, "outputs", *_RUN_CRITERIA, "limit", "page_size")
    operator_extra_links = (ViRunLink(),)
    noun = "run"

    def __init__(
        self,
        *,
        outputs: bool = True,
        states: Sequence[str] | str | None = None,
        flow_id: str | None = None,
        training_project: str | None = None,
        attributes: Mapping[str, str] | None = None,
        created_after: datetime | str | None = None,
        created_before: datetime | str | None = None,
        older_than: timedelta | str | None = None,
        limit: int | None = None,
        page_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.outputs = outputs
        self.states = states
        self.flow_id = flow_id
        self.training_project = training_project
        self.attributes = attributes
        self.created_after = created_after
        self.created_before = created_before
        self.older_than = older_than
        self.limit = limit
        self.page_size = page_size
        self.refuse_literals()

    def limiting_fields(self) -> Collection[str]:
        """Return the criteria: without one of them, other runs would be selected."""
        return (*_RUN_CRITERIA, "limit")

    def criteria(self) -> dict[str, Any]:
        """Return the arguments that select runs, as they were given."""
        given = {name: getattr(self, name) for name in (*_RUN_CRITERIA, "limit")}
        return {name: value for name, value in given.items() if value is not None}
