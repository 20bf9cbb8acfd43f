"""Operators for flows: one small class per verb.

Values may be templates or XComs, so they are checked when the task runs, never when the DAG file is parsed. Anything
heavy is imported then, too.
"""

from __future__ import annotations

import json
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from vi_airflow_provider.api.errors import ViConflictError, ViNotFoundError, ViValidationError
from vi_airflow_provider.api.validation import checked_object
from vi_airflow_provider.links.flows import ViFlowLink
from vi_airflow_provider.operators.base import ViBaseOperator
from vi_airflow_provider.operators.cleanup import CleanupOperator
from vi_airflow_provider.operators.export import ExportFlowsOperator
from vi_airflow_provider.operators.prune import PruneFlowsOperator
from vi_airflow_provider.operators.restore import RestoreFlowsOperator
from vi_airflow_provider.operators.selection import FlowSelectionOperator
from vi_airflow_provider.selection.arguments import choice, optional_count
from vi_airflow_provider.selection.literals import wire_attributes
from vi_airflow_provider.storage.places import written_folder
from vi_airflow_provider.task import LazyModule, instance_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow.providers.common.compat.sdk import Context

    from vi_airflow_provider.api.models import Flow, FlowSpec
    from vi_airflow_provider.hooks.vi import ViHook
    from vi_airflow_provider.selection import desired
else:
    desired = LazyModule("vi_airflow_provider.selection.desired")

__all__ = [
    "CreateFlowOperator",
    "DeleteFlowOperator",
    "ExportFlowsOperator",
    "GetFlowOperator",
    "ListFlowsOperator",
    "PruneFlowsOperator",
    "RestoreFlowsOperator",
    "UpdateFlowOperator",
]


