"""Run one sensor in each mode as Airflow does, and report how its task ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from types import SimpleNamespace
from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    TaskDeferred,
)

from tests.unit.gates.virtual import VirtualClock
from vi_airflow_provider.sensors.base import GateSensor
from vi_airflow_provider.triggers.gate import GateTrigger

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:
    from airflow.exceptions import AirflowRescheduleException


class Mode(StrEnum):
    """Where a sensor waits."""

    POKE = "poke"
    RESCHEDULE = "reschedule"
    DEFERRED = "deferred"


class State(StrEnum):
    """How the task ends."""

    SUCCESS = "success"
    SKIPPED = "skipped"
    #: Airflow retries of the task are used.
    FAILED = "failed"
    #: Airflow retries are not used.
    FAILED_FOR_GOOD = "failed for good"


@dataclass(frozen=True)
class End:
    """How a task ended; ``error`` is the exception, without the messages that Airflow writes itself."""

    state: State
    xcom: Any = None
    error: str = ""


@dataclass(frozen=True)
class Waiting:
    """Runs sensors in one mode after the other.

    :param clock: virtual time
    :param monkeypatch: replaces reads of Airflow's database
    """

    clock: VirtualClock
    monkeypatch: pytest.MonkeyPatch

    def wait(self, make: Callable[..., GateSensor], mode: Mode) -> End:
        """Let a sensor wait to its end."""
        ways = {Mode.POKE: self._poked, Mode.RESCHEDULE: self._rescheduled, Mode.DEFERRED: self._deferred}
        try:
            return End(State.SUCCESS, ways[mode](make))
        except AirflowSkipException:
            return End(State.SKIPPED)
        except (AirflowFailException, AirflowSensorTimeout) as error:
            message = "" if isinstance(error, AirflowSensorTimeout) else f": {error}"
            return End(State.FAILED_FOR_GOOD, error=type(error).__name__ + message)
        except Exception as error:
            return End(State.FAILED, error=f"{type(error).__name__}: {error}")

    def _poked(self, make: Callable[..., GateSensor]) -> Any:
        return make(deferrable=False).execute(CONTEXT)

    def _rescheduled(self, make: Callable[..., GateSensor]) -> Any:
        """Each poll is another process, which knows when the first one began, and nothing else."""
        base = sys.modules[BaseSensorOperator.__module__]
        began: Any = None
        if hasattr(base, "_orig_start_date"):  # Airflow 2 reads it from the database
            self.monkeypatch.setattr(base, "_orig_start_date", lambda **_: began)
            facts = {}
        else:
            facts = {"get_first_reschedule_date": lambda _context: began}
        while True:
            now = base.timezone.utcnow()
            try:
                return make(deferrable=False, mode="reschedule").execute(_context(**facts))
            except AirflowRescheduleException as again:
                began = began or now
                self.clock.sleep((again.reschedule_date - base.timezone.utcnow()).total_seconds())

    def _deferred(self, make: Callable[..., GateSensor]) -> Any:
        """The trigger and its event cross Airflow's database; each process has an instance of its own."""
        try:
            return make(deferrable=True).execute(CONTEXT)
        except TaskDeferred as deferred:
            trigger = stored(deferred.trigger)
            method, timeout = deferred.method_name, deferred.timeout
        began = self.clock.elapsed
        (event,) = self.clock.run(events_of(trigger))
        assert timeout is not None
        assert self.clock.elapsed - began < timeout.total_seconds(), "Airflow would have ended this wait first"
        return make(deferrable=True).resume_execution(method, {"event": json.loads(json.dumps(event))}, CONTEXT)


def stored(trigger: Any) -> Any:
    """Store a trigger and load it, as a triggerer does."""
    path, arguments = trigger.serialize()
    module, _, name = path.rpartition(".")
    return getattr(sys.modules[module], name)(**json.loads(json.dumps(arguments, allow_nan=False)))


async def events_of(trigger: GateTrigger[Any, Any]) -> list[Any]:
    """Return all events that a trigger yields."""
    return [event.payload async for event in trigger.run()]


def _context(**ti: Any) -> Any:
    return {"ti": SimpleNamespace(xcom_push=lambda **_: None, **_FACTS, **ti)}


_FACTS: Final = {"dag_id": "dag", "task_id": "gate", "run_id": "run", "map_index": -1, "max_tries": 0}
#: The part of the context that a sensor reads.
CONTEXT: Final = _context()
