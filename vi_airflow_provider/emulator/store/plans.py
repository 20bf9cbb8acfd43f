"""Which plan a run gets when it starts."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Mapping
from typing import Any, TypedDict, Unpack

from vi_airflow_provider.emulator.rule_checks import RuleError, check_integer, check_text
from vi_airflow_provider.emulator.store.lifecycle import ConditionOrder, Plan, Scenario, Vocabulary
from vi_airflow_provider.emulator.store.schema import Document


class PlanFields(TypedDict, total=False):
    """The fields of a plan."""

    scenario: Scenario
    vocabulary: Vocabulary
    order: ConditionOrder
    run_seconds: float | None
    queue_seconds: float | None
    checkpoints: int
    log_lines: int


class ActivePlan:
    """A plan, the runs it is for, and how many it was given to."""

    def __init__(self, number: int, plan: Plan, run: str | None, times: int | None) -> None:
        check_text("run", run)
        if times is not None:
            check_integer("times", times, 1, note=", or null for no limit")
        try:
            self._run = re.compile(run or "")
        except re.error as error:
            raise RuleError(f"run is not a regular expression: {error}") from None
        self.number = number
        self.plan = plan
        self.run = run
        self.times = times
        self.given = 0

    def takes(self, run_id: str, name: str) -> bool:
        """Whether it is for this run; counts it."""
        if self.times is not None and self.given >= self.times:
            return False
        if not (self._run.search(run_id) or self._run.search(name)):
            return False
        self.given += 1
        return True

    def to_json(self) -> Document:
        """The plan and its counter."""
        rule = {"times": self.times, **({} if self.run is None else {"run": self.run}), **self.plan.to_json()}
        return {"id": self.number, "rule": rule, "given": self.given}


class PlanBook:
    """The plans in force; a run gets the first one that is for it, and otherwise the default plan."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._active: list[ActivePlan] = []

    def add(self, *, run: str | None = None, times: int | None = None, **plan: Unpack[PlanFields]) -> ActivePlan:
        """Plan runs that start from now on.

        :param run: a regular expression, searched in the run id and in the name of its flow; any run by default
        :param times: how many runs get this plan; all by default
        """
        active = ActivePlan(next(self._numbers), Plan(**plan), run, times)
        with self._lock:
            self._active.append(active)
        return active

    def add_json(self, value: Mapping[str, Any]) -> ActivePlan:
        """The same from JSON; unknown fields are refused."""
        plan = {name: item for name, item in value.items() if name not in ("run", "times")}
        Plan.from_json(plan)
        return self.add(**dict(value))

    def clear(self) -> None:
        """Remove all plans; runs that have started keep theirs."""
        with self._lock:
            self._active.clear()

    def plans(self) -> list[ActivePlan]:
        """All plans, used-up ones included."""
        with self._lock:
            return list(self._active)

    def take(self, run_id: str, name: str) -> Plan:
        """The plan of a run that starts now."""
        with self._lock:
            return next((active.plan for active in self._active if active.takes(run_id, name)), Plan())
