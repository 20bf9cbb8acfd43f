"""Drive the calls for runs without a client, against a server that is a function."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from tests.documents import (
    ORGANIZATION_ID,
    RUN_ID,
    wire_bytes,
    wire_run,
    wire_spec,
)
from tests.transports import Clock, settings_for, upper_bound
from vi_airflow_provider.api.models import Run
from vi_airflow_provider.api.protocol.messages import Failure, FailureKind, Outcome, Request, Response, Send, Steps
from vi_airflow_provider.api.protocol.paging import Paginator
from vi_airflow_provider.api.verbs import ViProtocol

T = TypeVar("T")
Server = Callable[[Request], Outcome]

RUNS: Final = f"/workspaces/{ORGANIZATION_ID}/runs"
LOST: Final = (Response(500), Response(503), Failure(FailureKind.TIMEOUT), Failure(FailureKind.BROKEN))
ENDED: Final = [{"condition": "Succeeded", "status": "Reached", "lastTransitionTime": 1_783_219_000_000}]


def ok(document: Any) -> Response:
    return Response(200, {"content-type": "application/json"}, wire_bytes(document))


class Driver:
    """Carries out the steps of a call against a server, on a clock of its own."""

    def __init__(self, server: Server, **settings: Any) -> None:
        self.clock = Clock()
        self.sent: list[Request] = []
        self.calls = ViProtocol(settings_for("https://vi.example", **settings), clock=self.clock, jitter=upper_bound)
        self._server = server

    def run(self, steps: Steps[T]) -> T:
        reply: Any = None
        while True:
            try:
                step = steps.send(reply)
            except StopIteration as done:
                value: T = done.value
                return value
            reply = None
            if isinstance(step, Send):
                self.sent.append(step.request)
                reply = self._server(step.request)
            else:
                self.clock.sleep(step.seconds)  # type: ignore[union-attr]

    def all(self, paginator: Paginator[Any]) -> list[Any]:
        found: list[Any] = []
        while (steps := paginator.next_page()) is not None:
            found += paginator.documents(self.run(steps))
        return found

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.sent]


class RunServer:
    """A server with one run at most, whose writes may fail before or after they take effect."""

    def __init__(self, run: dict[str, Any] | None = None, fates: Iterable[tuple[bool, Outcome | None]] = ()) -> None:
        self.run = run
        self.starts = 0
        self._fates = iter(fates)

    def __call__(self, request: Request) -> Outcome:
        if request.method == "GET":
            return Response(404) if self.run is None else ok(self.run)
        applied, outcome = next(self._fates, (True, None))
        if applied:
            self._write(request.method, json.loads(request.body or b"{}"))
        return ok(self.run) if outcome is None else outcome

    def _write(self, method: str, body: dict[str, Any]) -> None:
        if method == "PUT":
            self.starts += 1
            self.run = wire_run(spec__flow=body["spec"]["flow"])
        elif self.run is not None:
            self.run["spec"] |= body["spec"]


def start(driver: Driver) -> Run:
    return driver.run(driver.calls.start_run(wire_spec(), run_id=RUN_ID, attributes={"a": "b"}))
