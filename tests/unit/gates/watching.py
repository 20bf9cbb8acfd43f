"""An event trigger as Airflow runs, kills and restarts it, and the events that outlive a kill."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final

from tests.documents import wire_flow
from tests.unit.gates.modes import stored
from tests.unit.gates.virtual import VirtualClock
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.triggers.change_events import ChangeEventTrigger
from vi_airflow_provider.triggers.events import FlowEventTrigger

INTERVAL: Final = 60.0
#: Seconds after a tick by which its poll is done.
SETTLED: Final = 2.0


class StateStore:
    """Airflow's store for the state of one asset: a JSON value for a key."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.calls = 0
        self.written = 0
        #: Raised by every read and write.
        self.broken: Exception | None = None

    async def aget(self, key: str, default: Any = None) -> Any:
        self._check()
        return json.loads(self.values[key]) if key in self.values else default

    async def aset(self, key: str, value: Any) -> None:
        self._check()
        self.written += 1
        self.values[key] = json.dumps(value, allow_nan=False)

    def _check(self) -> None:
        self.calls += 1
        if self.broken is not None:
            raise self.broken


class Watching:
    """A watcher as Airflow runs and restarts it.

    :param kind: the class of its trigger
    """

    def __init__(self, clock: VirtualClock, kind: type[ChangeEventTrigger] = FlowEventTrigger) -> None:
        self._clock = clock
        self._kind = kind
        self.store: StateStore | None = StateStore()
        #: The time of each event, in seconds since the beginning, and its payload.
        self.events: list[tuple[float, dict[str, Any]]] = []

    def run(self, until: float, **arguments: Any) -> None:
        """Watch until a time, in a triggerer that was started just now."""
        interval = "poke_interval" if self._kind is FlowEventTrigger else "poll_interval"
        trigger = stored(self._kind(**{interval: INTERVAL, **arguments}))
        trigger.asset_state_store = self.store

        async def watch() -> None:
            async for event in trigger.run():
                payload = json.loads(json.dumps(event.payload, allow_nan=False))
                self.events.append((self._clock.elapsed, payload))

        async def main() -> None:
            watching = asyncio.create_task(watch())
            await asyncio.wait([watching], timeout=until - self._clock.elapsed)
            if watching.done():
                watching.result()
                raise AssertionError("it ended by itself; Airflow would start it again at once, and so forever")
            watching.cancel()
            await asyncio.wait([watching])

        self._clock.run(main())

    def run_and_kill(self, at: float, takes: float, **arguments: Any) -> None:
        """Watch until a SIGKILL, which loses the events that Airflow has not yet written to its database.

        :param takes: seconds that Airflow holds an event in memory
        """
        self.run(at, **arguments)
        self.events = [(moment, payload) for moment, payload in self.events if moment + takes <= at or moment > at]

    @property
    def changes(self) -> list[tuple[str, str]]:
        """The changes that were reported so far: flow id and event."""
        key = "flow_id" if self._kind is FlowEventTrigger else "run_id"
        return [(change[key], change["event"]) for _, payload in self.events for change in payload["changes"]]


class Client:
    """A client of an organization with these flows."""

    def __init__(self, organization_id: str, *flow_ids: str) -> None:
        self.settings = SimpleNamespace(organization_id=organization_id)
        self.flows = [Flow.model_validate(wire_flow(flowId=each, workspaceId=organization_id)) for each in flow_ids]

    async def list_flows(self) -> Any:
        for flow in self.flows:
            yield flow

    async def find_flow(self, flow_id: str) -> Flow | None:
        return None


def at(clock: VirtualClock, plan: dict[float, Callable[[], object]]) -> None:
    for moment, do in plan.items():
        clock.at(moment, do)


def all_of(*actions: Callable[[], object]) -> Callable[[], object]:
    return lambda: [action() for action in actions]
