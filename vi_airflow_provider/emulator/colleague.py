"""A colleague: somebody else who works on the same flows while a client does.

A rule describes one habit: at which moment of which requests the colleague does what to which flow. Unlike fault
rules, all rules that fire on a request count, so several colleagues can meet. A rule leaves the response alone;
combine it with a fault rule to edit a flow between a failed request and its retry.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypedDict, Unpack, cast, get_args

from vi_airflow_provider.emulator.matching import MATCH_FIELDS, Counter, Match, MatchFields, RequestLine
from vi_airflow_provider.emulator.rule_checks import RuleError, check_known, check_milliseconds, check_text
from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.schema import Document
from vi_airflow_provider.emulator.store.store import Store

Action = Literal["edit", "delete", "restore", "create"]
Moment = Literal["before", "after", "during"]

_FLOW_IN_PATH: Final = re.compile(r"/flows/([^/]+)")


class HabitOptions(MatchFields, total=False):
    """When a colleague acts."""

    moment: Moment
    delay_ms: float


class HabitFields(HabitOptions, total=False):
    """The flat form of a habit."""

    action: Action
    flow_id: str | None
    spec: Mapping[str, Any] | None
    attributes: Mapping[str, str | None] | None


@dataclass(frozen=True, kw_only=True)
class Habit:
    """One rule.

    `moment` is relative to the request: "before" it is handled; "after" it is handled, but before its response is
    sent; "during" the response, when half of the body is sent. With `delay_ms`, the colleague is slow: the request
    goes on, and the change is made this much later.

    `flow_id` None means the flow in the path of the request. If the path has none (a listing), it is the first flow
    that no run uses; for "restore", the flow that was deleted last. `spec` and `attributes` are what an edit
    changes (by default a setting that counts the edits), or the flow that is created.
    """

    action: Action
    match: Match = field(default_factory=Match)
    moment: Moment = "before"
    flow_id: str | None = None
    spec: Mapping[str, Any] | None = None
    attributes: Mapping[str, str | None] | None = None
    delay_ms: float = 0

    def __post_init__(self) -> None:
        if self.action not in get_args(Action):
            raise RuleError(f"action must be one of {', '.join(get_args(Action))}")
        if self.moment not in get_args(Moment):
            raise RuleError(f"moment must be one of {', '.join(get_args(Moment))}")
        check_text("flow_id", self.flow_id)
        check_milliseconds("delay_ms", self.delay_ms)
        for name in ("spec", "attributes"):
            value = getattr(self, name)
            if not isinstance(value, Mapping | None):
                raise RuleError(f"{name} must be an object")
            if value is not None and self.action not in ("edit", "create"):
                raise RuleError(f"{name} belongs to edit and create")

    @classmethod
    def from_json(cls, value: object) -> Habit:
        """Read the flat form; unknown fields are refused."""
        if not isinstance(value, dict):
            raise RuleError("a habit must be a JSON object")
        check_known("habit", value, HabitFields.__annotations__)
        if "action" not in value:
            raise RuleError("action is required")
        match = {name: value[name] for name in MATCH_FIELDS if name in value}
        own = {name: item for name, item in value.items() if name not in match}
        return cls(match=Match(**cast("MatchFields", match)), **own)

    def to_json(self) -> dict[str, Any]:
        """The flat form: the fields that differ from the defaults, and always `action`, `moment` and `times`."""
        optional = {name: getattr(self, name) for name in ("flow_id", "spec", "attributes")}
        fields = {name: value for name, value in optional.items() if value is not None}
        if self.delay_ms:
            fields["delay_ms"] = self.delay_ms
        return {"action": self.action, "moment": self.moment, **self.match.to_fields(), **fields}


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


class Deed(TypedDict):
    """Something that a colleague did, or tried to do: `status` is what an HTTP client would have got."""

    action: Action
    flow_id: str | None
    request: str | None
    status: int


class Colleague:
    """The habits in force, and what came of them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._active: list[ActiveHabit] = []
        self._history: list[Deed] = []
        self._edits = itertools.count(1)

    # -- habits ---------------------------------------------------------------------------------------

    def edit(
        self,
        flow_id: str | None = None,
        *,
        spec: Mapping[str, Any] | None = None,
        attributes: Mapping[str, str | None] | None = None,
        **when: Unpack[HabitOptions],
    ) -> ActiveHabit:
        """Change parts of a flow, as a PATCH would."""
        return self.add(_habit("edit", flow_id, when, spec, attributes))

    def create(
        self,
        flow_id: str | None = None,
        *,
        spec: Mapping[str, Any] | None = None,
        attributes: Mapping[str, str] | None = None,
        **when: Unpack[HabitOptions],
    ) -> ActiveHabit:
        """Create a flow, by default one more sample flow."""
        return self.add(_habit("create", flow_id, when, spec, attributes))

    def delete(self, flow_id: str | None = None, **when: Unpack[HabitOptions]) -> ActiveHabit:
        """Delete a flow."""
        return self.add(_habit("delete", flow_id, when))

    def restore(self, flow_id: str | None = None, **when: Unpack[HabitOptions]) -> ActiveHabit:
        """Create a deleted flow again, as it was."""
        return self.add(_habit("restore", flow_id, when))

    def add(self, habit: Habit) -> ActiveHabit:
        """Put a habit in force."""
        active = ActiveHabit(next(self._numbers), habit)
        with self._lock:
            self._active.append(active)
        return active

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
    def history(self) -> list[Deed]:
        """What was done so far, failed attempts included."""
        with self._lock:
            return list(self._history)

    def change_now(self, *, edit: int = 0, create: int = 0, delete: int = 0) -> list[Deed]:
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

    # -- deeds ----------------------------------------------------------------------------------------

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

    def _record(self, habit: Habit, flow_id: str | None, request: str | None = None) -> None:
        status = 200
        try:
            flow_id = self._do(habit, flow_id)
        except ApiError as error:
            status = error.status
        deed = Deed(action=habit.action, flow_id=flow_id, request=request, status=status)
        with self._lock:
            self._history.append(deed)

    def _target(self, habit: Habit, request: RequestLine) -> str | None:
        named = _FLOW_IN_PATH.search(request.path)
        if habit.flow_id is not None or named is None:
            return habit.flow_id
        return named[1]

    def _do(self, habit: Habit, flow_id: str | None) -> str | None:
        match habit.action:
            case "restore":
                return self._store.flows.restore(flow_id)
            case "create":
                return self._create(habit, flow_id)
        if flow_id is None:
            flow_id = next(iter(self._store.flows.free_ids()), None)
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


def _habit(
    action: Action,
    flow_id: str | None,
    when: HabitOptions,
    spec: Mapping[str, Any] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Habit:
    return Habit.from_json({"action": action, "flow_id": flow_id, "spec": spec, "attributes": attributes, **when})
