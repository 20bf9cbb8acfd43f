"""Waiting for a run in a worker, on an event loop of its own, and how a wait ends."""

from __future__ import annotations

import asyncio
import logging
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
from vi_airflow_provider.training.identity import Stamps, TaskIdentity, order_of, owner_stamps
from vi_airflow_provider.training.starting import HIDDEN, RunTakenOverError
from vi_airflow_provider.training.watch import Limit, RunWatch, Verdict

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import Run, RunLogs

log = logging.getLogger(__name__)

EVENT_VERSION: Final = 1
#: Consecutive failed polls that end a wait.
MAX_FAILURES: Final = 10
#: Longest pause in seconds after a failed poll, however long ``Retry-After`` is.
_MAX_PAUSE: Final = 3600.0


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
class Progress:
    """Reports changes of a run's state in the log, and only changes."""

    run_id: str
    reported: str = ""

    def report(self, verdict: Verdict) -> None:
        """Report a verdict if the state is another one than before."""
        if verdict.state.value != self.reported:
            log.info("Run %s: %s.", self.run_id, verdict.state.value)
            self.reported = verdict.state.value


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
    failures, progress, pause, seen, began = 0, Progress(run.run_id), 0.0, False, now()
    while True:
        verdict = watch.judge(run, now())
        progress.report(verdict)
        await on_poll()
        if verdict.ended:
            return WaitEnd(run.run_id, RunEnd.ENDED)
        if verdict.exceeded is not None:
            return WaitEnd(run.run_id, RunEnd.EXCEEDED, verdict.exceeded)
        await sleep(max(0.0, pause, min(poll_interval, (verdict.next_limit or float("inf")) - now())))
        try:
            run = await own(client, await client.get_run(run.run_id), identity.owner)
            failures, pause, seen = 0, 0.0, True
        except ViNotFoundError:
            if seen or now() - began >= HIDDEN:
                return WaitEnd(run.run_id, RunEnd.GONE)
        except ViError as error:
            failures += 1
            if not error.retryable or failures >= MAX_FAILURES:
                return WaitEnd(run.run_id, RunEnd.FAILED, error=error)
            log.warning("Poll %d in a row failed: %s", failures, error)
            pause = min(error.retry_after or 0.0, _MAX_PAUSE)


async def own(client: RunVerbs, run: Run, owner: str) -> Run:
    """Return the run with the owner stamp of this try.

    The late request of an earlier try may have written its own stamp again.

    :param owner: the stamp of this try
    :raises RunTakenOverError: the run is owned by a later try
    """
    found, ours = Stamps.of(run).owner, order_of(owner)
    if found > ours:
        raise RunTakenOverError(f"run {run.run_id} was taken over by another try of this task")
    if found < ours and not run.state.is_ended:
        return await client.update_run(run.run_id, attributes=owner_stamps(owner))
    return run
