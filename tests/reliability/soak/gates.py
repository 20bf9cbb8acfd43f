"""Hundreds of `FlowTrigger`s on one event loop, as on a triggerer, each watched for what it yields and when."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

from tests.reliability.soak.model import Disagreement
from vi_airflow_provider.gates.condition import Gate
from vi_airflow_provider.gates.outcome import WaitOutcome, WaitResult, read_event
from vi_airflow_provider.triggers.flows import FlowTrigger

CONN_ID: Final = "vi_gates"
POKE_INTERVAL: Final = 1.0
#: Seconds within which a gate must open once its flow is ready: as many looks may be spoilt, one after the other.
PATIENCE: Final = 60.0


class Kind(StrEnum):
    """What a gate waits for."""

    APPEARS = "appears"
    CHANGES = "changes"
    VANISHES = "vanishes"
    #: A flow that nobody creates.
    NEVER = "never"

    @property
    def condition(self) -> dict[str, Any]:
        """The condition of a sensor for it."""
        return {Kind.CHANGES: {"min_generation": 2}, Kind.VANISHES: {"absent": True}}.get(self, {})


@dataclass
class Waiting:
    """A gate and what became of it."""

    flow_id: str
    kind: Kind
    opened: Callable[[Waiting], None]
    #: When the request was about to be sent that makes the flow ready: from then on the gate may open.
    ready: float | None = None
    #: When that request was known to be applied: from then on it must open.
    due: float | None = None
    opened_at: float | None = None
    ended: WaitResult | None = None
    events: int = 0

    @property
    def overdue(self) -> bool:
        """Should it have opened by now?"""
        return self.opened_at is None and self.due is not None and time.monotonic() > self.due + PATIENCE


@dataclass
class GateKeeper:
    """Runs the triggers in a thread with an event loop; the first one that misbehaves is told to `fail`."""

    fail: Callable[[BaseException], None]
    _tasks: dict[asyncio.Task[None], Waiting] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="triggerer")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._cancel(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def add(self, gate: Waiting) -> None:
        """Let a gate wait from now on."""
        self._loop.call_soon_threadsafe(self._start, gate)

    def gates(self) -> list[Waiting]:
        """Return the gates that are waiting."""
        return list(self._tasks.values())

    def _start(self, gate: Waiting) -> None:
        task = self._loop.create_task(self._watch(gate))
        self._tasks[task] = gate
        task.add_done_callback(self._tasks.pop)

    async def _watch(self, gate: Waiting) -> None:
        spec = Gate.build({"flow_id": gate.flow_id}, gate.kind.condition).model_dump(mode="json")
        trigger = FlowTrigger(vi_conn_id=CONN_ID, gate=spec, poke_interval=POKE_INTERVAL)
        _, arguments = trigger.serialize()
        try:
            async for event in FlowTrigger(**arguments).run():
                gate.opened_at = time.monotonic()
                gate.events += 1
                gate.ended = read_event(event.payload, absent=gate.kind is Kind.VANISHES)
                self._check(gate)
            if gate.events != 1:
                raise Disagreement(f"the gate on {gate.flow_id} ended without an event")
        except Exception as error:
            self.fail(error)
        else:
            gate.opened(gate)

    def _check(self, gate: Waiting) -> None:
        assert gate.ended is not None
        what = f"the gate that waits until {gate.flow_id} {gate.kind}"
        if gate.events > 1:
            raise Disagreement(f"{what} opened {gate.events} times")
        if gate.ended.outcome is not WaitOutcome.OPEN:
            raise Disagreement(f"{what} ended with {gate.ended.outcome}: {gate.ended.error}")
        if gate.ready is None:
            raise Disagreement(f"{what} opened, and nothing was done to its flow")

    async def _cancel(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
