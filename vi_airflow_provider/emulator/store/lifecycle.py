"""The life of a run: what happens when, and which conditions show it.

Theory of operation. A stored run is what clients can set, its *plan*, and two times: when it began and when a kill
was requested. Everything else is a function of these and of the time of the request: no timer has to fire, and a test
moves a run by moving its clock. It takes two steps:

1. `timeline` turns plan and times into *events* (queued, running, …) with their times, future ones included. A kill
   cuts the timeline: events later than the kill takes effect are replaced by "killed". If the natural end comes first,
   the kill has no effect on it.
2. `conditions` renders the events that have happened in one of the four vocabularies that the vendor's product, SDK
   and documentation use, in either order. Which one the real server uses is not documented.

A run is active until an ending event has happened. `killedAt` in the spec only means that a kill was requested.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple, get_args

from vi_airflow_provider.emulator.rule_checks import RuleError, check_integer, check_known, check_milliseconds
from vi_airflow_provider.emulator.store.schema import Document

Scenario = Literal[
    "succeed",
    "stuck_queued",
    "fail_at_start",
    "fail_at_end",
    "restart",
    "slow_kill",
    "kill_races_finish",
    "killed_by_person",
    "vanish",
    "nan_metrics",
    "no_model",
    "unknown_status",
]
Vocabulary = Literal["milestones", "product", "sdk_page", "docstrings"]
ConditionOrder = Literal["newest_first", "oldest_first"]
Stage = Literal["queued", "stumbled", "running", "succeeded", "failed", "killed"]

ENDED: Final = frozenset({"succeeded", "failed", "killed"})
#: How long a kill takes to stop a run in the scenario "slow_kill", as a share of the whole run.
SLOW_KILL: Final = 0.5

_WORDS: Final[dict[str, dict[Stage, str]]] = {
    "product": {"queued": "Queued", "stumbled": "Starting", "running": "Running", "succeeded": "Completed",
                "failed": "Failed", "killed": "Killed"},
    "sdk_page": {"queued": "Pending", "stumbled": "Running", "running": "Running", "succeeded": "Succeeded",
                 "failed": "Failed", "killed": "Cancelled"},
    "docstrings": {"queued": "pending", "stumbled": "running", "running": "running", "succeeded": "completed",
                   "failed": "failed", "killed": "cancelled"},
}  # fmt: skip
_CHOICES: Final = {"scenario": Scenario, "vocabulary": Vocabulary, "order": ConditionOrder}


class Event(NamedTuple):
    """Something that happens to a run."""

    at: int
    stage: Stage


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a run goes, and how its conditions show it. Seconds of None follow the emulator's settings."""

    scenario: Scenario = "succeed"
    vocabulary: Vocabulary = "milestones"
    order: ConditionOrder = "newest_first"
    run_seconds: float | None = None
    queue_seconds: float | None = None
    checkpoints: int = 3
    log_lines: int = 60

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in get_args(choices):
                raise RuleError(f"{name} must be one of {', '.join(get_args(choices))}")
        for name in ("run_seconds", "queue_seconds"):
            if getattr(self, name) is not None:
                check_milliseconds(name, getattr(self, name))
        check_integer("checkpoints", self.checkpoints, 0)
        check_integer("log_lines", self.log_lines, 0)

    @classmethod
    def from_json(cls, value: Document) -> Plan:
        """Read a plan; unknown fields are refused."""
        check_known("plan", value, [field.name for field in fields(cls)])
        return cls(**value)

    def to_json(self) -> Document:
        """The fields that differ from the defaults."""
        return {name: value for name, value in asdict(self).items() if value != getattr(_DEFAULT, name)}


_DEFAULT: Final = Plan()


