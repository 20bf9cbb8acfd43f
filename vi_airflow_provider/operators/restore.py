"""``RestoreFlowsOperator``: restores deleted flows from an archive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.providers.common.compat.sdk import AirflowFailException

from vi_airflow_provider.operators.cleanup import CleanupOperator
from vi_airflow_provider.selection.literals import optional
from vi_airflow_provider.storage.places import written_place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context


class RestoreFlowsOperator(CleanupOperator):
    """Restore flows from an archive: same ids, specs and attributes, including fields unknown to this provider.

    The archive is verified first. A flow that exists as archived is left alone, so the task can be retried. A flow that
    is edited during the restore is left alone, too.

    :param archive: URL of the archive, as ``PruneFlowsOperator`` reports it
    :param flow_ids: restore only these; all flows of the archive by default
    :param if_exists: what to do with a flow that exists with another spec or other attributes: ``"fail"`` before
        anything is written, ``"skip"`` it, or ``"replace"`` it
    :return: the ids of the flows that were written
    """

    template_fields = (*CleanupOperator.template_fields, "archive", "flow_ids", "if_exists")
    ui_color = "#e4f5e6"
    choices: ClassVar = {"if_exists": ("fail", "skip", "replace")}
    checks: ClassVar = {"archive": optional(written_place)}
    required: ClassVar = (("archive",),)

    def __init__(
        self,
        *,
        archive: str,
        flow_ids: Sequence[str] | None = None,
        if_exists: Literal["fail", "skip", "replace"] = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.archive = archive
        self.flow_ids = flow_ids
        self.if_exists = if_exists
        self.refuse_literals()

    def execute(self, context: Context) -> list[str]:
        """Check the archive, compare its flows with the server's, then write."""
        from vi_airflow_provider.cleanup import restore

        with self.session(context) as hook:
            if_exists = self.chosen("if_exists")
            flows = restore.archived_flows(self.archive, self.flow_ids)
            try:
                return restore.Restore(hook.get_conn(), if_exists, self.killed).run(flows)
            except restore.ExistsError as error:
                raise AirflowFailException(str(error)) from error
