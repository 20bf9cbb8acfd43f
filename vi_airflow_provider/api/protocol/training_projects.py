"""The verbs for what surrounds runs: training projects, accelerators, quota, statistics and the organization.

VI_API.md section 3, rows 7 to 10 and 20 to 25.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Literal

from vi_airflow_provider.api import models
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.models import FlowSpec
from vi_airflow_provider.api.protocol import codec, run_codec
from vi_airflow_provider.api.protocol.messages import Steps
from vi_airflow_provider.api.protocol.outcomes import ErrorContext
from vi_airflow_provider.api.protocol.paging import Paginator
from vi_airflow_provider.api.protocol.resource_calls import ResourceCalls
from vi_airflow_provider.api.validation import checked_id

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import (
        DeletedTrainingProject,
        FlowAcceleratorList,
        NameConflict,
        Organization,
        TrainingProject,
    )

_TYPES: Final = ("phrase-grounding", "vqa", "freeform")


class TrainingProjectCalls(ResourceCalls):
    """The calls for the training projects of one organization, and for what a run needs to start."""

    def list_training_projects(
        self, *, page_size: int | None = None, limit: int | None = None
    ) -> Paginator[TrainingProject]:
        """Yield all training projects, one page at a time as they are consumed."""
        identity = attrgetter("training_project_id")
        return self._paginator("trainingProjects", self._parse_listed, identity, page_size, limit)

    def get_training_project(self, training_project_id: str) -> Steps[TrainingProject]:
        """Return one training project.

        :raises ViNotFoundError: there is no training project with this id
        """
        return (yield from self._project("GET", training_project_id))

    def create_training_project(
        self,
        training_project_id: str,
        name: str,
        type: Literal["phrase-grounding", "vqa", "freeform"],  # noqa: A002 - the field's name
        *,
        description: str | None = None,
    ) -> Steps[TrainingProject]:
        """Create a training project (PUT), or replace the one of this id. Its type cannot be changed later."""
        if type not in _TYPES:
            raise ViValidationError(f"type: {type!r:.80} is not one of {', '.join(map(repr, _TYPES))}")
        spec = {"name": name, "type": type} | ({} if description is None else {"description": description})
        return (yield from self._project("PUT", training_project_id, {"spec": spec}))

    def update_training_project(
        self,
        training_project_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        attributes: Mapping[str, str | None] | None = None,
    ) -> Steps[TrainingProject]:
        """Change the given fields and attributes of a training project (PATCH); ``None`` removes an attribute."""
        spec = {key: value for key, value in {"name": name, "description": description}.items() if value is not None}
        body: dict[str, Any] = ({"spec": spec} if spec else {}) | codec.wire_metadata(attributes, removable=True)
        if not body:
            raise ViValidationError("nothing to update: give a name, a description, or attributes")
        return (yield from self._project("PATCH", training_project_id, body))

    def delete_training_project(self, training_project_id: str) -> Steps[DeletedTrainingProject]:
        """Delete a training project. An absent one is no error (``already_absent``)."""
        deleted = yield from self._delete(_path(training_project_id))
        return models.DeletedTrainingProject(id=training_project_id, deleted=deleted, already_absent=not deleted)

    def check_training_project_name(self, training_project_id: str, name: str) -> Steps[list[NameConflict]]:
        """Return what keeps a training project from being created: its id or its name may be taken."""
        checked_id(training_project_id, "training project id")
        body = {"trainingProjectId": training_project_id, "spec": {"name": name}}
        request = self._request("POST", "/trainingProjects", body, root="/dryRuns/workspaces")
        response, context = yield from self._exchange(self._begin(request))
        content = codec.json_content(response, context, "a document")
        return codec.parse_document(models.NameCheck, content, context).errors

    # --- what a run needs --------------------------------------------------------------------------------------

    def list_accelerators(
        self, flow_id: str, spec: FlowSpec | Mapping[str, Any] | None = None
    ) -> Steps[FlowAcceleratorList]:
        """Return the accelerators on which a flow may run.

        :param spec: preview for this spec, which is not stored, instead of the one of the flow
        """
        path = f"/flows/{checked_id(flow_id)}/accelerators"
        body = None if spec is None else {"spec": codec.wire_spec(FlowSpec.complete, spec)}
        method = "GET" if body is None else "POST"
        found, context = yield from self._document(models.FlowAcceleratorList, method, path, body)
        codec.check_identity("flow", found.flow_id, flow_id, context)
        self._check_organization(found, context)
        return found

    def get_quota(self) -> Steps[dict[str, Any]]:
        """Return the limits and balances of the organization, in the words of the server (no contract is known)."""
        return (yield from self._object("/quota"))

    def get_flow_statistics(self, flow_id: str) -> Steps[dict[str, Any]]:
        """Return the aggregation statistics of a flow, in the words of the server (no contract is known)."""
        return (yield from self._object(f"/flows/{checked_id(flow_id)}/aggregationStatistics"))

    def generate_flow_statistics(self, flow_id: str) -> Steps[None]:
        """Ask the server to compute the aggregation statistics of a flow; it does so asynchronously."""
        path = f"/flows/{checked_id(flow_id)}/aggregationStatistics:generate"
        yield from self._exchange(self._begin(self._request("POST", path)))

    def get_organization(self) -> Steps[Organization]:
        """Return the organization of the connection."""
        found, context = yield from self._document(models.Organization, "GET", "")
        self._check_organization(found, context)
        return found

    # --- requests ----------------------------------------------------------------------------------------------

    def _project(
        self, method: str, training_project_id: str, body: Mapping[str, Any] | None = None
    ) -> Steps[TrainingProject]:
        found, context = yield from self._document(models.TrainingProject, method, _path(training_project_id), body)
        codec.check_identity("training project", found.training_project_id, training_project_id, context)
        self._check_organization(found, context)
        return found

    def _parse_listed(self, content: bytes, context: ErrorContext, json_path: str) -> TrainingProject:
        project = codec.parse_document(models.TrainingProject, content, context, json_path)
        self._check_organization(project, context)
        return project

    def _check_organization(
        self, document: Organization | TrainingProject | FlowAcceleratorList, context: ErrorContext
    ) -> None:
        codec.check_identity("organization", document.organization_id, self.settings.organization_id, context)

    def _object(self, path: str) -> Steps[dict[str, Any]]:
        response, context = yield from self._exchange(self._begin(self._request("GET", path)))
        return run_codec.parse_object(response, context)


def _path(training_project_id: object) -> str:
    return f"/trainingProjects/{checked_id(training_project_id, 'training project id')}"