@dataclass(frozen=True)
class Life:
    """One run from its start on, as far as plan and times determine it."""

    plan: Plan
    began: int
    total_ms: int
    queue_ms: int
    kill_requested: int | None = None

    @classmethod
    def of(cls, run: Document, run_ms: int) -> Life:
        """The life of a stored run; `run_ms` is how long a run takes unless its plan differs."""
        plan = Plan.from_json(run.get("plan", {}))
        total = run_ms if plan.run_seconds is None else int(plan.run_seconds * 1000)
        queue = total // 10 if plan.queue_seconds is None else int(plan.queue_seconds * 1000)
        began = run.get("began", run["metadata"]["timeCreated"])
        return cls(plan, began, max(total, queue), queue, run.get("killRequested", run["spec"].get("killedAt")))

    def timeline(self) -> list[Event]:
        """All events, past and future."""
        events = list(self._natural())
        kill = self.killed_at
        if kill is None:
            return events
        if self.plan.scenario == "kill_races_finish":
            before = [event for event in events if event.at < kill and event.stage not in ENDED]
            return [*before, Event(kill, "succeeded")]
        effective = kill + (int(self.total_ms * SLOW_KILL) if self.plan.scenario == "slow_kill" else 0)
        before = [event for event in events if event.at <= effective]
        return before if before and before[-1].stage in ENDED else [*before, Event(effective, "killed")]

    @property
    def killed_at(self) -> int | None:
        """When a kill was requested, by a client or (as the plan may be) by a person."""
        if self.kill_requested is None and self.plan.scenario == "killed_by_person":
            return self._middle
        return self.kill_requested

    @property
    def vanishes_at(self) -> int | None:
        """When the run disappears without a trace."""
        return self._middle if self.plan.scenario == "vanish" else None

    def happened(self, now: int) -> list[Event]:
        """The events so far."""
        return [event for event in self.timeline() if event.at <= now]

    def is_active(self, now: int) -> bool:
        """Whether no ending event has happened."""
        return not any(event.stage in ENDED for event in self.happened(now))

    def running_ms(self, now: int) -> int:
        """How long it has occupied a GPU."""
        events = [*self.happened(now), Event(now, "killed")]
        return sum(later.at - event.at for event, later in pairwise(events) if event.stage == "running")

    def progress(self, now: int) -> float:
        """The share of the training that is done."""
        stages, span = {event.stage for event in self.happened(now)}, self.total_ms - self.queue_ms
        if "running" not in stages or "succeeded" in stages:
            return 1.0 if "succeeded" in stages else 0.0
        return min(1.0, self.running_ms(now) / span) if span else 1.0

    def moment_of(self, progress: float) -> int:
        """When a share of the training is done, if nothing interrupts it."""
        return self._start + int(progress * (self._end - self._start))

    @property
    def _start(self) -> int:
        return self.began + self.queue_ms

    @property
    def _end(self) -> int:
        return self.began + self.total_ms

    @property
    def _middle(self) -> int:
        return (self._start + self._end) // 2

    def _natural(self) -> list[Event]:
        queued, running = Event(self.began, "queued"), Event(self._start, "running")
        match self.plan.scenario:
            case "stuck_queued":
                return [queued]
            case "fail_at_start":
                return [queued, Event(self._start, "failed")]
            case "fail_at_end":
                return [queued, running, Event(self._end, "failed")]
            case "restart":
                again = Event(self.moment_of(0.1), "running")
                return [queued, Event(self._start, "stumbled"), again, Event(self._end, "succeeded")]
        return [queued, running, Event(self._end, "succeeded")]

    # -- conditions -----------------------------------------------------------------------------------

    def conditions(self, now: int) -> list[Document]:
        """The conditions at a time, in the vocabulary and the order of the plan."""
        events = self.happened(now)
        render = _milestones if self.plan.vocabulary == "milestones" else _words
        conditions = render(events, self)
        if self.plan.scenario == "unknown_status" and self.is_active(now):
            conditions.append(_condition("Preparing", "InProgress", events[-1].at if events else self.began))
        return conditions[::-1] if self.plan.order == "newest_first" else conditions


def _words(events: list[Event], life: Life) -> list[Document]:
    words = _WORDS[life.plan.vocabulary]
    return [
        _condition(words[event.stage], "FailedReach" if event.stage == "stumbled" else "Reached", event.at,
                   **_details(event.stage))
        for event in events
    ]  # fmt: skip


def _milestones(events: list[Event], life: Life) -> list[Document]:
    """Queued, Started and Finished, each waiting, reached or failed."""
    by_stage = {event.stage: event.at for event in events}
    conditions = [_condition("Queued", "Reached", life.began)]
    if "stumbled" in by_stage:
        conditions.append(_condition("Started", "FailedReach", by_stage["stumbled"], **_details("stumbled")))
    never_started = "failed" in by_stage and "running" not in by_stage
    if never_started:
        conditions.append(_condition("Started", "FailedReach", by_stage["failed"], **_details("failed")))
    elif "running" in by_stage:
        conditions.append(_condition("Started", "Reached", by_stage["running"], **_details("running")))
    else:
        conditions.append(_condition("Started", "Waiting", life.began))
    ended = next((stage for stage in by_stage if stage in ENDED), None)
    if ended is None or never_started:
        conditions.append(_condition("Finished", "Waiting", life.began))
    else:
        status = "Reached" if ended == "succeeded" else "FailedReach"
        conditions.append(_condition("Finished", status, by_stage[ended], **_details(ended)))
    return conditions


def _details(stage: Stage) -> dict[str, str]:
    details: dict[Stage, dict[str, str]] = {
        "running": {"message": "Training started."},
        "stumbled": {"reason": "Preempted", "message": "The node was preempted; the run starts again."},
        "failed": {"reason": "OutOfMemory", "message": "CUDA out of memory while loading the model."},
        "killed": {"reason": "Killed", "message": "Killed by a user."},
    }
    return details.get(stage, {})


def _condition(name: str, status: str, at: int, **details: Any) -> Document:
    return {"condition": name, "status": status, "lastTransitionTime": at, **details}
