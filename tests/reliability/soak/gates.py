"""Run hundreds of `FlowTrigger`s on one event loop, as a triggerer does, and check what each yields and when."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

from tests.reliability.soak.model import MismatchError
from vi_airflow_provider.gates.condition import Gate
from vi_airflow_provider.gates.outcome import WaitOutcome, WaitResult, read_event
from vi_airflow_provider.triggers.flows import FlowTrigger
from vi_airflow_provider.triggers.runs import RunTrigger

CONN_ID: Final = "vi_gates"
POKE_INTERVAL: Final = 1.0
#: Seconds within which a gate must open after its flow is ready, although many consecutive polls may fail.
PATIENCE: Final = 60.0


class GateKind(StrEnum):
    """What a gate waits for."""

    APPEARS = "appears"
    CHANGES = "changes"
    VANISHES = "vanishes"
    #: A flow that is never created.
    NEVER = "never"

    @property
    def condition(self) -> dict[str, Any]:
        """The condition as arguments of a sensor."""
        conditions: dict[GateKind, dict[str, Any]] = {
            GateKind.CHANGES: {"min_generation": 2},
            GateKind.VANISHES: {"absent": True},
        }
        return conditions.get(self, {})


@dataclass
class WatchedGate:
    """A gate and its result."""

    flow_id: str
    kind: GateKind
    opened: Callable[[WatchedGate], None]
    #: Time just before the request that makes the flow ready: from then on the gate may open.
    ready: float | None = None
    #: Time at which that request is known to be applied: from then on the gate must open.
    due: float | None = None
    opened_at: float | None = None
    ended: WaitResult | None = None
    events: int = 0

    @property
    def overdue(self) -> bool:
        """Has it failed to open in time?"""
        return self.opened_at is None and self.due is not None and time.monotonic() > self.due + PATIENCE


@dataclass
class GateRunner:
    """Runs the triggers on an event loop in a thread, and reports the first mismatch to `fail`."""

    fail: Callable[[BaseException], None]
    _tasks: dict[asyncio.Task[None], WatchedGate] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="triggerer", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._cancel(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def add(self, gate: WatchedGate) -> None:
        """Start a gate."""
        self._loop.call_soon_threadsafe(self._start, gate)

    def result_of(self, trigger: RunTrigger, seconds: float) -> Any:
        """Run a trigger to its event, and return the payload.

        :raises TimeoutError: the trigger has not yielded in time
        """

        async def first() -> Any:
            return (await anext(aiter(trigger.run()))).payload

        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(first(), seconds), self._loop).result()

    def gates(self) -> list[WatchedGate]:
        """Return the waiting gates."""
        return list(self._tasks.values())

    def _start(self, gate: WatchedGate) -> None:
        task = self._loop.create_task(self._watch(gate))
        self._tasks[task] = gate
        task.add_done_callback(self._tasks.pop)

    async def _watch(self, gate: WatchedGate) -> None:
        spec = Gate.build({"flow_id": gate.flow_id}, gate.kind.condition).model_dump(mode="json")
        trigger = FlowTrigger(vi_conn_id=CONN_ID, gate=spec, poke_interval=POKE_INTERVAL)
        _, arguments = trigger.serialize()
        try:
            async for event in FlowTrigger(**arguments).run():
                gate.opened_at = time.monotonic()
                gate.events += 1
                gate.ended = read_event(event.payload, absent=gate.kind is GateKind.VANISHES)
                self._check(gate)
            if gate.events != 1:
                raise MismatchError(f"the gate on {gate.flow_id} ended without an event")
        except Exception as error:
            self.fail(error)
        else:
            gate.opened(gate)

    def _check(self, gate: WatchedGate) -> None:
        assert gate.ended is not None
        what = f"the gate that waits until {gate.flow_id} {gate.kind}"
        if gate.events > 1:
            raise MismatchError(f"{what} opened {gate.events} times")
        if gate.ended.outcome is not WaitOutcome.OPEN:
            raise MismatchError(f"{what} ended with {gate.ended.outcome}: {gate.ended.error}")
        if gate.ready is None:
            raise MismatchError(f"{what} opened before its flow was changed")

    async def _cancel(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
