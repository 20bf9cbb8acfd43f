"""What a gate waits for: frozen data, evaluated by one pure function in every mode of every sensor."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from vi_airflow_provider.api.errors import ViValidationError, one_line
from vi_airflow_provider.api.validation import checked_id, describe_errors
from vi_airflow_provider.selection.arguments import Duration, Text, boolean, milliseconds, optional_count
from vi_airflow_provider.selection.collection_arguments import Attributes, Texts, check_of
from vi_airflow_provider.selection.combinations import absence, exactly_one

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Self

    from vi_airflow_provider.api.models import Flow


K_co = TypeVar("K_co", covariant=True)
D_contra = TypeVar("D_contra", contravariant=True)


class Target(BaseModel):
    """The flow that a gate waits for: by id, or by name, optionally within a training project."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flow_id: str | None = None
    flow_name: Text | None = None
    training_project: Text | None = None

    def __str__(self) -> str:
        project = f" in training project {self.training_project!r}" if self.training_project else ""
        return f"flow {self.flow_id or repr(self.flow_name)}{project}"


class Verdict(NamedTuple):
    """Whether a gate opens, and the reason for the task log; with ``failed``, it never will."""

    met: bool
    reason: str
    failed: bool = False


class Condition(Protocol[D_contra]):
    """What is required of a document."""

    def judge(self, document: D_contra | None, now: datetime, /) -> Verdict:
        """Evaluate the condition at the time ``now``; the document is ``None`` if it does not exist."""


class Awaited(Protocol[K_co, D_contra]):
    """What a wait is for: any gate, whatever kind of document it is about."""

    @property
    def target(self) -> K_co:
        """The document."""

    @property
    def condition(self) -> Condition[D_contra]:
        """What is required of it."""


class FlowCondition(BaseModel):
    """What the flow must be like; without parameters it must only exist.

    :param absent: the flow must not exist; nothing else can be required then
    :param expected_digest: ``Flow.digest`` that the spec must have
    :param required_blocks: block types that must be in the pipeline
    :param min_generation: generation that must be reached
    :param attributes: attributes that the flow must have, with these values
    :param unchanged_for: time that must have passed since the last update
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    absent: bool = False
    expected_digest: Text | None = None
    required_blocks: Texts = ()
    min_generation: int | None = None
    attributes: dict[str, str] = {}
    unchanged_for: Duration | None = None

    def judge(self, flow: Flow | None, now: datetime) -> Verdict:
        """Evaluate the condition at the time ``now``.

        :param flow: what was found, ``None`` if the flow does not exist
        """
        if flow is None:
            return Verdict(self.absent, "it does not exist")
        if self.absent:
            return Verdict(False, "it still exists")
        for lacks in self._lacking(flow, now):
            return Verdict(False, one_line(lacks))
        return Verdict(True, f"it is there: {flow.spec.name!r:.200}")

    def _lacking(self, flow: Flow, now: datetime) -> list[str]:
        lacking = []
        if self.min_generation is not None and flow.metadata.generation < self.min_generation:
            lacking.append(f"its generation is {flow.metadata.generation}, not yet {self.min_generation}")
        missing = set(self.required_blocks) - {block.block for block in flow.spec.blocks}
        if missing:
            lacking.append(f"it has no block {', '.join(sorted(missing))}")
        for key, value in self.attributes.items():
            if flow.metadata.attributes.get(key) != value:
                lacking.append(f"its attribute {key} is not {value!r}")
        if self.expected_digest is not None and flow.digest != self.expected_digest:
            lacking.append(f"its digest is {flow.digest}")
        if self.unchanged_for is not None:
            lacking += _recent_update(flow, now, self.unchanged_for)
        return lacking


#: What a user writes is checked more strictly than what an earlier version has stored.
WRITTEN: Final[dict[str, Callable[[str, Any], Any]]] = {
    "absent": boolean,
    "attributes": check_of(Attributes),
    "min_generation": optional_count,
}


class Gate(BaseModel):
    """A target and a condition: everything that a sensor waits for, as data that can be stored and read again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: Target
    condition: FlowCondition = FlowCondition()

    @classmethod
    def build(cls, target: dict[str, Any], condition: dict[str, Any] | None = None) -> Self:
        """Check what a user gives; ``None`` counts as not given.

        :raises ViValidationError: a value is unusable; the message names the argument
        """
        condition = given(condition or {})
        written = {name: check(name, condition[name]) for name, check in WRITTEN.items() if name in condition}
        try:
            # Separately, so that an error names the argument alone.
            gate = cls(target=Target(**given(target)), condition=FlowCondition(**{**condition, **written}))
        except ValidationError as error:
            reason = describe_errors(error)
        else:
            exactly_one(flow_id=gate.target.flow_id, flow_name=gate.target.flow_name)
            if gate.target.flow_id is not None:
                checked_id(gate.target.flow_id)
            absence(**gate.condition.model_dump())
            return gate
        raise ViValidationError(reason)


def _recent_update(flow: Flow, now: datetime, unchanged_for: timedelta) -> list[str]:
    """Return the reason why a flow has not been left alone long enough, if there is one."""
    updated, created = flow.metadata.last_updated, flow.metadata.time_created
    if updated <= 0 or updated < created:  # a placeholder; an unknown time is not a long time ago
        return [f"its time of update is unknown ({updated})"]
    # As integers, because a server may send any number.
    age = max(0, milliseconds(now) - updated)
    if age < unchanged_for / timedelta(milliseconds=1):
        return [f"it was changed {timedelta(milliseconds=age)} ago"]
    return []


def given(values: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that are not ``None``."""
    return {key: value for key, value in values.items() if value is not None}
