"""Gates for flows as the triggerer loads them, and the event in which they end."""

from __future__ import annotations

from typing import Any, Final

from tests.unit.gates.modes import events_of, stored
from tests.unit.gates.virtual import BEGIN, VirtualClock, VirtualVi
from vi_airflow_provider.gates.outcome import WaitResult, read_event
from vi_airflow_provider.triggers.flows import FlowTrigger

HOUR: Final = 3600.0


def gate(flow_id: str = "f", **condition: Any) -> dict[str, Any]:
    return {"target": {"flow_id": flow_id}, "condition": condition}


def trigger(flow_id: str = "f", **arguments: Any) -> FlowTrigger:
    """Create a trigger as a triggerer does, from the database."""
    given = {"vi_conn_id": "vi_default", "gate": gate(flow_id), "deadline": BEGIN + HOUR, **arguments}
    loaded: FlowTrigger = stored(FlowTrigger(**given))
    return loaded


def end_of(clock: VirtualClock, trigger: FlowTrigger) -> WaitResult:
    (event,) = clock.run(events_of(trigger))
    return read_event(event, absent=trigger.gate["condition"].get("absent", False))


def polls(vi: VirtualVi) -> list[float]:
    return [request.at for request in vi.requests]
