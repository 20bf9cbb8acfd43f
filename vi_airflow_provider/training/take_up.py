"""The one decision that every try begins with: which run is ours, and whether another one is to be started.

Theory of operation. Each run that a task instance ever starts has a number, and its id follows from the number. A try
searches for the run with the highest number (``latest``). A try starts at most one run, so try *n* has at most *n*
reads to make. :func:`decide` then chooses, from the stamps of that run, among

===========  ==========================================================================================
Start        no run, or one that has ended and may be followed by another: start the run of this number
Adopt        it is active and of this task: take it over
Restart      it is active and of a generation that was cleared, or killed and still active: wait for its end, then start
Finished     it has succeeded for this generation: its result is this task's result
TakenOver    a later try owns it: this one was frozen and has woken up, and must not touch anything any more
Refuse       anything else; nothing is touched
===========  ==========================================================================================

*Retry* and *clear* are distinguished by the generation (``max_tries``), which Airflow changes on a clear only. A retry
continues, a clear trains again. What is not known to be ours is refused, never adopted or killed: the stamp of the task
must be the same, and without a namespace the start of the DAG run, too, which two deployments practically never share.

Two tries that overlap (one was frozen, another has taken over) derive the same number, hence the same id: the second
PUT cannot start a second run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from vi_airflow_provider.api.errors import one_line
from vi_airflow_provider.api.models import Run, RunState
from vi_airflow_provider.training.identity import Stamps, TaskIdentity, order_of
from vi_airflow_provider.training.watch import Limit

#: The reason that is stamped on a run which is killed because its task was failed or cleared by a person.
KILLED_WITH_TASK = "the task was failed or cleared"
#: The reason that is stamped on a run whose task was cleared, by the try that follows it.
KILLED_FOR_RESTART = "the task was cleared, and trains again"


@dataclass(frozen=True)
class Terms:
    """On which terms a task takes up a run.

    :param digest: of the spec that is to be trained, overrides included; ``None`` if it cannot be read or made
    :param max_runs: how many runs a generation may start
    :param on_clear: what becomes of an active run of a generation that was cleared
    """

    identity: TaskIdentity
    digest: str | None
    max_runs: int = 1
    on_clear: Literal["restart", "adopt"] = "restart"


class Numbered(NamedTuple):
    """A run with its number among those of its task instance."""

    number: int
    run: Run


class Start(NamedTuple):
    """Start the run of this number; it is the n-th of its generation."""

    number: int
    run_number: int = 1


class Adopt(NamedTuple):
    """Take over an active run; ``warning`` describes what is odd about it."""

    run: Run
    run_number: int
    warning: str | None = None


class Restart(NamedTuple):
    """Kill an active run unless a kill was requested before, wait for its end, then start another."""

    run: Run
    then: Start


class Finished(NamedTuple):
    """Return the result of a run that has succeeded."""

    run: Run


class Refuse(NamedTuple):
    """Fail for good, and touch nothing."""

    reason: str
    run: Run


class TakenOver(NamedTuple):
    """End this try, which a later one has replaced, and touch nothing."""

    run: Run


Decision: TypeAlias = Start | Adopt | Restart | Finished | TakenOver | Refuse


def decide(latest: Numbered | None, terms: Terms) -> Decision:
    """Decide what a try does about the latest run of its task instance."""
    if latest is None:
        return Start(0)
    number, run = latest
    stamps = Stamps.of(run)
    if (stranger := _stranger(run, stamps, terms.identity)) is not None:
        return Refuse(stranger, run)
    if run.state.is_ended and "" < stamps.dag_run_start < terms.identity.dag_run_start:
        return _follow(run, Start(number + 1))  # the DAG run was deleted and created again, or cleared as a whole
    if stamps.owner > order_of(terms.identity.owner):
        return TakenOver(run)
    if stamps.generation == terms.identity.generation:
        return _continue(number, run, stamps, terms)
    if terms.on_clear == "adopt" and not run.state.is_ended:
        return Adopt(run, 1, _difference(stamps, terms))
    return _follow(run, Start(number + 1))


def _follow(run: Run, start: Start) -> Start | Restart:
    """Start another run, but not beside this one: a run that was killed may still be active for a while."""
    return start if run.has_stopped else Restart(run, start)


def _continue(number: int, run: Run, stamps: Stamps, terms: Terms) -> Decision:
    """Decide for a retry: an earlier try of this generation has started the run."""
    if not run.state.is_ended:
        return Adopt(run, stamps.run_number, _difference(stamps, terms))
    if run.state is RunState.SUCCEEDED:
        # A mapped task that was expanded again may have another item at this index.
        return Start(number + 1) if _difference(stamps, terms) else Finished(run)
    if run.state is RunState.KILLED:
        if not stamps.kill_reason:
            return Refuse(f"run {run.run_id} {describe_end(run)}, so nothing else is started", run)
        if stamps.kill_reason == KILLED_WITH_TASK:
            return _follow(run, Start(number + 1))
    if stamps.run_number >= terms.max_runs:
        what = f"run {run.run_id} {describe_end(run)}"
        return Refuse(f"{what}; {stamps.run_number} of max_runs={terms.max_runs} are used up", run)
    return _follow(run, Start(number + 1, stamps.run_number + 1))


def _stranger(run: Run, stamps: Stamps, identity: TaskIdentity) -> str | None:
    """Return why a run may not be ours."""
    if stamps.task != identity.task:
        return (
            f"run {run.run_id} has the id of this task's run, but names the task {stamps.task or 'unknown'!r:.200}; "
            "it is left alone"
        )
    matters = not run.state.is_ended or stamps.generation == identity.generation
    if not identity.namespace and matters and stamps.dag_run_start != identity.dag_run_start:
        return (
            f"run {run.run_id} was started for a DAG run that began at {stamps.dag_run_start or 'an unknown time'}, "
            f"this one began at {identity.dag_run_start}: it may belong to another deployment, so it is left alone. "
            "Set `namespace` in the connection's extra of each deployment; if the run is a left-over, "
            f"{'delete' if run.state.is_ended else 'kill'} it"
        )
    return None


def _difference(stamps: Stamps, terms: Terms) -> str | None:
    if terms.digest is None:
        return "whether it trains what the flow has now is not known"
    if stamps.flow_digest == terms.digest:
        return None
    return (
        f"the run trains another spec (digest {stamps.flow_digest[:12]}…) than the flow has now ({terms.digest[:12]}…)"
    )


def describe_end(run: Run) -> str:
    """Describe how a run ended, with the server's reason, or with the stamped one of a kill."""
    if run.state is not RunState.KILLED:
        return f"has {run.state.value}" + (f": {run.reason}" if run.reason else "")
    reason = one_line(Stamps.of(run).kill_reason)
    if reason in list(Limit):
        return f"was killed because it exceeded {reason}"
    return f"was killed: {reason}" if reason else "was killed in Vi by a person"
