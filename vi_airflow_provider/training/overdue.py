"""Kills the runs whose lease has expired: their task is gone, and nothing else would end them.

The lease is stamped on a run when it is started, if limits were given: it is the time at which its task would have
killed it at the latest. However the task was lost, a later one finds the run by its lease alone. Only active runs with
a lease, of the same namespace, are touched, and each is read again right before each attempt to kill it.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from vi_airflow_provider.api.errors import ViError, ViNotFoundError, one_line
from vi_airflow_provider.api.models import Run, format_time
from vi_airflow_provider.api.transport.loop_thread import raise_if, until_stopped
from vi_airflow_provider.selection.arguments import boolean, count, optional_count, optional_text, seconds
from vi_airflow_provider.selection.matching import EARLIEST
from vi_airflow_provider.training.identity import DEADLINE, KILL_REASON, NAMESPACE, TASK, requested_at, whole_number

if TYPE_CHECKING:
    from vi_airflow_provider.api.client import ViClient

log = logging.getLogger(__name__)

#: The reason that is stamped on a run which is killed.
KILLED_AS_OVERDUE: Final = "its lease has expired"
#: Outcomes that an XCom and the log list at most.
MAX_LISTED: Final = 1000


class KillGuardError(Exception):
    """More runs are overdue than may be killed; none was."""


class OverdueError(Exception):
    """Some overdue runs could not be killed; the message names them, and ``report`` is the whole report."""

    def __init__(self, message: str, report: dict[str, Any]) -> None:
        super().__init__(message)
        self.report = report


class KillOutcome(StrEnum):
    """What became of a run whose lease has expired."""

    WOULD_KILL = "would_kill"
    KILLED = "killed"
    #: Its lease was extended, or its stamps were changed.
    CHANGED = "changed"
    ALREADY_ENDED = "already_ended"
    ALREADY_ABSENT = "already_absent"
    FAILED = "failed"


def lease_end(run: Run) -> int | None:
    """Return when the lease of a run expires, in milliseconds; ``None`` if it has none that can be trusted.

    The stamp is of the clock of the worker that started the run. If the server's clock gives a later end, that counts.
    """
    attributes = run.metadata.attributes
    deadline = whole_number(attributes.get(DEADLINE, ""))
    if deadline < EARLIEST:
        return None
    started = requested_at(attributes)
    if started is None:
        return deadline
    return None if started > deadline else max(deadline, run.metadata.time_created + deadline - started)


class LeasePolicy(NamedTuple):
    """Which runs are overdue.

    :param namespace: only runs of this namespace
    :param grace: milliseconds after the lease in which the task itself may still act
    """

    namespace: str
    grace: int

    def overdue_by(self, run: Run, now: int) -> int | None:
        """Return for how many milliseconds a run has been overdue, ``None`` if it is not.

        :param now: in milliseconds since the epoch
        """
        end = lease_end(run)
        if run.state.is_ended or end is None or run.metadata.attributes.get(NAMESPACE, "") != self.namespace:
            return None
        return now - end if now >= end + self.grace else None


@dataclass(frozen=True)
class KillRequest:
    """The checked arguments of ``KillOverdueRunsOperator``."""

    leases: LeasePolicy
    max_kill: int
    dry_run: bool
    page_size: int | None

    @classmethod
    def build(cls, namespace: str | None, *, grace: Any, max_kill: Any, dry_run: Any, page_size: Any) -> Self:
        """Check the arguments.

        :param namespace: that of the argument, or else of the connection
        :raises ViValidationError: a value is unusable; the message names the argument
        """
        leases = LeasePolicy(optional_text("namespace", namespace) or "", round(seconds("grace", grace) * 1000))
        dry_run = boolean("dry_run", dry_run)
        return cls(leases, count("max_kill", max_kill), dry_run, optional_count("page_size", page_size, 1))


class Overdue(NamedTuple):
    """A run whose lease has expired."""

    run_id: str
    name: str
    task: str
    deadline: int
    overdue_seconds: float

    @classmethod
    def of(cls, run: Run, overdue_by: int) -> Self:
        """Describe a run."""
        task = run.metadata.attributes.get(TASK, "")
        return cls(run.run_id, one_line(run.spec.flow.name), one_line(task), lease_end(run) or 0, overdue_by / 1000)


@dataclass(frozen=True)
class KillResult:
    """What became of a run, and why."""

    run: Overdue
    outcome: KillOutcome
    reason: str = KILLED_AS_OVERDUE

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON data."""
        return {**self.run._asdict(), "outcome": self.outcome.value, "reason": self.reason}


@dataclass
class Found:
    """What the listing has shown."""

    total: int = 0
    active: int = 0
    without_lease: int = 0


