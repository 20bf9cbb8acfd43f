"""Carries out what ``take_up`` decides: finds the latest run of a task instance, and starts, adopts or replaces it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from vi_airflow_provider.api.errors import ViConflictError, ViError, ViNotFoundError, one_line
from vi_airflow_provider.training import identity as stamps
from vi_airflow_provider.training.identity import PREFIX, Stamps, TaskIdentity, order_of
from vi_airflow_provider.training.take_up import (
    KILLED_FOR_RESTART,
    Adopt,
    Finished,
    Numbered,
    Refuse,
    Restart,
    Start,
    TakenOver,
    Terms,
    decide,
)
from vi_airflow_provider.training.watch import Limits

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import FlowSpec, Run
    from vi_airflow_provider.api.verbs import BlockingVerbs

log = logging.getLogger(__name__)

#: Seconds that a run may take to end after it was killed, before another one is started.
KILL_PATIENCE: Final = 300.0
#: Seconds for which a run that was started may not be found yet: a server may show a write late.
VISIBILITY_DELAY: Final = 10.0
#: Seconds between two reads while a killed run is to end.
_KILL_POLL: Final = 2.0
#: By how many milliseconds the clocks of a worker and the server may differ, or else a run may seem to be older than
#: the request that started it.
_MAX_SKEW_MS: Final = 60_000
#: How often the runs of a task are read and decided about, if a request conflicts with what was read.
_MAX_DECISIONS: Final = 5


class RunRefusedError(Exception):
    """No run may be started or taken over, and a later try would find the same."""

    def __init__(self, reason: str, run: Run) -> None:
        super().__init__(reason)
        self.run = run


class RunGoneError(Exception):
    """The run that an earlier try has started does not exist any more, and no other one may be started."""


class RunTakenOverError(Exception):
    """A later try of the task waits for the run, so this one must not touch it any more."""


class RunStillActiveError(ViError):
    """A run was killed and has not ended yet, so no other one is started."""

    advice = "A later try reads it again."


class Training(NamedTuple):
    """What a task wants to have trained.

    :param spec: with the overrides applied
    :param digest: of the spec
    :param flow_id: the flow that the spec is from, if it is known
    """

    spec: FlowSpec
    digest: str
    flow_id: str | None = None
    training_project: str | None = None


@dataclass(frozen=True)
class TrainingRequest:
    """What a task wants to have trained, and on which terms.

    :param training: reads the flow and changes it as required; a run can be taken over even if this raises
    :param max_runs: as of :class:`~vi_airflow_provider.training.take_up.Terms`
    :param on_clear: as of :class:`~vi_airflow_provider.training.take_up.Terms`
    :param attributes: what the author of the DAG wants to find the run by
    :param known: id of the run that an earlier try of this generation is known to have started
    """

    training: Callable[[], Training]
    identity: TaskIdentity
    max_runs: int = 1
    on_clear: Literal["restart", "adopt"] = "restart"
    limits: Limits = field(default_factory=Limits)
    attributes: Mapping[str, str] = field(default_factory=dict)
    known: str | None = None

    def terms(self, digest: str | None) -> Terms:
        """Return on which terms the task takes up a run."""
        return Terms(self.identity, digest, self.max_runs, self.on_clear)

    def stamps(self, training: Training, run_number: int, now_ms: int) -> dict[str, str]:
        """Return all attributes of a run that is to be started."""
        own = {
            **self.identity.stamps(),
            stamps.FLOW_DIGEST: training.digest,
            stamps.RUN_NUMBER: str(run_number),
            stamps.REQUESTED_AT: str(now_ms),
        }
        if training.flow_id is not None:
            own[stamps.FLOW_ID] = training.flow_id
        theirs = {key: value for key, value in self.attributes.items() if not key.startswith(PREFIX)}
        return theirs | own | self.lease(now_ms)

    def lease(self, now_ms: int) -> dict[str, str]:
        """Return the stamp of a lease that begins now, or none if the run has no limit."""
        lease = self.limits.lease
        return {} if lease is None else {stamps.DEADLINE: str(now_ms + round(lease * 1000))}


class TakenUp(NamedTuple):
    """The run of a task, and whether it was active already.

    :param wait_deadline: when the wait for it ends, in seconds since the epoch; ``None`` for no end
    """

    run: Run
    adopted: bool
    wait_deadline: float | None = None


def take_up(
    client: BlockingVerbs,
    request: TrainingRequest,
    *,
    sleep: Callable[[float], Any] = time.sleep,
    now: Callable[[], float] = time.time,
) -> TakenUp:
    """Return the run of a task: started now, started by an earlier try, or ended already.

    :param sleep: waits between two reads while a killed run ends; raises if the task has to end
    :raises RunRefusedError: nothing may be started or taken over
    :raises RunTakenOverError: a later try of the task owns the run
    :raises RunGoneError: the run of an earlier try does not exist any more
    :raises RunStillActiveError: the run of a cleared task does not end
    """
    for _ in range(_MAX_DECISIONS - 1):
        try:
            return _take_up(client, request, sleep, now)
        except ViConflictError as error:  # a run that could not be read before, or one that has changed since
            log.warning("The runs of this task are read again: %s", error)
            sleep(_KILL_POLL)
    return _take_up(client, request, sleep, now)


def _take_up(
    client: BlockingVerbs, request: TrainingRequest, sleep: Callable[[float], Any], now: Callable[[], float]
) -> TakenUp:
    latest = _latest_or_gone(client, request, sleep, now)
    training = _training_or_error(request)
    decision = decide(latest, request.terms(None if isinstance(training, ViError) else training.digest))
    sleep(0)  # a task that has to end starts nothing
    match decision:
        case Refuse(reason, run):
            raise RunRefusedError(reason, run)
        case TakenOver(run):
            raise RunTakenOverError(f"run {run.run_id} was taken over by a later try of this task")
        case Finished(run):
            log.info("Run %s has succeeded in an earlier try.", run.run_id)
            return TakenUp(run, adopted=False)
        case Adopt(run, run_number, warning):
            if isinstance(training, ViError):
                log.warning("The flow cannot be read, or changed as required: %s", training)
            return TakenUp(_adopt(client, request, run, run_number, warning, now), adopted=True)
        case Restart(run, then):
            training = _required(training)  # before a run is killed that could not be replaced
            _end_before_restart(client, run.run_id, request.identity.owner, sleep, now)
            return _start(client, request, training, then, now)
        case Start():
            return _start(client, request, _required(training), decision, now)


def _training_or_error(request: TrainingRequest) -> Training | ViError:
    """Return what is to be trained, or why that is not known: only a start needs it."""
    try:
        return request.training()
    except ViError as error:
        return error


def _required(training: Training | ViError) -> Training:
    if isinstance(training, ViError):
        raise training
    return training


def _end_before_restart(
    client: BlockingVerbs, run_id: str, owner: str, sleep: Callable[[float], Any], now: Callable[[], float]
) -> None:
    def ours(run: Run) -> bool:
        return not taken_over(run, owner)

    attributes = {stamps.KILL_REASON: KILLED_FOR_RESTART}
    run = kill_and_wait(client, run_id, attributes, matches=ours, sleep=sleep, now=now)
    if run is not None and not run.has_stopped:
        raise RunTakenOverError(f"run {run_id} was taken over by a later try of this task")


def _latest_or_gone(
    client: BlockingVerbs, request: TrainingRequest, sleep: Callable[[float], Any], now: Callable[[], float]
) -> Numbered | None:
    """Find the run with the highest number, but no earlier one than the run that is known to have been started.

    :raises RunGoneError: that one is not found, and a server that shows a write late had time to show it
    """
    deadline = now() + VISIBILITY_DELAY
    while True:
        identity = request.identity
        latest = find_latest(client, identity)
        first = 0 if latest is None else latest.number + 1
        missing = {identity.id_of(number) for number in range(first, max(identity.try_number, 1))}
        if request.known not in missing:
            if latest is None and request.known is not None:
                _refuse_beside(_find_run(client, request.known))
            return latest
        if now() >= deadline:
            raise RunGoneError(f"run {request.known} was started by an earlier try, and does not exist any more")
        sleep(_KILL_POLL)


def _refuse_beside(run: Run | None) -> None:
    """Refuse to start a run beside the active one of an earlier try, which had another namespace, and so other ids.

    :raises RunRefusedError: the run is active
    """
    if run is not None and not run.state.is_ended:
        reason = (
            f"an earlier try has started run {run.run_id}, which is active, under another `namespace` of the "
            "connection. Restore that one for this task, or kill the run"
        )
        raise RunRefusedError(reason, run)


def find_latest(client: BlockingVerbs, identity: TaskIdentity) -> Numbered | None:
    """Find the run with the highest number. A gap is a try that did not come to start one, or a run that is gone.

    The tries of a DAG run that was deleted may have started more runs than those of the one that has taken its place.
    """
    highest = max(identity.try_number, 1) - 1
    for number in range(highest, -1, -1):
        if (run := _find_run(client, identity.id_of(number))) is not None:
            break
    else:
        return None
    while number >= highest and (later := _find_run(client, identity.id_of(number + 1))) is not None:
        number, run = number + 1, later
    return Numbered(number, run)


def _find_run(client: BlockingVerbs, run_id: str) -> Run | None:
    try:
        return client.get_run(run_id)
    except ViNotFoundError:
        return None


def _start(
    client: BlockingVerbs, request: TrainingRequest, training: Training, start: Start, now: Callable[[], float]
) -> TakenUp:
    spec, project, run_id = training.spec, training.training_project, request.identity.id_of(start.number)
    attributes = request.stamps(training, start.run_number, round(now() * 1000))
    run = client.start_run(spec, run_id=run_id, training_project=project, attributes=attributes)
    log.info("Started run %s of flow %r (digest %.12s).", run_id, spec.name[:200], training.digest)
    return TakenUp(_stamped(client, run, request.identity.owner, attributes), adopted=False)


def _stamped(client: BlockingVerbs, run: Run, ours: str, attributes: dict[str, str]) -> Run:
    """Return a run that this try has started, with stamps that tell the truth.

    :raises RunTakenOverError: a later try has taken the run over in the meantime
    """
    owner = Stamps.of(run).owner
    if owner > order_of(ours):
        raise RunTakenOverError(f"run {run.run_id} was taken over by a later try of this task")
    if owner == order_of(ours):
        if not _may_be_replaced(run, int(attributes[stamps.REQUESTED_AT])):
            return run
        # The request may have come late, and have replaced the run of a later try. That try takes the stamp at its next
        # poll; until then, no try may kill the run. If there is no such try, this one takes it.
        attributes = {stamps.OWNER: ""}
    # Else the server ignores the attributes of a start, and without stamps no later try could trust the run.
    try:
        return client.update_run(run.run_id, attributes=attributes)
    except ViError as error:  # the run is paid for, so it is waited for
        log.warning("The attributes of run %s could not be set: %s", run.run_id, error)
        return run


def _may_be_replaced(run: Run, requested_ms: int) -> bool:
    """Return whether a start may have replaced an earlier run of the same id, which keeps the time of its creation.

    If the response to the start was lost, the run may have changed its state since, which is an update as well.

    :param requested_ms: time of the request on the worker's clock, in milliseconds
    """
    metadata, transitions = run.metadata, [each.last_transition_time for each in run.status.conditions]
    if metadata.last_updated == metadata.time_created:
        return False
    changed_otherwise = metadata.last_updated > max(transitions, default=metadata.time_created)
    return changed_otherwise or metadata.generation > 1 or metadata.time_created < requested_ms - _MAX_SKEW_MS


def _adopt(
    client: BlockingVerbs,
    request: TrainingRequest,
    run: Run,
    run_number: int,
    warning: str | None,
    now: Callable[[], float],
) -> Run:
    log.info("Run %s is active already, and is taken over: %s.", run.run_id, run.state.value)
    if warning is not None:
        log.warning("Run %s: %s.", run.run_id, warning)
    attributes = request.identity.stamps() | {stamps.RUN_NUMBER: str(run_number)}
    if request.limits.timeout is not None:  # another wait begins, and with it the lease
        attributes |= request.lease(round(now() * 1000))
    return client.update_run(run.run_id, attributes=attributes)


def taken_over(run: Run, owner: str) -> bool:
    """Return whether a later try than ``owner`` has taken a run over, so that it must be left alone."""
    return Stamps.of(run).owner > order_of(owner)


def kill_and_wait(
    client: BlockingVerbs,
    run_id: str,
    attributes: Mapping[str, str] | None = None,
    *,
    matches: Callable[[Run], bool] = lambda run: True,
    patience: float = KILL_PATIENCE,
    sleep: Callable[[float], Any] = time.sleep,
    now: Callable[[], float] = time.time,
) -> Run | None:
    """Kill a run, and wait until one of its conditions reports that it has ended.

    :param attributes: set together with the kill; without a ``KILL_REASON``, a person has decided it
    :param matches: decides on the run as it is just before the kill; if it says no, the active run is returned
    :return: the run; ``None`` if it was deleted after it was killed
    :raises RunStillActiveError: no condition reports the end in time
    """
    run = client.kill_run_if(run_id, matches, attributes=attributes)
    if not run.state.is_ended and not matches(run):
        return run
    if run.spec.killed_at is not None:
        reason = one_line(Stamps.of(run).kill_reason)
        log.info("The kill of run %s is requested%s.", run_id, f": {reason}" if reason else "")
    deadline = now() + patience
    while not run.has_stopped:
        if now() >= deadline:
            raise RunStillActiveError(f"run {run_id} was killed, and is not reported as ended after {patience:g} s")
        sleep(_KILL_POLL)
        try:
            run = client.get_run(run_id)
        except ViNotFoundError:
            log.info("Run %s does not exist any more.", run_id)
            return None
    return run
