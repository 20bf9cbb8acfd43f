"""What becomes of a run when its task has to end, by the state of the task that Airflow has stored."""

from __future__ import annotations

from typing import Final

#: The states of a task that a person has ended. In any other one, another try follows, or the task is waiting.
ENDED_BY_A_PERSON: Final = frozenset({"failed", "success", "removed", "skipped", "upstream_failed", "restarting"})
#: The state of a task that a person has cleared while a worker executed it.
_CLEARED: Final = "restarting"
_ADOPTED: Final = "the run goes on, and the next try takes it over"


def ends_run(state: str | None, on_clear: str) -> bool:
    """Return whether a person has ended a task such that its run is to end, too.

    :param state: the stored state of the task, ``None`` if it is unknown
    :param on_clear: ``"adopt"`` if the next try of a task that was cleared takes the run over
    """
    return state in ENDED_BY_A_PERSON and not (on_clear == "adopt" and state == _CLEARED)


def reason_to_go_on(state: str | None, on_clear: str, *, cancel_on_kill: bool) -> str | None:
    """Return why the run of a task that has to end goes on, ``None`` if it is to be killed."""
    if state == "running":
        return f"the worker is shutting down; {_ADOPTED}"
    if state is None:
        return f"the task has to end, and its state cannot be read; {_ADOPTED}"
    if state not in ENDED_BY_A_PERSON:
        return f"the task has to end in state {state}; {_ADOPTED}"
    if not ends_run(state, on_clear):
        return f"the task was cleared; {_ADOPTED}"
    return None if cancel_on_kill else "a person has ended the task; the run goes on, since cancel_on_kill is False"
