"""Waiting for a run: when a wait ends, the same in a worker and on the triggerer, and the wait in a worker.

Theory of operation
-------------------
A worker or a trigger polls the run, and reports each poll to a :class:`Wait`, which decides whether the wait goes on,
and until when it may pause:

* A limit of the run is in force whether or not the service responds. It bounds every pause, also one that
  ``Retry-After`` requests, and at the limit there is one more poll: a run that has ended just before has not exceeded
  it. If that poll fails, the run is judged as it was last read.
* What exceeds a limit is not killed here. The task reads the run again, and kills it only if that is still right.
* A run that is not found may not be visible yet, or a server may have missed it once. It is gone if it is not found for
  a while, by two polls or more.
* Failed polls in a row end the wait by the rules of every other wait (``api.failed_polls``).
* The owner stamp is renewed if the late request of an earlier try has replaced it. If that fails, the wait goes on: the
  stamp only matters for a kill, which does nothing without it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from vi_airflow_provider.api.errors import (
    ViError,
    ViNotFoundError,
    ViResponseError,
    error_from_json,
    error_to_json,
    one_line,
)
from vi_airflow_provider.api.failed_polls import ends_wait, retry_after
from vi_airflow_provider.training.identity import Stamps, TaskIdentity, order_of, owner_stamps
from vi_airflow_provider.training.starting import VISIBILITY_DELAY, RunTakenOverError
from vi_airflow_provider.training.watch import Limit, RunWatch

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import Run, RunLogs

log = logging.getLogger(__name__)

EVENT_VERSION: Final = 1


class RunVerbs(Protocol):
    """The calls of a wait. ``AsyncViClient`` has them, and so has a client that follows its connection."""

    async def get_run(self, run_id: str) -> Run:
        """Return one run."""

    async def update_run(self, run_id: str, *, attributes: Mapping[str, str | None] | None = None) -> Run:
        """Change attributes of a run."""

    async def get_run_logs(self, run_id: str, *, since: str | None = None) -> RunLogs:
        """Return a part of a run's log."""


class RunEnd(StrEnum):
    """How the wait for a run ended."""

    #: The run has ended, well or badly.
    ENDED = "ended"
    #: A limit was exceeded, so the run is to be killed.
    EXCEEDED = "exceeded"
    #: The run does not exist any more.
    GONE = "gone"
    #: An error that does not pass, or as many failed polls as the budget allows.
    FAILED = "failed"


class WaitEnd(NamedTuple):
    """The end of a wait, as the trigger reports it to the worker.

    :param wait_deadline: as of :class:`~vi_airflow_provider.training.starting.TakenUp`, for a wait that goes on
    """

    run_id: str
    outcome: RunEnd
    limit: Limit | None = None
    error: ViError | None = None
    adopted: bool = False
    wait_deadline: float | None = None


def build_event(end: WaitEnd) -> dict[str, Any]:
    """Write the end of a wait as JSON data."""
    return {
        "version": EVENT_VERSION,
        "run_id": end.run_id,
        "outcome": end.outcome.value,
        "limit": None if end.limit is None else end.limit.value,
        "error": None if end.error is None else error_to_json(end.error),
        "adopted": end.adopted,
        "wait_deadline": end.wait_deadline,
    }


def read_event(event: Any) -> WaitEnd:
    """Read the end of a wait. An event that is not understood is a failure, never a success.

    :raises ViResponseError: this provider did not write the event
    """
    try:
        if event["version"] != EVENT_VERSION or not isinstance(event["run_id"], str):
            raise ValueError("unknown version")
        outcome, limit, error = RunEnd(event["outcome"]), event["limit"], event["error"]
        if (outcome is RunEnd.EXCEEDED) != (limit is not None) or (outcome is RunEnd.FAILED) != (error is not None):
            raise ValueError("unexpected or missing limit or error")
        return WaitEnd(
            event["run_id"],
            outcome,
            None if limit is None else Limit(limit),
            None if error is None else error_from_json(error),
            adopted=bool(event.get("adopted")),
            wait_deadline=None if event.get("wait_deadline") is None else float(event["wait_deadline"]),
        )
    except (TypeError, LookupError, ValueError, AttributeError) as problem:
        reason = one_line(f"{event!r:.100} ({problem!r})")
    raise ViResponseError(f"the triggerer sent an event that is not understood: {reason}")