@dataclass(frozen=True)
class Reaper:
    """Finds the overdue runs and kills them.

    :param stopped: whether the task was killed
    :param now: seconds since the epoch
    """

    client: ViClient
    stopped: Callable[[], bool]
    now: Callable[[], float] = time.time

    def run(self, request: KillRequest) -> dict[str, Any]:
        """Find, guard, and unless it is a dry run, kill; return the report.

        :raises KillGuardError: more runs are overdue than ``max_kill``; none was killed
        :raises OverdueError: some runs could not be killed; the others were
        :raises StoppedError: the task was killed
        """
        found, overdue = self._find(request)
        log.info(
            "%d runs: %d active, %d of them without a lease in this namespace, %d overdue.",
            *(found.total, found.active, found.without_lease, len(overdue)),
        )
        refusal = None
        if len(overdue) > request.max_kill:
            refusal = f"{len(overdue)} runs are overdue, more than max_kill ({request.max_kill})."
            if not request.dry_run:
                raise KillGuardError(f"{refusal} None was killed.")
            log.warning("Without dry_run, a guard would refuse this: %s", refusal)
        results = [self._settle(run, request) for run in until_stopped(overdue, self.stopped)]
        report = self._report(request, found, results, refusal)
        if failed := [result for result in results if result.outcome is KillOutcome.FAILED]:
            shown = "; ".join(f"{result.run.run_id}: {one_line(result.reason)}" for result in failed[:5])
            raise OverdueError(f"{len(failed)} overdue runs could not be killed: {shown}", report)
        return report

    def _find(self, request: KillRequest) -> tuple[Found, list[Overdue]]:
        found, overdue, seen = Found(), dict[str, Overdue](), set[str]()
        for run in until_stopped(self.client.list_runs(page_size=request.page_size), self.stopped):
            if run.run_id in seen:  # a listing that changes while it is read may repeat a run
                continue
            seen.add(run.run_id)
            if run.state.is_ended:
                continue
            found.active += 1
            of_namespace = run.metadata.attributes.get(NAMESPACE, "") == request.leases.namespace
            found.without_lease += lease_end(run) is None or not of_namespace
            if (by := request.leases.overdue_by(run, self._now_ms())) is not None:
                overdue[run.run_id] = Overdue.of(run, by)
        found.total = len(seen)
        return found, sorted(overdue.values(), key=lambda run: (run.deadline, run.run_id))

    def _settle(self, run: Overdue, request: KillRequest) -> KillResult:
        result = KillResult(run, KillOutcome.WOULD_KILL) if request.dry_run else self._kill(run, request.leases)
        log.info(
            "%-14s lease until %s  %s  %s  %s  %s",
            *(result.outcome.value, format_time(run.deadline), run.run_id, one_line(result.reason), run.task, run.name),
        )
        return result

    def _kill(self, run: Overdue, leases: LeasePolicy) -> KillResult:
        matched = False

        def still_overdue(current: Run) -> bool:
            nonlocal matched
            raise_if(self.stopped)
            matched = leases.overdue_by(current, self._now_ms()) is not None
            return matched

        try:
            left = self.client.kill_run_if(run.run_id, still_overdue, attributes={KILL_REASON: KILLED_AS_OVERDUE})
        except ViNotFoundError:
            return KillResult(run, KillOutcome.ALREADY_ABSENT, "it does not exist any more")
        except ViError as error:
            return KillResult(run, KillOutcome.FAILED, f"{type(error).__name__}: {error}")
        if matched and left.spec.killed_at is not None:
            return KillResult(run, KillOutcome.KILLED)
        if left.state.is_ended:
            return KillResult(run, KillOutcome.ALREADY_ENDED, "it ended in the meantime")
        return KillResult(run, KillOutcome.CHANGED, "its stamps were changed, and it is not overdue any more")

    def _report(
        self, request: KillRequest, found: Found, results: list[KillResult], refusal: str | None
    ) -> dict[str, Any]:
        counts = Counter(result.outcome.value for result in results)
        counted = [outcome.value for outcome in KillOutcome if outcome is not KillOutcome.WOULD_KILL]
        return {
            "organization_id": self.client.settings.organization_id,
            "namespace": request.leases.namespace,
            "dry_run": request.dry_run,
            **asdict(found),
            "selected": len(results),
            **{name: counts[name] for name in counted},
            "guard": refusal,
            "outcomes": [result.as_json() for result in results[:MAX_LISTED]],
            "outcomes_omitted": max(0, len(results) - MAX_LISTED),
        }

    def _now_ms(self) -> int:
        return int(self.now() * 1000)
