"""Any sequence of crashes, retries and clears of a task, judged by the emulator's bill."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tries import Try, execute, killed_while_waiting, starts
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.emulator.store.lifecycle import Scenario
from vi_airflow_provider.hooks.vi import ViHook
from vi_airflow_provider.operators.runs import StartRunOperator
from vi_airflow_provider.training.job import RunFailedError, TaskInterruptedError

pytestmark = pytest.mark.vi_emulator(flows=3, run_seconds=0.02, runs=0)

CRASHES = ("before_start", "after_start", "while_waiting", "late_start", "evicted")
EVENTS = st.sampled_from([*CRASHES, "failed_by_person", "cleared", "time_passes"])


class Crash(BaseException):
    """The process of a task is gone."""


class TaskInstanceHistory:
    """A task instance with its tries, and what was started for each generation."""

    def __init__(self, emulator: Emulator, on_clear: str, max_runs: int) -> None:
        self.emulator = emulator
        self.arguments: dict[str, Any] = {"on_clear": on_clear, "max_runs": max_runs, "tail_logs": False}
        self.flow_id = emulator.store.flow_ids()[0]
        self.try_number, self.max_tries = 0, 3
        self.started: Counter[int] = Counter()
        self.allowed: Counter[int] = Counter({3: max_runs})

    def clear(self) -> None:
        self.max_tries = self.try_number + 3
        self.allowed[self.max_tries] = self.arguments["max_runs"]

    def next_try(self, state: str = "running") -> Try:
        self.try_number += 1
        return Try(try_number=self.try_number, max_tries=self.max_tries, state=state)

    def attempt(self, event: str, monkeypatch: pytest.MonkeyPatch) -> None:
        ti = self.next_try({"failed_by_person": "failed", "cleared": "restarting"}.get(event, "running"))
        before = len(self.emulator.bill())
        ends = (Crash, RunFailedError, AirflowFailException, TaskInterruptedError)
        with monkeypatch.context() as patch, suppress(*ends):
            self._prepare(event, patch)
            if event in ("evicted", "failed_by_person", "cleared"):
                killed_while_waiting(self.flow_id, ti.state, patch, ti, **self.arguments)
            else:
                patch.setattr(StartRunOperator, "_wait", _crash)
                execute(self.flow_id, ti, **self.arguments)
        self.started[self.max_tries] += len(self.emulator.bill()) - before

    def _prepare(self, event: str, patch: pytest.MonkeyPatch) -> None:
        start_run = ViHook.start_run

        def late(hook: ViHook, *args: Any, **kwargs: Any) -> Any:
            patch.setattr(ViHook, "start_run", start_run)
            if event == "before_start":
                raise Crash
            if event == "late_start":
                with suppress(Crash):
                    execute(self.flow_id, self.next_try(), **self.arguments)
            run = start_run(hook, *args, **kwargs)
            if event == "after_start":
                raise Crash
            return run

        patch.setattr(ViHook, "start_run", late)

    def check(self) -> None:
        active = [run_id for run_id in self.emulator.bill() if self._is_active(run_id)]
        assert len(active) <= 1, active
        assert starts(self.emulator) == [1] * len(self.emulator.bill())
        for generation, count in self.started.items():
            assert count <= self.allowed[generation], (self.started, self.allowed)

    def _is_active(self, run_id: str) -> bool:
        conditions = self.emulator.store.get_run(run_id)["status"]["conditions"]
        ends = {"Finished", "Failed", "Killed", "Cancelled"}
        return not any(
            c["status"] == "FailedReach" or (c["status"] == "Reached" and c["condition"] in ends) for c in conditions
        )


def _crash(*_: Any, **__: Any) -> Any:
    raise Crash


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    events=st.lists(EVENTS, min_size=1, max_size=7),
    on_clear=st.sampled_from(["restart", "adopt"]),
    max_runs=st.integers(1, 2),
    scenario=st.sampled_from(["succeed", "fail_at_end"]),
)
def test_no_sequence_of_events_pays_for_a_run_too_many(
    vi_emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    events: list[str],
    on_clear: str,
    max_runs: int,
    scenario: Scenario,
) -> None:
    vi_emulator.reset(flows=3, runs=0)
    vi_emulator.plans.add(run_seconds=3600, scenario=scenario)
    history = TaskInstanceHistory(vi_emulator, on_clear, max_runs)
    for event in events:
        if event == "time_passes":
            vi_emulator.advance(7200)
        else:
            history.attempt(event, monkeypatch)
        if event in ("failed_by_person", "cleared"):
            history.clear()
        history.check()
