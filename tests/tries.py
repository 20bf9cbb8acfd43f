"""Shared by the tests of training runs: tries of a task that starts a run, without Airflow around them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from tests.tasks import TaskInstance, plain
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.operators.runs import RUN_ID_KEY, StartRunOperator
from vi_airflow_provider.triggers.runs import RunTrigger

START = datetime(2026, 7, 1, tzinfo=UTC)


@dataclass
class Try(TaskInstance):
    """A try of a task instance, with what the operator asks Airflow about it."""

    max_tries: int = 3
    state: str = "running"
    task: Any = None
    start_date: datetime = field(default_factory=lambda: datetime.now(UTC))

    def get_task_states(self, **_: Any) -> dict[str, dict[str, str]]:
        """Return the state as Airflow 3 does."""
        key = self.task_id if self.map_index < 0 else f"{self.task_id}_{self.map_index}"
        return {self.run_id: {key: self.state}}


def execute(flow_id: str | None, ti: Try | None = None, start: datetime = START, **arguments: Any) -> Any:
    """Execute a try of a task, by default the first one, and return its result."""
    operator = StartRunOperator(task_id="train", **{"flow_id": flow_id, "poll_interval": 0.01, **arguments})
    context: Any = {"ti": ti or Try(), "dag_run": SimpleNamespace(start_date=start)}
    operator.pre_execute(context)
    return plain(operator.execute(context))


def starts(emulator: Emulator) -> list[int]:
    """How often each run was started."""
    return [account["starts"] for account in emulator.bill().values()]


def interrupted(*args: Any, **kwargs: Any) -> Any:
    """End the task as a crash does."""
    raise KeyboardInterrupt


def begun(flow_id: str, monkeypatch: pytest.MonkeyPatch, ti: Try | None = None, **arguments: Any) -> str:
    """Start a run whose task dies as soon as it waits, and return the id of the run."""
    ti = ti or Try()
    with monkeypatch.context() as patch:
        patch.setattr(StartRunOperator, "_wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            execute(flow_id, ti, **arguments)
    return str(ti.pushed[RUN_ID_KEY])


def end_once_announced(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """End the run of the next try as soon as the try has stored its id, which it does before it waits."""
    announce = StartRunOperator._announce

    def announce_and_end(operator: StartRunOperator, *arguments: Any) -> None:
        announce(operator, *arguments)
        emulator.advance(3600)

    monkeypatch.setattr(StartRunOperator, "_announce", announce_and_end)


def deferred(flow_id: str, ti: Try | None = None, **arguments: Any) -> RunTrigger:
    """Execute a try of a task that defers, and return its trigger as the triggerer makes it."""
    with pytest.raises(TaskDeferred) as raised:
        execute(flow_id, ti, deferrable=True, **arguments)
    assert raised.value.timeout is None
    path, kwargs = raised.value.trigger.serialize()
    assert path == "vi_airflow_provider.triggers.runs.RunTrigger"
    return RunTrigger(**json.loads(json.dumps(kwargs)))


def event_of(trigger: RunTrigger) -> Any:
    """Run a trigger, and return the payload of its only event."""

    async def first() -> list[Any]:
        return [event async for event in trigger.run()]

    (event,) = asyncio.run(asyncio.wait_for(first(), 30))
    return json.loads(json.dumps(event.payload))


def complete(flow_id: str, event: Any, ti: Try | None = None, **arguments: Any) -> Any:
    """Resume a try of a task with an event."""
    operator = StartRunOperator(task_id="train", **{"flow_id": flow_id, "poll_interval": 0.1, **arguments})
    context: Any = {"ti": ti or Try(), "dag_run": SimpleNamespace(start_date=START)}
    operator.pre_execute(context)
    return plain(operator.execute_complete(context, event))


def killed_while_waiting(
    flow_id: str, state: str, monkeypatch: pytest.MonkeyPatch, ti: Try | None = None, **arguments: Any
) -> Try:
    """Execute a task that gets SIGTERM with its first poll, as Airflow 3 delivers it."""
    ti = ti or Try(state=state)
    operator = StartRunOperator(task_id="train", flow_id=flow_id, poll_interval=60, **arguments)
    context: Any = {"ti": ti, "dag_run": SimpleNamespace(start_date=START)}
    operator.pre_execute(context)

    def announce_and_be_killed(_: Any, run: Any, _generation: str) -> None:
        ti.xcom_push(RUN_ID_KEY, run.run_id)
        operator.on_kill()

    monkeypatch.setattr(operator, "_announce", announce_and_be_killed)
    operator.execute(context)
    return ti