class ListFlowsOperator(FlowSelectionOperator):
    """List the flows of an organization, all of them or those that match.

    :param result: what to return of each flow: ``"flows"`` (all of it), ``"summaries"`` or ``"ids"``
    :param max_xcom_bytes: size of the result as JSON above which the task fails; ``None`` for no bound
    :return: a list of flow dicts, of summaries or of ids, newest flow first
    """

    template_fields = (*FlowSelectionOperator.template_fields, "result")
    choices: ClassVar = {"result": ("flows", "summaries", "ids")}

    def __init__(
        self,
        *,
        result: Literal["flows", "summaries", "ids"] = "flows",
        max_xcom_bytes: int | None = 4 * 1024 * 1024,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.result = result
        self.max_xcom_bytes = max_xcom_bytes
        self.refuse_literals()

    def execute(self, context: Context) -> list[Any]:
        """List, select and return."""
        found = []
        with self.session(context) as hook:
            shape = _SHAPES[choice("result", self.result, _SHAPES)]
            bound = optional_count("max_xcom_bytes", self.max_xcom_bytes)
            size = 0
            for value, length in map(partial(self._shaped, shape), self.selected(hook)):
                found.append(value)
                # A running sum: of 100,000 flows that are refused, only the first are read.
                size += length + 2
                if bound is not None and size > bound:
                    raise _too_large(len(found), bound)
        self.log.info("%d flows match.", len(found))
        return found

    def _shaped(self, shape: Callable[[Flow], Any], flow: Flow) -> tuple[Any, int]:
        """Return a flow as a part of the result, and its size as JSON."""
        value = shape(flow)
        text = json.dumps(value)
        if '"__' in text:  # all reserved keys begin like this, and searching the text is faster
            self.check_xcom(value, flow.flow_id)
        return value, len(text)


class GetFlowOperator(ViBaseOperator):
    """Read one flow.

    :param flow_id: the flow's id
    :param if_missing: ``"fail"`` or ``"skip"`` the task when there is no such flow
    :return: the flow as a dict, for ``Flow.model_validate``
    """

    template_fields = (*ViBaseOperator.template_fields, "flow_id", "if_missing")
    choices: ClassVar = {"if_missing": ("fail", "skip")}
    required: ClassVar = (("flow_id",),)

    def __init__(self, *, flow_id: str, if_missing: Literal["fail", "skip"] = "fail", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.flow_id = flow_id
        self.if_missing = if_missing
        self.refuse_literals()

    def execute(self, context: Context) -> dict[str, Any]:
        """Read and return."""
        with self.session(context, self.flow_id) as hook:
            if_missing = self.chosen("if_missing")
            try:
                flow = hook.get_flow(self.flow_id)
            except ViNotFoundError:
                if if_missing == "fail":
                    raise
                raise AirflowSkipException(f"There is no flow {self.flow_id}.") from None
            result = self.returned(flow)
        self.log.info("Flow %s: %.200r", self.flow_id, flow.spec.name)
        return result


class DeleteFlowOperator(CleanupOperator):
    """Delete one flow. The server refuses to delete a flow that a run uses (``ViConflictError``).

    :param flow_id: the flow's id
    :param if_missing: how the task ends if there is no such flow: ``"success"``, ``"skip"`` or ``"fail"``; a flow that
        this task archived, in this or an earlier try, existed
    :param expected_etag: delete the flow only if it still has this etag, as in a listing
    :param if_changed: how the task ends if it has another one: ``"fail"`` or ``"skip"``; the flow is left alone
    :param archive_to: URL of a folder; the flow is written there and verified before it is deleted
    :param dry_run: read only; delete nothing
    :return: ``{"flow_id", "outcome", "archive"}``; the outcome is ``"deleted"``, ``"already_absent"`` or
        ``"would_delete"``, and an earlier try may have written the archive
    """

    template_fields = (
        *ViBaseOperator.template_fields,
        "flow_id",
        "if_missing",
        "expected_etag",
        "if_changed",
        "archive_to",
        "dry_run_requested",
    )
    ui_color = "#fbe4e4"
    choices: ClassVar = {"if_missing": ("success", "skip", "fail"), "if_changed": ("fail", "skip")}
    checks: ClassVar = {"archive_to": written_folder}
    required: ClassVar = (("flow_id",),)

    def __init__(
        self,
        *,
        flow_id: str,
        if_missing: Literal["success", "skip", "fail"] = "success",
        expected_etag: str | None = None,
        if_changed: Literal["fail", "skip"] = "fail",
        archive_to: str | None = None,
        dry_run: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.flow_id = flow_id
        self.if_missing = if_missing
        self.expected_etag = expected_etag
        self.if_changed = if_changed
        self.archive_to = archive_to
        # Not `dry_run`, which is a method of every operator (`airflow tasks test --dry-run`).
        self.dry_run_requested = dry_run
        self.refuse_literals()

    def execute(self, context: Context) -> dict[str, Any]:
        """Delete the flow, after the reads and the archive that the arguments require."""
        from vi_airflow_provider.cleanup import single

        with self.session(context, self.flow_id) as hook:
            if_missing = self.chosen("if_missing")
            if_changed = self.chosen("if_changed")
            attempt = single.Attempt(**self.attempt(context, self.flow_id))
            request = single.DeleteRequest.of(
                self.flow_id, attempt, self.expected_etag, self.archive_to, self.dry_run_requested
            )
            try:
                deleted = single.delete(request, hook.get_conn(), self.killed)
            except single.ChangedError as error:
                raise (AirflowSkipException if if_changed == "skip" else AirflowFailException)(str(error)) from error
            if deleted.missing and if_missing == "fail":
                raise single.not_found(self.flow_id)
        if deleted.missing and if_missing == "skip":
            raise AirflowSkipException(f"There is no flow {self.flow_id}.")
        return deleted.as_json()


class CreateFlowOperator(ViBaseOperator):
    """Create a flow, once: a retry of the task finds what an earlier try created.

    :param spec: the flow's spec, with keys in snake_case or camelCase; ``tolerations`` and ``settings`` may be
        left out
    :param attributes: text to find the flow by
    :param flow_id: id of the flow; by default one that this task instance gets again when it is retried, another one in
        each ``namespace`` of the connection
    :param if_exists: what to do when a flow of this id exists that differs: ``"fail"``, ``"skip"`` the task, or
        ``"replace"`` it
    :return: the flow as a dict
    """

    template_fields = (*ViBaseOperator.template_fields, "spec", "attributes", "flow_id", "if_exists")
    ui_color = "#e4f5e6"
    choices: ClassVar = {"if_exists": ("fail", "skip", "replace")}
    checks: ClassVar = {"spec": partial(checked_object, what="a flow spec"), "attributes": wire_attributes}
    required: ClassVar = (("spec",),)

    def __init__(
        self,
        *,
        spec: FlowSpec | Mapping[str, Any],
        attributes: Mapping[str, str] | None = None,
        flow_id: str | None = None,
        if_exists: Literal["fail", "skip", "replace"] = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.spec = spec
        self.attributes = attributes
        self.flow_id = flow_id
        self.if_exists = if_exists
        self.refuse_literals()

    def execute(self, context: Context) -> dict[str, Any]:
        """Read, then write if needed; each attempt to write reads again."""
        with self.session(context, self.flow_id) as hook:
            # An empty id is refused: a template rendered to nothing.
            flow_id = self._own_flow_id(context, hook) if self.flow_id is None else self.flow_id
            if_exists = self.chosen("if_exists")
            wanted = desired.DesiredFlow.build(self.spec, self.attributes)
            self.check_xcom(wanted.document())
            guard = desired.WriteGuard(wanted, replace=if_exists == "replace")
            write = hook.put_flow_if(flow_id, self.spec, self.attributes, matches=guard)
            flow = guard.accepted(write, earlier_try=self._may_have_created(context))
            if flow is None:
                raise self._refusal(flow_id, if_exists)
            what = "written" if write.written else "exists already, as desired"
            self.log.info("Flow %s: %.200r, %s", flow_id, flow.spec.name, what)
            return self.returned(flow)

    def _own_flow_id(self, context: Context, hook: ViHook) -> str:
        """Derive a flow id from the task instance: a retry derives it again, and cannot create a second flow."""
        instance, namespace = instance_of(context), hook.settings.namespace
        seed = instance if namespace is None else json.dumps([namespace, instance])
        flow_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"vi-airflow-provider:{seed}"))
        context["ti"].xcom_push(key=ViFlowLink().xcom_key, value=hook.settings.ui_url(flow_id))
        return flow_id

    def _may_have_created(self, context: Context) -> bool:
        """May an earlier try of this task have created a flow of this id?"""
        return self.flow_id is None or ("ti" in context and context["ti"].try_number > 1)

    def _refusal(self, flow_id: str, if_exists: str) -> Exception:
        if if_exists == "skip":
            return AirflowSkipException(f"Flow {flow_id} exists.")
        if if_exists == "fail":
            return AirflowFailException(
                f'Flow {flow_id} exists with another spec or other attributes; if_exists="replace" would overwrite it.'
            )
        return ViConflictError(
            f"flow {flow_id} was changed or deleted while it was being replaced; it is left alone",
            advice="Run the task again to replace what is there now.",
        )


class UpdateFlowOperator(ViBaseOperator):
    """Change the given parts of a flow.

    :param flow_id: the flow's id
    :param spec: fields of the spec to change; ``blocks`` replaces all blocks
    :param attributes: attributes to set, or with ``None`` to remove
    :return: the changed flow as a dict
    """

    template_fields = (*ViBaseOperator.template_fields, "flow_id", "spec", "attributes")
    ui_color = "#e4f5e6"
    checks: ClassVar = {
        "spec": partial(checked_object, what="a flow spec"),
        "attributes": partial(wire_attributes, removable=True),
    }
    required: ClassVar = (
        ("flow_id",),
        ("spec", "attributes"),
    )

    def __init__(
        self,
        *,
        flow_id: str,
        spec: Mapping[str, Any] | None = None,
        attributes: Mapping[str, str | None] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.flow_id = flow_id
        self.spec = spec
        self.attributes = attributes
        self.refuse_literals()

    def execute(self, context: Context) -> dict[str, Any]:
        """Change and return."""
        with self.session(context, self.flow_id) as hook:
            self.check_xcom(desired.patch_document(self.spec, self.attributes))
            flow = hook.update_flow(self.flow_id, spec=self.spec, attributes=self.attributes)
            self.log.info(
                "Updated flow %s: %.200r, generation %d", self.flow_id, flow.spec.name, flow.metadata.generation
            )
            return self.returned(flow)


def _summary(flow: Flow) -> dict[str, Any]:
    return {
        "flow_id": flow.flow_id,
        "name": flow.spec.name,
        "training_project": flow.spec.training_project,
        "time_created": flow.metadata.time_created,
        "last_updated": flow.metadata.last_updated,
        "generation": flow.metadata.generation,
        "attributes": flow.metadata.attributes,
        "etag": flow.etag,
        "block_count": len(flow.spec.blocks),
    }


def _whole(flow: Flow) -> dict[str, Any]:
    return flow.model_dump(mode="json")


def _flow_id(flow: Flow) -> str:
    return flow.flow_id


_SHAPES: Final[Mapping[str, Callable[[Flow], Any]]] = {"flows": _whole, "summaries": _summary, "ids": _flow_id}


def _too_large(number: int, bound: int) -> ViValidationError:
    return ViValidationError(
        f"the first {number:,} flows have more than max_xcom_bytes ({bound:,}) as an XCom. Return less, with "
        'result="ids" or a narrower filter, or write the flows to a file with ExportFlowsOperator'
    )
