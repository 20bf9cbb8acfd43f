"""A colleague: another person who works on the same flows and runs while a client does.

A rule describes one habit: at which moment of which requests the colleague does what to which flow. Unlike fault
rules, all rules that fire on a request count, so several colleagues can meet. A rule leaves the response alone;
combine it with a fault rule to edit a flow between a failed request and its retry.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Mapping
from typing import Any, Final, TypedDict, Unpack

from vi_airflow_provider.emulator.habits import Action, Habit, HabitContent, HabitOptions
from vi_airflow_provider.emulator.matching import Counter, RequestLine
from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.schema import Document
from vi_airflow_provider.emulator.store.store import Store

_FLOW_IN_PATH: Final = re.compile(r"/flows/([^/]+)")
_RUN_IN_PATH: Final = re.compile(r"/runs/([^/]+)")


class ActiveHabit:
    """A habit with its counters."""

    def __init__(self, number: int, habit: Habit) -> None:
        self.number = number
        self.habit = habit
        self.counter = Counter(habit.match)

    @property
    def matched(self) -> int:
        """How many requests it was for, those left alone included."""
        return self.counter.matched

    @property
    def fired(self) -> int:
        """How often the colleague acted."""
        return self.counter.fired

    def to_json(self) -> dict[str, Any]:
        """The habit and its counters."""
        return {"id": self.number, "rule": self.habit.to_json(), "matched": self.matched, "fired": self.fired}


class ColleagueAction(TypedDict):
    """Something that a colleague did, or tried to do: `status` is what an HTTP client would have got."""

    action: Action
    flow_id: str | None
    run_id: str | None
    request: str | None
    status: int


class Colleague:
    """The habits in force, and what came of them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._active: list[ActiveHabit] = []
        self._history: list[ColleagueAction] = []
        self._edits = itertools.count(1)

    # -- habits ---------------------------------------------------------------------------------------

    def edit(self, flow_id: str | None = None, **fields: Unpack[HabitContent]) -> ActiveHabit:
        """Change parts of a flow, as a PATCH would."""
        return self._add("edit", fields, flow_id=flow_id)

    def create(self, flow_id: str | None = None, **fields: Unpack[HabitContent]) -> ActiveHabit:
        """Create a flow, by default one more sample flow."""
        return self._add("create", fields, flow_id=flow_id)

    def delete(self, flow_id: str | None = None, **when: Unpack[HabitOptions]) -> ActiveHabit:
        """Delete a flow."""
        return self._add("delete", when, flow_id=flow_id)

    def restore(self, flow_id: str | None = None, **when: Unpack[HabitOptions]) -> ActiveHabit:
        """Create a deleted flow again, as it was."""
        return self._add("restore", when, flow_id=flow_id)

    def edit_run(self, run_id: str | None = None, **fields: Unpack[HabitContent]) -> ActiveHabit:
        """Change the attributes of a run."""
        return self._add("edit_run", fields, run_id=run_id)

    def kill_run(self, run_id: str | None = None, **when: Unpack[HabitOptions]) -> ActiveHabit:
        """Kill a run."""
        return self._add("kill_run", when, run_id=run_id)

    def delete_run(self, run_id: str | None = None, **when: Unpack[HabitOptions]) -> ActiveHabit:
        """Delete a run that has ended."""
        return self._add("delete_run", when, run_id=run_id)

    def add(self, habit: Habit) -> ActiveHabit:
        """Put a habit in force."""
        active = ActiveHabit(next(self._numbers), habit)
        with self._lock:
            self._active.append(active)
        return active

    def _add(self, action: Action, fields: Mapping[str, Any], **target: str | None) -> ActiveHabit:
        return self.add(Habit.from_json({**fields, **target, "action": action}))

    def clear(self) -> None:
        """Remove all habits, the history, and whatever is still delayed."""
        with self._lock:
            self._active.clear()
            self._history.clear()
            self._edits = itertools.count(1)

    def habits(self) -> list[ActiveHabit]:
        """All habits, spent ones included."""
        with self._lock:
            return list(self._active)

    @property
    def history(self) -> list[ColleagueAction]:
        """What was done so far, failed attempts included."""
        with self._lock:
            return list(self._history)

    def change_now(self, *, edit: int = 0, create: int = 0, delete: int = 0) -> list[ColleagueAction]:
        """Edit, create and delete this many flows at once, independent of any request."""
        free = self._store.flows.free_ids()
        targets: dict[Action, list[str] | list[None]] = {
            "edit": free[:edit],
            "create": [None] * create,
            "delete": free[edit : edit + delete],
        }
        before = len(self.history)
        for action, flow_ids in targets.items():
            for flow_id in flow_ids:
                self._record(Habit(action=action), flow_id)
        return self.history[before:]

    # -- actions --------------------------------------------------------------------------------------

    def due(self, request: RequestLine) -> list[ActiveHabit]:
        """The habits that fire on this request."""
        if not self._active:
            return []
        with self._lock:
            return [active for active in self._active if active.counter.fires(request)]

    def act(self, active: ActiveHabit, request: RequestLine) -> None:
        """Carry out a habit; a refusal is recorded, not raised."""
        if active not in self._active:  # cleared since
            return
        self._record(active.habit, self._target(active.habit, request), f"{request.method} {request.path}")

    def _record(self, habit: Habit, id_: str | None, request: str | None = None) -> None:
        status = 200
        try:
            id_ = self._do_to_run(habit, id_) if habit.on_run else self._do_to_flow(habit, id_)
        except ApiError as error:
            status = error.status
        flow_id, run_id = (None, id_) if habit.on_run else (id_, None)
        done = ColleagueAction(action=habit.action, flow_id=flow_id, run_id=run_id, request=request, status=status)
        with self._lock:
            self._history.append(done)

    def _target(self, habit: Habit, request: RequestLine) -> str | None:
        given = habit.run_id if habit.on_run else habit.flow_id
        named = (_RUN_IN_PATH if habit.on_run else _FLOW_IN_PATH).search(request.path)
        return named[1] if given is None and named is not None else given

    # -- flows ----------------------------------------------------------------------------------------

    def _do_to_flow(self, habit: Habit, flow_id: str | None) -> str:
        match habit.action:
            case "restore":
                return self._store.flows.restore(flow_id)
            case "create":
                return self._create(habit, flow_id)
        flow_id = flow_id or next(iter(self._store.flows.free_ids()), None)
        if flow_id is None:
            raise ApiError(404, "There is no flow")
        if habit.action == "delete":
            self._store.delete_flow(flow_id)
        else:
            self._edit(habit, flow_id)
        return flow_id

    def _edit(self, habit: Habit, flow_id: str) -> None:
        change: Document = {}
        if habit.spec is not None:
            change["spec"] = dict(habit.spec)
        if habit.attributes is not None:
            change["metadata"] = {"attributes": dict(habit.attributes)}
        if not change:
            settings = self._store.get_flow(flow_id)["spec"]["settings"]
            change = {"spec": {"settings": {**settings, "colleagueEdits": next(self._edits)}}}
        self._store.patch_flow(flow_id, change)

    def _create(self, habit: Habit, flow_id: str | None) -> str:
        if habit.spec is None:
            return self._store.create_flows(1)[0]
        flow_id = flow_id or f"colleague-{next(self._edits)}"
        metadata = {"attributes": dict(habit.attributes or {})}
        self._store.put_flow(flow_id, {"spec": dict(habit.spec), "metadata": metadata})
        return flow_id

    # -- runs -----------------------------------------------------------------------------------------

    def _do_to_run(self, habit: Habit, run_id: str | None) -> str:
        run_id = run_id or self._first_run(ended=habit.action == "delete_run")
        match habit.action:
            case "kill_run":
                self._store.patch_run(run_id, {"spec": {"killedAt": self._store.now()}})
            case "delete_run":
                self._store.delete_run(run_id)
            case _:
                attributes = dict(habit.attributes or {"colleague-edits": str(next(self._edits))})
                self._store.patch_run(run_id, {"metadata": {"attributes": attributes}})
        return run_id

    def _first_run(self, *, ended: bool) -> str:
        active = {run["runId"] for run in self._store.runs.active()}
        for run_id in self._store.run_ids():
            if (run_id not in active) == ended:
                return run_id
        raise ApiError(404, "There is no such run")
