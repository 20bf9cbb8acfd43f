"""Operators for training runs."""

from __future__ import annotations

import math
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn

from airflow.providers.common.compat.sdk import AirflowFailException, conf

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.validation import checked_object
from vi_airflow_provider.assets import events_of, may_be_of_models
from vi_airflow_provider.links.runs import ViRunLink
from vi_airflow_provider.operators.base import ViBaseOperator
from vi_airflow_provider.operators.existing_runs import GetRunOperator, KillRunOperator, ListRunsOperator
from vi_airflow_provider.operators.export import ExportRunsOperator
from vi_airflow_provider.operators.prune_runs import KillOverdueRunsOperator, PruneRunsOperator
from vi_airflow_provider.operators.run_outputs import ExportModelOperator, ExportRunLogsOperator, GetRunOutputsOperator
from vi_airflow_provider.selection.arguments import boolean, interval, optional_seconds
from vi_airflow_provider.selection.combinations import Combination, exactly_one
from vi_airflow_provider.selection.literals import optional, wire_attributes
from vi_airflow_provider.selection.overrides import checked_overrides
from vi_airflow_provider.task import task_state

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context

    from vi_airflow_provider.api.models import Flow, FlowSpec, Run
    from vi_airflow_provider.api.settings import ViSettings
    from vi_airflow_provider.training.job import TrainingJob
    from vi_airflow_provider.training.starting import TakenUp

__all__ = [
    "RUN_ID_KEY",
    "ExportModelOperator",
    "ExportRunLogsOperator",
    "ExportRunsOperator",
    "GetRunOperator",
    "GetRunOutputsOperator",
    "KillOverdueRunsOperator",
    "KillRunOperator",
    "ListRunsOperator",
    "PruneRunsOperator",
    "StartRunOperator",
]

#: XCom key of the run's id, which is there before the task waits.
RUN_ID_KEY = "vi_run_id"


def _waits(*, wait_for_completion: Any, outlets: Iterable[Any]) -> bool:
    """Return whether a task waits for the run.

    :raises ViValidationError: the task does not wait, and an outlet is the models of a flow, or may be: Airflow would
        announce a new model as soon as the run is started
    """
    waits = boolean("wait_for_completion", wait_for_completion)
    if not waits and (early := [outlet for outlet in outlets if may_be_of_models(outlet)]):
        named = early[0].uri if hasattr(early[0], "uri") else f"the asset named {early[0].name!r}"
        raise ViValidationError(
            f"outlets: {named} would announce a model before there is one; wait for the run, or give the outlet to a "
            "task after it"
        )
    return waits