@dataclass
class Wait:
    """Decides after each poll of a run whether the wait goes on, and reports changes of the run's state in the log.

    All times are on the clock of this machine, in seconds since the epoch.

    :param run: the run as it was read last
    """

    run_id: str
    watch: RunWatch
    run: Run | None = None
    #: When the run counts as gone unless a poll finds it before; ``None`` if the last poll that succeeded has found it.
    _gone_at: float | None = None
    _failures: int = 0
    _reported: str = ""

    def read(self, run: Run, now: float) -> WaitEnd | None:
        """Judge the run as a poll has found it; return the end of the wait, ``None`` if it goes on."""
        self._failures, self._gone_at = 0, None
        return self.judge(run, now)

    def judge(self, run: Run, now: float) -> WaitEnd | None:
        """Judge the run as it was before the first poll; return the end of the wait, ``None`` if it goes on."""
        self.run = run
        if run.state.value != self._reported:
            self._reported = run.state.value
            log.info("Run %s: %s.", self.run_id, self._reported)
        return self._judged(now)

    def absent(self, now: float) -> WaitEnd | None:
        """Judge that a poll has not found the run; return the end of the wait, ``None`` if it goes on."""
        self._failures = 0
        if self._gone_at is None:
            self._gone_at = now + VISIBILITY_DELAY
            log.warning("Run %s is not found. It counts as gone if that lasts %g s.", self.run_id, VISIBILITY_DELAY)
        elif now >= self._gone_at:
            return WaitEnd(self.run_id, RunEnd.GONE)
        return self._judged(now)

    def failed(self, error: ViError, now: float) -> WaitEnd | None:
        """Judge a failed poll; return the end of the wait, ``None`` if it goes on."""
        self._failures += 1
        log.warning("Poll %d in a row failed: %s", self._failures, error)
        if ends_wait(error, self._failures):
            return WaitEnd(self.run_id, RunEnd.FAILED, error=error)
        return self._judged(now)

    def latest_poll(self, now: float) -> float:
        """Return when the next poll is due at the latest: at a limit, or when the run may be gone; else infinity."""
        limit = self.watch.judge(self.run, now).next_limit
        latest = math.inf if limit is None else limit
        # A poll that fails at that time is not repeated at once.
        return latest if self._gone_at is None or self._gone_at <= now else min(latest, self._gone_at)

    def _judged(self, now: float) -> WaitEnd | None:
        verdict = self.watch.judge(self.run, now)
        if verdict.ended:
            return WaitEnd(self.run_id, RunEnd.ENDED)
        return None if verdict.exceeded is None else WaitEnd(self.run_id, RunEnd.EXCEEDED, verdict.exceeded)


async def wait_for(
    client: RunVerbs,
    run: Run,
    watch: RunWatch,
    identity: TaskIdentity,
    *,
    poll_interval: float,
    on_poll: Callable[[], Awaitable[None]],
    sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    now: Callable[[], float] = time.time,
) -> WaitEnd:
    """Poll a run until it has ended, or exceeds a limit.

    :param client: one that does not retry by itself
    :param on_poll: called after each poll
    :raises RunTakenOverError: a later try has taken the run over
    """
    wait, pause = Wait(run.run_id, watch), poll_interval
    end = wait.judge(run, now())
    while True:
        await on_poll()
        if end is not None:
            return end
        await sleep(max(0.0, min(pause, wait.latest_poll(now()) - now())))
        pause = poll_interval
        try:
            end = wait.read(
                await ensure_owner_stamp(client.update_run, await client.get_run(run.run_id), identity.owner), now()
            )
        except ViNotFoundError:
            end = wait.absent(now())
        except ViError as error:
            end = wait.failed(error, now())
            pause = max(pause, retry_after(error))


async def ensure_owner_stamp(update: Callable[..., Awaitable[Run]], run: Run, owner: str) -> Run:
    """Return the run with the owner stamp of this try.

    The late request of an earlier try may have written its own stamp again.

    :param update: changes attributes of a run, as ``AsyncViClient.update_run``
    :param owner: the stamp of this try
    :raises RunTakenOverError: the run is owned by a later try
    """
    found, ours = Stamps.of(run).owner, order_of(owner)
    if found > ours:
        raise RunTakenOverError(f"run {run.run_id} was taken over by another try of this task")
    if found == ours or run.state.is_ended:
        return run
    try:
        return await update(run.run_id, attributes=owner_stamps(owner))
    except ViError as error:
        log.warning("The owner stamp of run %s could not be renewed: %s", run.run_id, error)
        return run
