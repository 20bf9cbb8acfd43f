"""What a colleague does habitually: the rules of `colleague.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast, get_args

from vi_airflow_provider.emulator.matching import MATCH_FIELDS, Match, MatchFields
from vi_airflow_provider.emulator.rule_checks import RuleError, check_known, check_milliseconds, check_text

Action = Literal["edit", "delete", "restore", "create", "edit_run", "kill_run", "delete_run"]
Moment = Literal["before", "after", "during"]

#: The actions that take a spec, and those that take attributes.
_TAKES: Final = {"spec": ("edit", "create"), "attributes": ("edit", "create", "edit_run")}


class HabitOptions(MatchFields, total=False):
    """When a colleague acts."""

    moment: Moment
    delay_ms: float


class HabitContent(HabitOptions, total=False):
    """What a colleague writes, and when."""

    spec: Mapping[str, Any] | None
    attributes: Mapping[str, str | None] | None


class HabitFields(HabitContent, total=False):
    """The flat form of a habit."""

    action: Action
    flow_id: str | None
    run_id: str | None


@dataclass(frozen=True, kw_only=True)
class Habit:
    """One rule.

    `moment` is relative to the request: "before" it is handled; "after" it is handled, but before its response is
    sent; "during" the response, when half of the body is sent. With `delay_ms`, the colleague is slow: the request
    goes on, and the change is made this much later.

    `flow_id` None means the flow in the path of the request. If the path has none (a listing), it is the first flow
    that no run uses; for "restore", the flow that was deleted last. In the same way `run_id` None means the run in the
    path or, if the path has none, the first run that can be treated so. `spec` and `attributes` are what an edit
    changes (by default a setting or an attribute that counts the edits), or the flow that is created.
    """

    action: Action
    match: Match = field(default_factory=Match)
    moment: Moment = "before"
    flow_id: str | None = None
    run_id: str | None = None
    spec: Mapping[str, Any] | None = None
    attributes: Mapping[str, str | None] | None = None
    delay_ms: float = 0

    def __post_init__(self) -> None:
        if self.action not in get_args(Action):
            raise RuleError(f"action must be one of {', '.join(get_args(Action))}")
        if self.moment not in get_args(Moment):
            raise RuleError(f"moment must be one of {', '.join(get_args(Moment))}")
        check_text("flow_id", self.flow_id)
        check_text("run_id", self.run_id)
        check_milliseconds("delay_ms", self.delay_ms)
        for name, actions in _TAKES.items():
            value = getattr(self, name)
            if not isinstance(value, Mapping | None):
                raise RuleError(f"{name} must be an object")
            if value is not None and self.action not in actions:
                raise RuleError(f"{name} belongs to {', '.join(actions)}")
        wrong = "flow_id" if self.on_run else "run_id"
        if getattr(self, wrong) is not None:
            raise RuleError(f"{wrong} does not belong to {self.action}")

    @property
    def on_run(self) -> bool:
        """Whether the action is on a run, not on a flow."""
        return self.action.endswith("_run")

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
        optional = {name: getattr(self, name) for name in ("flow_id", "run_id", "spec", "attributes")}
        fields = {name: value for name, value in optional.items() if value is not None}
        if self.delay_ms:
            fields["delay_ms"] = self.delay_ms
        return {"action": self.action, "moment": self.moment, **self.match.to_fields(), **fields}
