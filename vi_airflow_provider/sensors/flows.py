"""Sensors for flows: hold a DAG until a flow exists, or meets a condition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from vi_airflow_provider.selection.combinations import Combination, absence, exactly_one
from vi_airflow_provider.sensors.base import FlowGateSensor

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import timedelta

_REQUIREMENTS: Final = ("expected_digest", "required_blocks", "min_generation", "attributes", "unchanged_for")


class FlowExistsSensor(FlowGateSensor):
    """Wait until a flow exists, by id or by name. Its XCom is the flow as a dict, in every mode.

    :param flow_id: the flow's id
    :param flow_name: or its exact name; of several flows with this name, the one that was updated last
    :param training_project: only wait for a flow of this training project
    """

    template_fields = (*FlowGateSensor.template_fields, "flow_id", "flow_name", "training_project")
    required: ClassVar = (("flow_id", "flow_name"),)
    combinations: ClassVar = (Combination(("flow_id", "flow_name"), exactly_one),)

    def __init__(
        self,
        *,
        flow_id: str | None = None,
        flow_name: str | None = None,
        training_project: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.flow_id = flow_id
        self.flow_name = flow_name
        self.training_project = training_project
        self.refuse_literals()

    def limiting_fields(self) -> Collection[str]:
        """Return what the flow must have besides its id or name: without it, the gate would open for another one."""
        return ("training_project",)

    def _target(self) -> dict[str, Any]:
        """Return the arguments that identify the flow."""
        return {"flow_id": self.flow_id, "flow_name": self.flow_name, "training_project": self.training_project}


class FlowSpecSensor(FlowGateSensor):
    """Wait until a flow meets all conditions at the same time, or no longer exists.

    :param flow_id: the flow's id
    :param expected_digest: digest of the spec (``Flow.digest``), for example of the one that was approved
    :param required_blocks: block types that must be in the pipeline
    :param min_generation: generation that must be reached
    :param attributes: attributes that the flow must have, with these values
    :param unchanged_for: time that must have passed since the last update (timedelta or ISO 8601 duration)
    :param absent: wait until the flow does not exist; it excludes all other conditions, and the XCom is ``None``
    """

    template_fields = (
        *FlowGateSensor.template_fields,
        "flow_id",
        *_REQUIREMENTS,
    )
    required: ClassVar = (("flow_id",),)
    combinations: ClassVar = (Combination(("absent", *_REQUIREMENTS), absence),)

    def __init__(
        self,
        *,
        flow_id: str,
        expected_digest: str | None = None,
        required_blocks: Sequence[str] | None = None,
        min_generation: int | None = None,
        attributes: Mapping[str, str] | None = None,
        unchanged_for: timedelta | str | None = None,
        absent: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.flow_id = flow_id
        self.expected_digest = expected_digest
        self.required_blocks = required_blocks
        self.min_generation = min_generation
        self.attributes = attributes
        self.unchanged_for = unchanged_for
        self.absent = absent
        self.refuse_literals()

    def limiting_fields(self) -> Collection[str]:
        """Return the conditions: without one of them, the gate would open too early."""
        return _REQUIREMENTS

    def _target(self) -> dict[str, Any]:
        """Return the argument that identifies the flow."""
        return {"flow_id": self.flow_id}

    def _condition(self) -> dict[str, Any]:
        """Return the arguments that the flow has to meet."""
        return {name: getattr(self, name) for name in (*_REQUIREMENTS, "absent")}
