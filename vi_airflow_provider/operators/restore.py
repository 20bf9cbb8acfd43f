"""``RestoreFlowsOperator``: bring back what was deleted, from an archive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowFailException

from vi_airflow_provider.operators.base import ViBaseOperator
from vi_airflow_provider.selection.arguments import choice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from vi_airflow_provider.api.models import Flow
    from vi_airflow_provider.hooks.vi import ViHook


class RestoreFlowsOperator(ViBaseOperator):
    """Write flows of an archive back: same ids, specs and attributes, with the fields that we do not know.

    The archive is checked against its manifest first. A flow that is there already as the archive has it is left
    alone, so the task can be retried.

    :param archive: URL of the archive, as ``PruneFlowsOperator`` reports it
    :param flow_ids: restore only these; all of the archive by default
    :param if_exists: what to do when a flow of this id is there with another spec or other attributes: ``"fail"``
        before anything is written, ``"skip"`` this flow, or ``"replace"`` it
    :return: the ids of the flows that were written
    """

    template_fields = (*ViBaseOperator.template_fields, "archive", "flow_ids", "if_exists")
    ui_color = "#e4f5e6"

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

    def execute(self, context: Context) -> list[str]:
        """Check the archive, look at what is there, then write."""
        with self.session(context) as hook:
            if_exists = choice("if_exists", self.if_exists, ("fail", "skip", "replace"))
            flows = self._wanted()
            missing, different = self._compare(flows, hook)
            if different and if_exists == "fail":
                raise AirflowFailException(
                    f"{len(different)} flows exist with another spec or other attributes, {different[0].flow_id} among "
                    'them; if_exists="replace" would overwrite them. Nothing was written.'
                )
            for flow in missing + (different if if_exists == "replace" else []):
                hook.restore_flow(flow.to_wire())
                self.log.info("Restored flow %s: %.200r", flow.flow_id, flow.spec.name)
        written = missing + (different if if_exists == "replace" else [])
        self.log.info(
            "%d flows restored, %d were there already, %d were left as they are.",
            *(len(written), len(flows) - len(missing) - len(different), len(different) if if_exists == "skip" else 0),
        )
        return [flow.flow_id for flow in written]

    def _wanted(self) -> list[Flow]:
        from vi_airflow_provider.api.errors import ViValidationError
        from vi_airflow_provider.cleanup.archive import read_archive

        flows = {flow.flow_id: flow for flow in read_archive(self.archive)}
        if self.flow_ids is None:
            return list(flows.values())
        if isinstance(self.flow_ids, str):
            raise ViValidationError("flow_ids: a list of ids expected, a text given")
        unknown = [flow_id for flow_id in self.flow_ids if flow_id not in flows]
        if unknown:
            raise ViValidationError(f"flow_ids: {unknown[0]!r:.80} is not in the archive ({len(unknown)} are not)")
        return [flows[flow_id] for flow_id in dict.fromkeys(self.flow_ids)]

    def _compare(self, flows: Sequence[Flow], hook: ViHook) -> tuple[list[Flow], list[Flow]]:
        """Return those that are not there, and those that are there with other content."""
        missing, different = [], []
        for flow in flows:
            existing = hook.find_flow(flow_id=flow.flow_id)
            if existing is None:
                missing.append(flow)
            elif _content(existing) != _content(flow):
                different.append(flow)
        return missing, different


def _content(flow: Flow) -> bytes:
    """Return what a restore brings back. As bytes, because for Python 1, 1.0 and True are equal."""
    from vi_airflow_provider.api.canonical import canonical_json

    return canonical_json([flow.spec.to_wire(), flow.metadata.attributes])
