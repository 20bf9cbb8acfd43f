"""Sensors for training runs: hold a DAG until a run is in a state."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final

from vi_airflow_provider.links.runs import ViRunLink
from vi_airflow_provider.selection.arguments import boolean
from vi_airflow_provider.selection.collection_arguments import States, check_of, some_states
from vi_airflow_provider.selection.combinations import Combination, target_of_run
from vi_airflow_provider.sensors.base import GateSensor
from vi_airflow_provider.task import LazyModule

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context
    from airflow.triggers.base import BaseTrigger
    from pydantic import BaseModel

    from vi_airflow_provider.api.models import Run
    from vi_airflow_provider.gates import run_condition
    from vi_airflow_provider.gates.run_condition import RunGate, RunTarget
    from vi_airflow_provider.hooks.vi import ViHook
    from vi_airflow_provider.triggers import run_states
else:
    run_condition = LazyModule("vi_airflow_provider.gates.run_condition")
    run_states = LazyModule("vi_airflow_provider.triggers.run_states")

_TARGET: Final = ("run_id", "flow_id", "training_project", "attributes")


class RunStateSensor(GateSensor):
    """Wait until a training run is in a state. Its XCom is the summary of the run, in every mode.

    A run that does not exist (yet) is waited for. A run in a state of ``fail_on`` fails the task, and so does, by
    default, a run that has ended and will not be in one of ``states`` any more.

    :param run_id: the run's id
    :param flow_id: or, with ``newest``: a run that this provider started of this flow
    :param training_project: or, with ``newest``: a run of this training project
    :param attributes: or, with ``newest``: a run that has these attributes
    :param newest: of the runs that match at the time of a poll, the newest one is meant
    :param states: state, or states, to wait for: ``"queued"``, ``"running"``, ``"succeeded"``, ``"failed"``,
        ``"killed"``
    :param fail_on: states that end the wait as a failure, unless they are among ``states``; by default ``"failed"`` and
        ``"killed"``, and ``"succeeded"`` as well if the run is given by ``run_id``
    """

    template_fields = (
        *GateSensor.template_fields,
        *("run_id", "flow_id", "training_project", "attributes", "newest", "states", "fail_on"),
    )
    operator_extra_links = (ViRunLink(),)
    _kind = "run"
    checks: ClassVar = {"states": some_states, "fail_on": check_of(States)}
    required: ClassVar = (_TARGET,)
    combinations: ClassVar = (Combination((*_TARGET, "newest"), target_of_run),)

    def __init__(
        self,
        *,
        run_id: str | None = None,
        flow_id: str | None = None,
        training_project: str | None = None,
        attributes: Mapping[str, str] | None = None,
        newest: bool | str = False,
        states: Sequence[str] | str = ("succeeded",),
        fail_on: Sequence[str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.run_id = run_id
        self.flow_id = flow_id
        self.training_project = training_project
        self.attributes = attributes
        self.newest = newest
        self.states = states
        self.fail_on = fail_on
        self.refuse_literals()

    def limiting_fields(self) -> Collection[str]:
        """Return what limits which runs are meant, and in which states: without it, the gate would open for others."""
        return ("flow_id", "training_project", "attributes", "states", "fail_on")

    def gate(self) -> RunGate:
        """Return what this sensor waits for, checked.

        :raises ViValidationError: an argument is unusable; the message names it
        """
        target = {name: getattr(self, name) for name in _TARGET}
        condition = {"states": self.states, "fail_on": self.fail_on}
        return run_condition.RunGate.build(target, condition, newest=boolean("newest", self.newest))

    @contextmanager
    def session(self, context: Context, flow_id: object = None) -> Iterator[ViHook]:
        """Lend the hook for a poll; the link leads to the run as soon as its id is known."""
        with super().session(context, flow_id) as hook:
            if isinstance(self.run_id, str):
                self._link(context, hook.settings.ui_url(run_id=self.run_id))
            yield hook

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """Take over from the triggerer: return the summary, or end as a wait in a worker ends."""
        summary = super().execute_complete(context, event)
        self._link(context, summary["url"])
        return summary

    def _find(self, hook: ViHook, target: RunTarget) -> Run | None:
        return target.find(hook)

    def _value(self, context: Context, run: Run) -> dict[str, Any]:
        outputs = self._call(lambda hook: list(hook.list_run_outputs(run.run_id))) if run.state.is_ended else []
        url = self.hook.settings.run_url(run)
        self._link(context, url)
        return run_states.summarize_found(run, outputs, url)

    def _trigger(self, gate: BaseModel, **pace: Any) -> BaseTrigger:
        stored = gate.model_dump(mode="json")
        return run_states.RunStateTrigger(vi_conn_id=self.vi_conn_id, gate=stored, **pace)

    def _link(self, context: Context, url: str) -> None:
        context["ti"].xcom_push(key=ViRunLink().xcom_key, value=url)
