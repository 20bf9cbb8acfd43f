"""Training projects, accelerators and what else surrounds runs (VI_API.md sections 3 and 5)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from vi_airflow_provider.api.models.document import DeletedDocument, Document, ResourceMetadata


class TrainingProjectSpec(Document):
    """What a training project is. Its type cannot be changed later."""

    name: str
    type: str
    description: str | None = None


class TrainingProjectStatus(Document):
    """What belongs to a training project, as ids."""

    runs: list[str] = Field([])
    flows: list[str] = Field([])
    run_outputs: list[str] = Field([])
    tasks: list[Any] = Field([])


class TrainingProject(Document):
    """A training project: the place where flows and runs of one task are kept together."""

    kind: Literal["TrainingProject"] = "TrainingProject"
    organization_id: str = Field(alias="workspaceId")
    training_project_id: str
    spec: TrainingProjectSpec
    status: TrainingProjectStatus | None = None
    metadata: ResourceMetadata
    self_link: str
    etag: str


class DeletedTrainingProject(DeletedDocument):
    """What became of the delete of a training project."""


class NameConflict(Document):
    """Why a training project cannot be created: its id or its name is taken."""

    kind: str


class NameCheck(Document):
    """The result of a check whether a training project can be created."""

    errors: list[NameConflict]


class AcceleratorConfiguration(Document):
    """Whether a flow may run on this many units of an accelerator; ``action`` is ``Allow``, ``Warn`` or ``Deny``."""

    count: int
    action: str
    reason: str | None = None


class AcceleratorItem(Document):
    """An accelerator, and how a flow may use it."""

    accelerator: dict[str, Any]
    configurations: list[AcceleratorConfiguration]


class FlowAcceleratorList(Document):
    """The accelerators on which a flow could run."""

    kind: Literal["FlowAcceleratorList"] = "FlowAcceleratorList"
    organization_id: str = Field(alias="workspaceId")
    flow_id: str
    flow_requirements: dict[str, Any] = Field({})
    items: list[AcceleratorItem]

    @property
    def is_denied(self) -> bool:
        """Is every configuration of every accelerator denied, or is there none?"""
        return all(c.action == "Deny" for item in self.items for c in item.configurations)


class Organization(Document):
    """An organization (the wire calls it a workspace)."""

    organization_id: str = Field(alias="workspaceId")
    name: str | None = None
