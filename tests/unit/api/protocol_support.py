"""Play a call of the protocol without a client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tests.documents import ORGANIZATION_ID, wire_bytes, wire_flow
from tests.transports import Clock, settings_for, upper_bound
from vi_airflow_provider.api.protocol.messages import Failure, Request, Response, Send, Sleep, Steps
from vi_airflow_provider.api.verbs import ViProtocol

HERE: Final = "https://vi.example"
ROOT: Final = f"/workspaces/{ORGANIZATION_ID}"
FLOW: Final = Response(200, {}, wire_bytes(wire_flow()))


def protocol(clock: Callable[[], float] | None = None, **changes: Any) -> ViProtocol:
    return ViProtocol(settings_for(HERE, **changes), clock=clock or Clock(), jitter=upper_bound)


def first(steps: Steps[Any] | None) -> Request:
    """The first request of a call."""
    assert steps is not None
    step = next(steps)
    assert isinstance(step, Send)
    return step.request


def play(steps: Steps[Any], *outcomes: Response | Failure, clock: Clock | None = None) -> list[Send | Sleep]:
    """Feed a call with outcomes; return its steps up to its end."""
    taken: list[Send | Sleep] = []
    script = iter(outcomes)
    reply: Response | Failure | None = None
    try:
        while True:
            step = steps.send(reply)
            assert isinstance(step, Send | Sleep)
            taken.append(step)
            reply = None
            if isinstance(step, Send):
                reply = next(script)
            elif clock is not None:
                clock.sleep(step.seconds)
    except StopIteration:
        return taken
