"""How long a run may last, and whether waiting for it goes on: a pure function of the run and the time.

A worker that polls and a trigger on the triggerer call the same function. Two kinds of limits differ in what a retry
makes of them; a restart of the triggerer extends neither:

- Limits of the *run* (``max_queue_time``, ``max_duration``) count from times of the server, so that neither a retry nor
  an adoption extends them. The worker's clock is translated by the skew between the two, which is stored in the run
  when it is started.
- Limits of the *wait* (``wait_deadline``, ``task_deadline``) are points in time on the worker's clock. Each try sets
  its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from vi_airflow_provider.api.models import Run, RunState
from vi_airflow_provider.training.identity import requested_at


class Limit(StrEnum):
    """Which limit a run has exceeded; the value is what is stamped as the reason of the kill."""

    MAX_QUEUE_TIME = "max_queue_time"
    MAX_DURATION = "max_duration"
    TIMEOUT = "timeout"
    EXECUTION_TIMEOUT = "execution_timeout"


@dataclass(frozen=True)
class Limits:
    """How long a run may last, in seconds; ``None`` is no limit.

    :param max_queue_time: from the start of the run until it leaves the queue
    :param max_duration: from leaving the queue until the end
    :param timeout: from the start of the wait until the end of the run
    :param wait_deadline: when the timeout ends, on the clock of this machine in seconds since the epoch; unknown before
        the wait has begun
    :param task_deadline: when the task ends, on the clock of this machine in seconds since the epoch
    """

    max_queue_time: float | None = None
    max_duration: float | None = None
    timeout: float | None = None
    wait_deadline: float | None = None
    task_deadline: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the limits as JSON data."""
        return asdict(self)

    def timeout_from(self, begin: float) -> float | None:
        """Return when the timeout of a wait ends that begins now, ``None`` without a timeout."""
        return None if self.timeout is None else begin + self.timeout

    @property
    def lease(self) -> float | None:
        """Seconds after which a run that is still active belongs to no task any more; ``None`` without a limit."""
        if self.timeout is not None:
            return self.timeout
        if self.max_queue_time is None or self.max_duration is None:
            return None
        return self.max_queue_time + self.max_duration


class Verdict(NamedTuple):
    """Whether waiting goes on: it does unless the run has ended, or has exceeded a limit."""

    ended: bool = False
    exceeded: Limit | None = None
    #: When a limit will be exceeded if nothing changes, in seconds on the clock of this machine.
    next_limit: float | None = None


class RunWatch(NamedTuple):
    """Decides for one run whether waiting goes on."""

    limits: Limits

    def judge(self, run: Run | None, now: float) -> Verdict:
        """Judge a run.

        :param run: as it was read last; ``None`` if it could not be read yet, so that only the limits of the wait count
        :param now: on the clock of this machine, in seconds since the epoch
        """
        if run is not None and run.state.is_ended:
            return Verdict(ended=True)
        ends = [*([] if run is None else self._ends_of_run(run)), *self._ends_of_wait()]
        exceeded = next((limit for limit, end in ends if now >= end), None)
        return Verdict(False, exceeded, min((end for _, end in ends), default=None))

    def _ends_of_run(self, run: Run) -> Iterator[tuple[Limit, float]]:
        skew, is_queued = clock_skew(run), run.state is RunState.QUEUED
        created = run.metadata.time_created / 1000 - skew
        if self.limits.max_queue_time is not None and is_queued:
            yield Limit.MAX_QUEUE_TIME, created + self.limits.max_queue_time
        if self.limits.max_duration is not None and not is_queued:
            started = created if run.started_at is None else run.started_at / 1000 - skew
            yield Limit.MAX_DURATION, started + self.limits.max_duration

    def _ends_of_wait(self) -> Iterator[tuple[Limit, float]]:
        if self.limits.wait_deadline is not None:
            yield Limit.TIMEOUT, self.limits.wait_deadline
        if self.limits.task_deadline is not None:
            yield Limit.EXECUTION_TIMEOUT, self.limits.task_deadline


def clock_skew(run: Run) -> float:
    """Return by how many seconds the server's clock was ahead of the worker's when the run was started.

    A run that carries no such stamp was not started by this provider; its clocks are taken to agree.
    """
    stamp = requested_at(run.metadata.attributes)
    return 0.0 if stamp is None else (run.metadata.time_created - stamp) / 1000