class StartRunOperator(ViBaseOperator):
    """Start a training run of a flow once, and wait for it; whatever dies, a retry finds the run again.

    Every try derives the id of the run from the task instance. A retry takes over what an earlier try has started, and
    a cleared task trains again. Airflow's ``retries`` are for Airflow's troubles; how often a run may be paid for is
    ``max_runs``. A run that a person has killed in Vi is not started again.

    The event of an outlet that is an asset, or a reference to one, gets ``run_id``, ``run_output_id``, ``epoch``,
    ``metrics`` and ``digest``.

    :param flow_id: id of the flow to train
    :param flow: instead of its id, the flow (the XCom of ``GetFlowOperator``) or a bare spec
    :param overrides: changes to the copy of the flow that is trained: a JSON merge patch in which blocks are named by
        their type, like ``{"settings": {"seed": 8}, "blocks": {"trainer": {"settings": {"epochs": 3}}}}``
    :param training_project: id of the training project of the run; by default, the one of the flow
    :param attributes: text to find the run by
    :param wait_for_completion: wait until the run has ended; without it, return as soon as it is started
    :param deferrable: wait on the triggerer instead of in a worker
    :param poll_interval: time between two polls (seconds, timedelta or ISO 8601 duration)
    :param timeout: time that the task may wait for the run; then the run is killed. A retry has it again
    :param max_queue_time: time that the run may wait for an accelerator; then it is killed
    :param max_duration: time that the run may train; then it is killed
    :param max_runs: number of runs that may be started until the task is cleared, if runs fail
    :param on_clear: what becomes of an active run when its task is cleared: ``"restart"`` kills it and starts another,
        ``"adopt"`` goes on with it
    :param cancel_on_kill: kill the run when a person fails the task, marks it as successful, or clears it without
        ``on_clear="adopt"``, while the task waits for the run
    :param best_metric: name of a metric and ``"max"`` or ``"min"``: the result names the best checkpoint by it
    :param tail_logs: show the log of the run in the task's log while a worker waits
    :return: the summary of the run: state, times, metrics of the latest and the best checkpoint, and its address
    """

    template_fields = (
        *ViBaseOperator.template_fields,
        *("flow_id", "flow", "overrides", "training_project", "attributes", "wait_for_completion", "poll_interval"),
        *("timeout", "max_queue_time", "max_duration", "max_runs", "on_clear", "best_metric", "tail_logs"),
    )
    operator_extra_links = (ViRunLink(),)
    ui_color = "#fdf0dc"
    _context: Context | None = None
    _stop: threading.Event | None = None
    #: The run as it was read last, and the result if it has succeeded, for OpenLineage.
    _run: Run | None = None
    _result: dict[str, Any] | None = None
    choices: ClassVar = {"on_clear": ("restart", "adopt")}
    checks: ClassVar = {
        "flow": optional(partial(checked_object, what="a flow")),
        "overrides": checked_overrides,
        "attributes": wire_attributes,
        "poll_interval": interval,
        "timeout": optional_seconds,
    }
    required: ClassVar = (("flow_id", "flow"),)
    combinations: ClassVar = (
        Combination(("flow_id", "flow"), exactly_one),
        Combination(("wait_for_completion",), _waits, also=("outlets",)),
    )

    def __init__(
        self,
        *,
        flow_id: str | None = None,
        flow: Flow | FlowSpec | Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
        training_project: str | None = None,
        attributes: Mapping[str, str] | None = None,
        wait_for_completion: bool | str = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: timedelta | float | str = 60,
        timeout: timedelta | float | str | None = None,
        max_queue_time: timedelta | float | str | None = None,
        max_duration: timedelta | float | str | None = None,
        max_runs: int = 1,
        on_clear: Literal["restart", "adopt"] = "restart",
        cancel_on_kill: bool = True,
        best_metric: Sequence[str] | None = None,
        tail_logs: bool | str = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.flow_id = flow_id
        self.flow = flow
        self.overrides = overrides
        self.training_project = training_project
        self.attributes = attributes
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.max_queue_time = max_queue_time
        self.max_duration = max_duration
        self.max_runs = max_runs
        self.on_clear = on_clear
        self.cancel_on_kill = cancel_on_kill
        self.best_metric = best_metric
        self.tail_logs = tail_logs
        self.refuse_literals()

    def limiting_fields(self) -> Collection[str]:
        """Return the limits of the run's time, and thus of its costs, and what determines which run is paid for."""
        what = ("overrides", "training_project", "attributes", "best_metric")
        return (*what, "timeout", "max_queue_time", "max_duration")

    def pre_execute(self, context: Any) -> None:
        """Remember the task instance: Airflow may call :meth:`on_kill` on an operator that has executed nothing."""
        super().pre_execute(context)
        self._context = context
        self._stop = threading.Event()

    def execute(self, context: Context) -> dict[str, Any]:
        """Start the run or find it again, then wait for it here or on the triggerer."""
        with self._job(context) as job:
            waits = _waits(wait_for_completion=self.wait_for_completion, outlets=self.outlets)
            taken = job.take_up(self._known_run(context, job.identity.generation))
            job.check_stopped()
            self._announce(context, taken.run, job.identity.generation)
            if not waits:
                return job.summary(taken.run, adopted=taken.adopted, with_outputs=taken.run.state.is_ended)
            if job.arguments.deferrable and not taken.run.state.is_ended:
                self._defer(job, taken)
            return self._succeeded(context, self._wait(job, taken))

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Take over from the triggerer: read the run again, and end as a wait in a worker ends."""
        with self._job(context, event) as job:
            result = job.finish_event(event)
            if not isinstance(result, dict):
                self._defer(job, result)
            return self._succeeded(context, result)

    def on_kill(self) -> None:
        """End the wait. What becomes of the run depends on who ends the task, which is found out afterwards.

        Airflow 2 raises an exception out of the wait as soon as this returns, so it is found out here.
        """
        if self._stop is not None:
            self._stop.set()
        if self._context is not None and not hasattr(self._context["ti"], "get_task_states"):
            self._kill_if_meant(self._context)

    @contextmanager
    def _job(self, context: Context, event: Any = None) -> Iterator[TrainingJob]:
        from vi_airflow_provider.training import job

        with self.session(context) as hook:
            self._link_again(context, event)
            arguments = job.JobArguments.build(vars(self), *self._time(context))
            identity = job.TaskIdentity(hook.settings.namespace or "", **self._identity(context))
            try:
                yield job.TrainingJob(hook, arguments, identity, self._url_of, self._stop or threading.Event())
            except job.RunFailedError as error:
                if error.final:
                    raise AirflowFailException(str(error)) from error
                raise
            except job.StoppedError:
                # A person may have ended the task, and the run with it. Else the next try takes the run over.
                if (reason := self._kill_if_meant(context)) is None:
                    message = "a person has ended the task, and the kill of its run was requested"
                    raise AirflowFailException(message) from None
                raise job.TaskInterruptedError(reason) from None
            except Exception:
                if self._stop is not None and self._stop.is_set():  # whatever failed, a person may have ended the task
                    self._kill_if_meant(context)
                raise

    def _wait(self, job: TrainingJob, taken: TakenUp) -> dict[str, Any]:
        """Wait, and return the result. The connection is read again every minute, and when it is refused."""
        from vi_airflow_provider.operators.waiting_client import WaitingClient

        def connect() -> WaitingClient:
            return WaitingClient(self.vi_conn_id, self._read_connection)

        while True:
            end = job.wait(connect, taken, tail=job.arguments.tail_logs)
            job = replace(job, client=self.hook)
            result = job.finish(end)
            if isinstance(result, dict):
                return result
            taken = result

    def _read_connection(self) -> ViSettings:
        """Read the connection again, for the wait, and for whatever the task does afterwards."""
        old, renewed = self.hook, type(self.hook)(self.vi_conn_id)
        settings = renewed.settings
        vars(self)["hook"] = renewed
        old.close()
        return settings

    def _defer(self, job: TrainingJob, taken: TakenUp) -> NoReturn:
        from vi_airflow_provider.triggers.runs import RunTrigger

        interval, now = job.arguments.poll_interval, time.time()
        watch = job.watch(taken)
        limit = watch.judge(taken.run, now).next_limit
        trigger = RunTrigger(
            vi_conn_id=self.vi_conn_id,
            run_id=taken.run.run_id,
            owner=job.identity.owner,
            limits=watch.limits.as_json(),
            poll_interval=interval,
            first_poll=min(now + interval, math.inf if limit is None else limit),
            cancel_on_kill=job.arguments.cancel_on_kill,
            on_clear=job.arguments.on_clear,
            adopted=taken.adopted,
        )
        # Without a time-out of Airflow's, which would end the task and leave the run: the trigger has the deadline.
        self.defer(trigger=trigger, method_name="execute_complete", timeout=None)
        raise AssertionError("defer() does not return")

    def _announce(self, context: Context, run: Run, generation: str) -> None:
        """Store the id and the link before the task waits; the id also where a later try finds it (Airflow 3.3)."""
        context["ti"].xcom_push(key=RUN_ID_KEY, value=run.run_id)
        context["ti"].xcom_push(key=ViRunLink().xcom_key, value=self._url_of(run))
        store: Any = context.get("task_state_store")
        try:
            if store is not None:
                store.set(RUN_ID_KEY, {"run_id": run.run_id, "generation": generation})
        except Exception as error:  # the run is paid for, and found without it
            self.log.warning("The id of the run could not be stored: %s: %s", type(error).__name__, error)

    def _link_again(self, context: Context, event: Any) -> None:
        """Store the link to the run of an event, which the session has replaced, before anything can fail."""
        run_id = event.get("run_id") if isinstance(event, dict) else None
        if isinstance(run_id, str):
            of_flow = self.flow.get("flow_id") if isinstance(self.flow, dict) else getattr(self.flow, "flow_id", None)
            url = self.hook.settings.ui_url(str(self.flow_id or of_flow or ""), run_id)
            context["ti"].xcom_push(key=ViRunLink().xcom_key, value=url)

    def _known_run(self, context: Context, generation: str) -> str | None:
        """Return the id of the run that an earlier try has started since the task was last cleared, if it is known."""
        store: Any = context.get("task_state_store")
        stored = None if store is None else store.get(RUN_ID_KEY)
        if isinstance(stored, dict) and stored.get("generation") == generation:
            return str(stored.get("run_id"))
        return None

    def _url_of(self, run: Run) -> str:
        self._run = run
        return self.hook.settings.run_url(run)

    def _succeeded(self, context: Context, result: dict[str, Any]) -> dict[str, Any]:
        """Return the result, and give it to the events of the outlets."""
        self._result = result
        model = result["best"] or result["model"] or {}
        for event in events_of(self.outlets, context):
            facts = {name: model.get(name) for name in ("run_output_id", "epoch", "metrics")}
            event.extra = {"run_id": result["run_id"], **facts, "digest": result["flow_digest"]}
        return result

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Report to OpenLineage what was trained of what; no model if the run did not succeed."""
        if self._run is None:
            return None
        from vi_airflow_provider.training.lineage import run_lineage

        return run_lineage(self._run, self._result)

    # --- the end of the task -----------------------------------------------------------------------------------

    def _kill_if_meant(self, context: Context) -> str | None:
        """Kill the run if a person has ended the task; in doubt, leave it to the next try. Raises nothing.

        :return: why the run was not killed, ``None`` if it was
        """
        from vi_airflow_provider.training import task_end

        state = task_state(context)
        reason = task_end.reason_to_go_on(state, self.on_clear, cancel_on_kill=self.cancel_on_kill)
        if reason is not None:
            self.log.info("No run is killed: %s.", reason)
            return reason
        from vi_airflow_provider.training import job

        try:
            settings = self.hook.settings
            identity = job.TaskIdentity(settings.namespace or "", **self._identity(context))
            killed = job.kill_latest_run(settings, identity)
        except Exception as error:  # whatever it is, the task ends now
            self.log.warning("The run could not be killed, and may go on: %s: %s", type(error).__name__, error)
            return "a person has ended the task; its run could not be killed, and may go on"
        return None if killed else "a person has ended the task; no run was killed, for the reason in the log"

    def _identity(self, context: Context) -> dict[str, Any]:
        """Return what identifies this try: the fields of ``training.identity.TaskIdentity`` but the namespace."""
        ti: Any = context["ti"]
        dag_run: Any = context.get("dag_run") or ti.dag_run
        start = dag_run.start_date
        return {
            "dag_id": ti.dag_id,
            "run_id": ti.run_id,
            "task_id": ti.task_id,
            "map_index": -1 if ti.map_index is None else ti.map_index,
            "dag_run_start": "" if start is None else start.isoformat(),
            "max_tries": ti.max_tries or 0,
            "try_number": ti.try_number or 1,
        }

    def _time(self, context: Context) -> tuple[float, float | None]:
        """Return when the task began, in seconds since the epoch, and after how many seconds Airflow ends it."""
        start = getattr(context["ti"], "start_date", None)
        began = time.time() if start is None else start.timestamp()
        return began, None if self.execution_timeout is None else self.execution_timeout.total_seconds()
