"""Operators for training runs that exist already; ``operators.runs`` exports them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from vi_airflow_provider.api.errors import ViNotFoundError, ViValidationError
from vi_airflow_provider.api.run_state import RunState
from vi_airflow_provider.links.runs import ViRunLink
from vi_airflow_provider.operators.base import ViBaseOperator
from vi_airflow_provider.selection.arguments import boolean, identifier, optional_count
from vi_airflow_provider.task import LazyModule, instance_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from vi_airflow_provider.api.models import Run
    from vi_airflow_provider.hooks.vi import ViHook
    from vi_airflow_provider.selection import run_filter
    from vi_airflow_provider.training import identity, starting, summary
else:
    run_filter = LazyModule("vi_airflow_provider.selection.run_filter")
    identity = LazyModule("vi_airflow_provider.training.identity")
    starting = LazyModule("vi_airflow_provider.training.starting")
    summary = LazyModule("vi_airflow_provider.training.summary")

_CRITERIA: Final = ("states", "flow_id", "training_project", "attributes", "older_than")


class ViRunBaseOperator(ViBaseOperator):
    """Base of the operators for a run that exists already.

    :param run_id: the run's id
    """

    template_fields: Sequence[str] = (*ViBaseOperator.template_fields, "run_id")
    operator_extra_links = (ViRunLink(),)
    required: ClassVar[Sequence[Collection[str]]] = (("run_id",),)

    def __init__(self, *, run_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.run_id = run_id
        self.refuse_literals()

    def _announce(self, context: Context, run: Run) -> str:
        """Store the link to the run, and return its address."""
        url = self.hook.settings.run_url(run)
        context["ti"].xcom_push(key=ViRunLink().xcom_key, value=url)
        return url


class GetRunOperator(ViRunBaseOperator):
    """Read one training run and its checkpoints.

    :param run_id: the run's id
    :param if_missing: ``"fail"`` or ``"skip"`` the task when there is no such run
    :param best_metric: name of a metric and ``"max"`` or ``"min"``: the result names the best checkpoint by it
    :return: the summary of the run
    """

    template_fields = (*ViRunBaseOperator.template_fields, "if_missing", "best_metric")
    choices: ClassVar = {"if_missing": ("fail", "skip")}

    def __init__(
        self,
        *,
        if_missing: Literal["fail", "skip"] = "fail",
        best_metric: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.if_missing = if_missing
        self.best_metric = best_metric
        self.refuse_literals()

    def execute(self, context: Context) -> dict[str, Any]:
        """Read and return."""
        with self.session(context) as hook:
            if_missing = self.chosen("if_missing")
            metric = summary.BestMetric.build(self.best_metric)
            try:
                run = hook.get_run(identifier("run_id", self.run_id))
            except ViNotFoundError:
                if if_missing == "fail":
                    raise
                raise AirflowSkipException(f"There is no run {self.run_id}.") from None
            url = self._announce(context, run)
            outputs = list(hook.list_run_outputs(run.run_id))
        self.log.info("Run %s: %s.", run.run_id, run.state.value)
        return summary.summarize(run, outputs, metric, adopted=False, url=url)


class KillRunOperator(ViRunBaseOperator):
    """Kill a training run. A kill is permanent, and used credits are not refunded.

    :param run_id: the run's id
    :param if_ended: how the task ends if there is nothing to kill, because the run has ended or does not exist:
        ``"success"``, ``"skip"`` or ``"fail"``
    :param wait: wait until the run is reported as ended; without it, return once the kill is accepted
    :return: ``{"run_id", "outcome"}``; the outcome is ``"killed"``, ``"already_ended"`` or ``"already_absent"``
    """

    template_fields = (*ViRunBaseOperator.template_fields, "if_ended", "wait")
    choices: ClassVar = {"if_ended": ("success", "skip", "fail")}

    def __init__(
        self,
        *,
        if_ended: Literal["success", "skip", "fail"] = "success",
        wait: bool | str = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.if_ended = if_ended
        self.wait = wait
        self.refuse_literals()

    def execute(self, context: Context) -> dict[str, str]:
        """Kill, and return what became of it."""
        with self.session(context) as hook:
            if_ended = self.chosen("if_ended")
            wait = boolean("wait", self.wait)
            outcome = self._kill(context, hook, wait=wait)
        self.log.info("Run %s: %s.", self.run_id, outcome)
        if outcome != "killed" and if_ended != "success":
            message = f"Run {self.run_id} was not killed: {outcome.replace('_', ' ')}."
            raise AirflowSkipException(message) if if_ended == "skip" else AirflowFailException(message)
        return {"run_id": self.run_id, "outcome": outcome}

    def _kill(self, context: Context, hook: ViHook, *, wait: bool) -> str:
        stamp = {identity.KILLED_BY: instance_of(context)}

        def killed_by_us(run: Run) -> bool:
            # A run that succeeded before the kill took effect carries the stamp, too. One whose kill was requested is
            # in the state KILLED unless a condition reports that it has succeeded.
            return run.state is RunState.KILLED and stamp.items() <= run.metadata.attributes.items()

        try:
            run = hook.get_run(identifier("run_id", self.run_id))
        except ViNotFoundError:
            return "already_absent"
        self._announce(context, run)
        # An earlier try of this task may have killed it.
        if run.has_stopped or (run.spec.killed_at is not None and not wait):
            return "killed" if killed_by_us(run) else "already_ended"
        ended = starting.kill_and_wait(hook, run.run_id, stamp) if wait else hook.kill_run(run.run_id, attributes=stamp)
        return "killed" if ended is None or killed_by_us(ended) else "already_ended"


class ListRunsOperator(ViBaseOperator):
    """List the training runs of an organization, all of them or those that match.

    :param states: only runs in these states, like ``("succeeded",)``
    :param flow_id: only runs that this provider started of this flow
    :param training_project: only runs of this training project
    :param attributes: only runs that have these attributes with these values
    :param older_than: minimum time since the last update (timedelta or ISO 8601 duration)
    :param limit: at most this many runs
    :param result: what to return of each run: ``"summaries"`` or ``"ids"``
    :param max_xcom_bytes: size of the result as JSON above which the task fails; ``None`` for no bound
    :return: a list of summaries or of ids, newest run first
    """

    template_fields = (*ViBaseOperator.template_fields, *_CRITERIA, "limit", "result")
    choices: ClassVar = {"result": ("summaries", "ids")}

    def __init__(
        self,
        *,
        states: Sequence[str] | str | None = None,
        flow_id: str | None = None,
        training_project: str | None = None,
        attributes: Mapping[str, str] | None = None,
        older_than: timedelta | str | None = None,
        limit: int | None = None,
        result: Literal["summaries", "ids"] = "summaries",
        max_xcom_bytes: int | None = 4 * 1024 * 1024,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.states = states
        self.flow_id = flow_id
        self.training_project = training_project
        self.attributes = attributes
        self.older_than = older_than
        self.limit = limit
        self.result = result
        self.max_xcom_bytes = max_xcom_bytes
        self.refuse_literals()

    def limiting_fields(self) -> Collection[str]:
        """Return the criteria: without one of them, other runs would be selected."""
        return (*_CRITERIA, "limit")

    def execute(self, context: Context) -> list[Any]:
        """List, select and return."""
        with self.session(context) as hook:
            shape = self.chosen("result")
            bound = optional_count("max_xcom_bytes", self.max_xcom_bytes)
            runs = self._selected(hook)
            ids = [run.run_id for run in runs]
            found = (
                ids
                if shape == "ids"
                else [summary.summarize_listed(run, url=hook.settings.run_url(run)) for run in runs]
            )
            size = len(json.dumps(found))
            if bound is not None and size > bound:
                what = f"{len(found)} runs are {size} bytes, more than max_xcom_bytes={bound}"
                raise ViValidationError(f'{what}; return "ids", select fewer runs, or set limit')
        self.log.info("%d runs match.", len(found))
        return found

    def _selected(self, hook: ViHook) -> list[Run]:
        wanted = run_filter.RunFilter.build(**{name: getattr(self, name) for name in _CRITERIA})
        limit = optional_count("limit", self.limit)
        return list(run_filter.selected_runs(hook, wanted, datetime.now(UTC), limit))
