"""A training job: what a task starts and waits for, from its arguments to its result."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from pydantic import ValidationError

from vi_airflow_provider.api.canonical import spec_digest
from vi_airflow_provider.api.errors import ViNotFoundError, ViValidationError, refusing
from vi_airflow_provider.api.models import Flow, FlowSpec, Run, RunState
from vi_airflow_provider.api.protocol.codec import wire_metadata
from vi_airflow_provider.api.transport.loop_thread import StoppedError, raise_if, run_in_thread
from vi_airflow_provider.api.validation import checked_object, describe_errors
from vi_airflow_provider.selection.arguments import (
    boolean,
    checked_flow_id,
    choice,
    count,
    flag,
    interval,
    optional_seconds,
    optional_text,
)
from vi_airflow_provider.selection.combinations import exactly_one
from vi_airflow_provider.selection.overrides import checked_overrides
from vi_airflow_provider.training.identity import KILL_REASON, Stamps, TaskIdentity
from vi_airflow_provider.training.killing import kill_latest_run
from vi_airflow_provider.training.logs import LogTail, show_last_lines
from vi_airflow_provider.training.overrides import apply_overrides, checked_spec
from vi_airflow_provider.training.starting import (
    VISIBILITY_DELAY,
    RunGoneError,
    RunRefusedError,
    RunTakenOverError,
    TakenUp,
    Training,
    TrainingRequest,
    kill_and_wait,
    take_up,
    taken_over,
)
from vi_airflow_provider.training.summary import BestMetric, summarize
from vi_airflow_provider.training.take_up import KILLED_WITH_TASK, describe_end
from vi_airflow_provider.training.waiting import RunEnd, RunVerbs, WaitEnd, read_event, wait_for
from vi_airflow_provider.training.watch import Limit, Limits, RunWatch

if TYPE_CHECKING:
    from vi_airflow_provider.api.verbs import BlockingVerbs

__all__ = [
    "JobArguments",
    "RunFailedError",
    "StoppedError",
    "TaskIdentity",
    "TaskInterruptedError",
    "TrainingJob",
    "kill_latest_run",
]

log = logging.getLogger(__name__)

#: Seconds before the end of the task at which its run is killed, so that there is time for it, and the part of the
#: task's time that this may be at most.
_MARGIN: Final = 60.0
_MARGIN_PART: Final = 0.2
#: Seconds between two reads of a run that is not found after the wait.
_READ_AGAIN: Final = 2.0
_ON_CLEAR: Final = ("restart", "adopt")


class RunFailedError(Exception):
    """The run did not succeed.

    :param final: whether a later try of the task may not start another run
    """

    def __init__(self, message: str, *, final: bool) -> None:
        super().__init__(message)
        self.final = final


class TaskInterruptedError(Exception):
    """The task has to end, and its run was not killed; the message names the reason."""


@dataclass(frozen=True)
class JobArguments:
    """The arguments of a job, checked."""

    flow_id: str | None
    flow: Any
    overrides: Mapping[str, Any] | None
    training_project: str | None
    attributes: Mapping[str, str]
    poll_interval: float
    limits: Limits
    max_runs: int
    on_clear: Literal["restart", "adopt"]
    best_metric: BestMetric | None
    tail_logs: bool
    cancel_on_kill: bool
    deferrable: bool

    @classmethod
    def build(cls, given: Mapping[str, Any], began: float, task_timeout: float | None) -> JobArguments:
        """Check the arguments of a job.

        :param given: the arguments by their names
        :param began: when the task began, in seconds since the epoch
        :param task_timeout: seconds after which Airflow ends the task
        :raises ViValidationError: one is unusable; the message names it
        """
        exactly_one(flow_id=given["flow_id"], flow=given["flow"])
        return cls(
            flow_id=None if given["flow_id"] is None else checked_flow_id(given["flow_id"]),
            flow=checked_object("flow", given["flow"], "a flow"),
            overrides=checked_overrides("overrides", given["overrides"]),
            training_project=optional_text("training_project", given["training_project"]),
            attributes=wire_metadata(given["attributes"] or {})["metadata"]["attributes"],
            poll_interval=interval("poll_interval", given["poll_interval"]),
            limits=Limits(
                **{name: optional_seconds(name, given[name]) for name in ("max_queue_time", "max_duration", "timeout")},
                task_deadline=None if task_timeout is None else began + _shortened(task_timeout),
            ),
            max_runs=count("max_runs", given["max_runs"], 1),
            on_clear=cast(Literal["restart", "adopt"], choice("on_clear", given["on_clear"], _ON_CLEAR)),
            best_metric=BestMetric.build(given["best_metric"]),
            tail_logs=boolean("tail_logs", given["tail_logs"]),
            cancel_on_kill=flag("cancel_on_kill", given["cancel_on_kill"]),
            deferrable=flag("deferrable", given["deferrable"]),
        )

    def request(self, client: BlockingVerbs, identity: TaskIdentity, known: str | None = None) -> TrainingRequest:
        """Return what is to be trained, on which terms; the flow is read once, and only when it is needed.

        :param known: as of :class:`TrainingRequest`
        """
        training = cache(partial(self._training, client))
        return TrainingRequest(training, identity, self.max_runs, self.on_clear, self.limits, self.attributes, known)

    def _training(self, client: BlockingVerbs) -> Training:
        flow_id, spec = self._flow(client)
        spec = apply_overrides(spec, self.overrides)
        project = self.training_project or spec.training_project
        return Training(spec, spec_digest(spec.to_wire()), flow_id, project)

    def _flow(self, client: BlockingVerbs) -> tuple[str | None, FlowSpec]:
        if self.flow_id is not None:
            return self.flow_id, client.get_flow(self.flow_id).spec
        if isinstance(self.flow, FlowSpec) or (isinstance(self.flow, Mapping) and "spec" not in self.flow):
            return None, checked_spec(self.flow)
        with refusing(ViValidationError, ValidationError, describe=_describe_flow):
            flow = Flow.model_validate(self.flow)
        return flow.flow_id, checked_spec(flow.spec)


def _describe_flow(error: Exception) -> str:
    assert isinstance(error, ValidationError)  # noqa: S101 - the only one that is refused
    return describe_errors(error, "flow")


def _shortened(task_timeout: float) -> float:
    return task_timeout - min(_MARGIN, task_timeout * _MARGIN_PART)


@dataclass(frozen=True)
class TrainingJob:
    """A run of a task, from its start to its result.

    :param client: retries as usual
    :param url: returns the web address of a run
    :param stop: set when the task is to end; whatever waits here then raises :class:`StoppedError`
    """

    client: BlockingVerbs
    arguments: JobArguments
    identity: TaskIdentity
    url: Callable[[Run], str]
    stop: threading.Event

    def watch(self, taken: TakenUp) -> RunWatch:
        """Return what decides whether waiting for a run goes on."""
        return RunWatch(replace(self.arguments.limits, wait_deadline=taken.wait_deadline))

    def take_up(self, known: str | None = None) -> TakenUp:
        """Start the run, or find it again. The wait for it begins now.

        :param known: id of the run that an earlier try is known to have started
        :raises RunFailedError: no run may be started or taken over
        :raises StoppedError: the task is to end
        """
        try:
            request = self.arguments.request(self.client, self.identity, known)
            taken = take_up(self.client, request, sleep=self._pause)
            return taken._replace(wait_deadline=self.arguments.limits.timeout_from(time.time()))
        except RunRefusedError as refused:
            if refused.run.state in (RunState.FAILED, RunState.KILLED):
                show_last_lines(self.client, refused.run.run_id)
            reason = str(refused)
        except RunGoneError as gone:
            reason = str(gone)
        raise RunFailedError(reason, final=True)

    def wait(
        self, connect: Callable[[], AbstractAsyncContextManager[RunVerbs]], taken: TakenUp, *, tail: bool
    ) -> WaitEnd:
        """Wait until the run has ended, or exceeds a limit. A signal ends the wait, whatever request is in flight.

        :param connect: makes a client that retries nothing: the polls have a pace of their own
        :param tail: show new lines of the run's log
        :raises StoppedError: the task is to end
        """

        async def wait() -> WaitEnd:
            async with connect() as client:
                return await self._wait(client, taken, tail=tail)

        end = run_in_thread(wait, self.stop.is_set)
        return end._replace(adopted=taken.adopted, wait_deadline=taken.wait_deadline)

    async def _wait(self, client: RunVerbs, taken: TakenUp, *, tail: bool) -> WaitEnd:
        logs = LogTail(client, taken.run.run_id)

        async def on_poll() -> None:
            if tail:
                await logs.show()

        interval = self.arguments.poll_interval
        watch = self.watch(taken)
        return await wait_for(client, taken.run, watch, self.identity, poll_interval=interval, on_poll=on_poll)

    def check_stopped(self) -> None:
        """Raise :class:`StoppedError` if the task is to end."""
        raise_if(self.stop.is_set)

    def _pause(self, seconds: float) -> None:
        self.stop.wait(seconds)
        self.check_stopped()

    def finish_event(self, event: Any) -> dict[str, Any] | TakenUp:
        """Finish with a run that the trigger has waited for; see :meth:`finish`."""
        return self.finish(read_event(event))

    def finish(self, end: WaitEnd) -> dict[str, Any] | TakenUp:
        """Return the result of a run that has succeeded, or the run if it is to be waited for again.

        The second happens if the reason for which the wait ended does not hold any more: the run is active and has left
        the queue, or is found again.

        :raises RunFailedError: the run has failed, was killed, or does not exist any more
        :raises RunTakenOverError: a later try waits for the run
        :raises ViError: the run could not be read
        """
        if end.error is not None:
            raise end.error
        run = self._read_again(end)
        self._check_owner(run)
        if end.limit is not None and not run.state.is_ended:
            run = self._kill_at(end.limit, run)
        if not run.state.is_ended:
            log.info("Run %s goes on (%s), and is waited for again.", run.run_id, run.state.value)
            return TakenUp(run, end.adopted, end.wait_deadline)
        if run.state is not RunState.SUCCEEDED:
            raise self._failure(run, f"run {run.run_id} {describe_end(run)}")
        return self.summary(run, adopted=end.adopted, with_outputs=True)

    def _read_again(self, end: WaitEnd) -> Run:
        """Read a run after the wait for it; a server may miss a run once."""
        deadline = time.time() + (0 if end.outcome is RunEnd.GONE else VISIBILITY_DELAY)
        while True:
            try:
                return self.client.get_run(end.run_id)
            except ViNotFoundError:
                if time.time() >= deadline:
                    raise RunFailedError(f"run {end.run_id} does not exist any more", final=True) from None
            self._pause(_READ_AGAIN)

    def _kill_at(self, limit: Limit, run: Run) -> Run:
        """Kill a run that exceeds a limit; return it if it does not any more, or has succeeded while it was killed."""
        message = f"run {run.run_id} was killed because it exceeded {limit.value}"
        attributes = {KILL_REASON: limit.value}
        killed = kill_and_wait(
            self.client, run.run_id, attributes, matches=self._still_exceeds(limit), sleep=self._pause
        )
        if killed is None:
            raise RunFailedError(message, final=True)
        self._check_owner(killed)
        if killed.state.is_ended and killed.state is not RunState.SUCCEEDED:
            raise self._failure(killed, message)
        return killed

    def _check_owner(self, run: Run) -> None:
        if taken_over(run, self.identity.owner):
            raise RunTakenOverError(f"run {run.run_id} was taken over by a later try of this task")

    def _still_exceeds(self, limit: Limit) -> Callable[[Run], bool]:
        """Return what decides whether a run may be killed for a limit; only the one on the queue can cease to hold."""

        def decide(run: Run) -> bool:
            left_queue = limit is Limit.MAX_QUEUE_TIME and run.state is not RunState.QUEUED
            return not left_queue and not taken_over(run, self.identity.owner)

        return decide

    def summary(self, run: Run, *, adopted: bool, with_outputs: bool) -> dict[str, Any]:
        """Return the summary of a run as it is now."""
        outputs = list(self.client.list_run_outputs(run.run_id)) if with_outputs else []
        return summarize(run, outputs, self.arguments.best_metric, adopted=adopted, url=self.url(run))

    def _failure(self, run: Run, message: str) -> RunFailedError:
        show_last_lines(self.client, run.run_id)
        stamps = Stamps.of(run)
        by_a_person = run.state is RunState.KILLED and not stamps.kill_reason
        if by_a_person:
            message = f"run {run.run_id} was killed in Vi by a person"
        with_task = run.state is RunState.KILLED and stamps.kill_reason == KILLED_WITH_TASK
        if with_task:  # of an earlier try, a moment before this one took it over: a later try starts another
            message = f"run {run.run_id} was killed with its task"
        used_up = stamps.run_number >= self.arguments.max_runs
        return RunFailedError(message, final=by_a_person or (used_up and not with_task))
