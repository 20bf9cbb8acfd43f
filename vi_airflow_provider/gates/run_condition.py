"""What a gate waits for at a training run: frozen data, evaluated by one pure function in every mode of the sensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from vi_airflow_provider.api.errors import ViNotFoundError, ViValidationError, one_line
from vi_airflow_provider.api.models import Run, RunState
from vi_airflow_provider.api.run_state import FLOW_ID_ATTRIBUTE
from vi_airflow_provider.api.validation import checked_id, describe_errors
from vi_airflow_provider.gates.condition import Verdict, given
from vi_airflow_provider.selection.arguments import AttributeValue, Items, Text
from vi_airflow_provider.selection.collection_arguments import OneOrSeveral, State, some_states
from vi_airflow_provider.selection.combinations import target_of_run
from vi_airflow_provider.selection.matching import attributes_match

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Self

    from vi_airflow_provider.api.verbs import BlockingVerbs


def _pairs(value: Any) -> Any:
    return tuple(value.items()) if isinstance(value, Mapping) else value


States = Annotated[tuple[State, ...], Items, OneOrSeveral]

#: A run with a known id stays in these; of several runs, a newer one may be in another.
_ENDED: Final = tuple(state for state in RunState if state.is_ended)


class RunTarget(BaseModel):
    """The run that a gate waits for: by id, or the newest one that matches.

    :param flow_id: runs that this provider started of this flow
    :param training_project: runs of this training project
    :param attributes: runs that have these attributes; as pairs, so that a target can be the key of a mapping
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: Text | None = None
    flow_id: Text | None = None
    training_project: Text | None = None
    attributes: Annotated[tuple[tuple[str, AttributeValue], ...], BeforeValidator(_pairs)] = ()

    @classmethod
    def watched(
        cls, flow_id: str | None, training_project: str | None, attributes: Mapping[str, str] | None
    ) -> RunTarget:
        """Return what all runs with these properties match; ``None`` does not matter.

        :raises ViValidationError: a value is unusable; the message names it
        """
        wanted = {"flow_id": flow_id, "training_project": training_project, "attributes": attributes}
        try:
            target = cls(**given(wanted))
        except ValidationError as error:
            reason = describe_errors(error)
        else:
            if flow_id is not None:
                checked_id(flow_id)
            return target
        raise ViValidationError(reason)

    def __str__(self) -> str:
        if self.run_id is not None:
            return f"run {self.run_id}"
        parts = [f" of flow {self.flow_id}" if self.flow_id else ""]
        parts.append(f" in training project {self.training_project!r}" if self.training_project else "")
        parts.append(f" with attributes {dict(self.attributes)!r:.200}" if self.attributes else "")
        return one_line(f"newest run{''.join(parts)}")

    def matches(self, run: Run) -> bool:
        """Return whether a run can be meant."""
        attributes = run.metadata.attributes
        return (
            self.run_id in (None, run.run_id)
            and self.flow_id in (None, attributes.get(FLOW_ID_ATTRIBUTE))
            and self.training_project in (None, run.spec.training_project)
            and attributes_match(dict(self.attributes), attributes)
        )

    def find(self, client: BlockingVerbs) -> Run | None:
        """Return the run as it is now, ``None`` if it does not exist."""
        if self.run_id is None:
            return max(filter(self.matches, client.list_runs()), key=age, default=None)
        try:
            return client.get_run(self.run_id)
        except ViNotFoundError:
            return None


def age(run: Run) -> tuple[int, str]:
    """Return a sort key by which the newest run is the greatest."""
    return run.metadata.time_created, run.run_id


class RunCondition(BaseModel):
    """In which state the run must be.

    :param states: the gate opens in these
    :param fail_on: the wait fails in these, unless they are among ``states``
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    states: States = (RunState.SUCCEEDED,)
    fail_on: States = (RunState.FAILED, RunState.KILLED)

    def judge(self, run: Run | None, _now: datetime) -> Verdict:
        """Evaluate the condition.

        :param run: what was found, ``None`` if there is no such run (yet)
        """
        if run is None:
            return Verdict(False, "it does not exist")
        state = run.state
        cause = f": {run.reason}" if run.reason and state in (RunState.FAILED, RunState.KILLED) else ""
        past = [name.value for name in self.states if not name.is_ended] if state.is_ended else []
        cause += f"; it will not be {' or '.join(past)} any more" if past else ""
        reason = one_line(f"run {run.run_id} {_VERBS[state]}{cause}")
        return Verdict(state in self.states, reason, state in self.fail_on and state not in self.states)


_VERBS: Final = {
    RunState.QUEUED: "is queued",
    RunState.RUNNING: "is running",
    RunState.SUCCEEDED: "has succeeded",
    RunState.FAILED: "has failed",
    RunState.KILLED: "was killed",
}


class RunGate(BaseModel):
    """A target and a condition: everything that a sensor waits for, as data that can be stored and read again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: RunTarget
    condition: RunCondition = RunCondition()

    @classmethod
    def build(cls, target: dict[str, Any], condition: dict[str, Any], *, newest: bool) -> Self:
        """Check what a user gives; ``None`` counts as not given.

        Without ``fail_on``, the wait for a run with a known id fails in every state in which it stays.

        :param newest: of several runs that match, the newest one is meant
        :raises ViValidationError: a value is unusable; the message names the argument
        """
        default = {} if target.get("run_id") is None else {"fail_on": _ENDED}
        try:
            gate = cls(target=RunTarget(**given(target)), condition=RunCondition(**{**default, **given(condition)}))
        except ValidationError as error:
            reason = describe_errors(error)
        else:
            gate._check(newest=newest)
            return gate
        raise ViValidationError(reason)

    def _check(self, *, newest: bool) -> None:
        target = self.target
        target_of_run(**{**target.model_dump(), "attributes": dict(target.attributes)}, newest=newest)
        if target.run_id is not None:
            checked_id(target.run_id, "run id")
        if target.flow_id is not None:
            checked_id(target.flow_id)
        some_states("states", self.condition.states)
