"""A call and a script of outcomes, played three ways: by the bare protocol, ``ViClient`` and ``AsyncViClient``.

The protocol receives the outcomes; the clients meet them on a socket, byte by byte. No wait is real: the
clock advances only in sleeps, and the jitter is at its upper bound (1, 2, 4, … seconds).
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import pytest
from pydantic import BaseModel

from tests.documents import FLOW_ID, ORGANIZATION_ID, RUN_ID, SECRET_KEY, wire_bytes, wire_flow, wire_spec
from tests.scripted_server import Act, After, ScriptedServer, http_bytes
from vi_airflow_provider.api import async_client, client
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.api.models import Flow, GuardedWrite, Run, RunLogs, RunOutput
from vi_airflow_provider.api.protocol import exchange
from vi_airflow_provider.api.protocol.messages import Failure, FailureKind, Response, Send, Sleep, Steps
from vi_airflow_provider.api.protocol.paging import Paginator
from vi_airflow_provider.api.settings import ViSettings
from vi_airflow_provider.api.verbs import ViProtocol

M = TypeVar("M", bound=BaseModel)

# --- what may happen to a request ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What happens to one request: on the wire, and as the protocol receives it.

    ``{here}`` and ``{elsewhere}`` in headers stand for the host and port of two servers; the calls go to the first.
    """

    act: Act
    means: Response | Failure

    def between(self, here: str, elsewhere: str) -> Outcome:
        """Fill in the addresses of the servers."""

        def filled(text: str) -> str:
            return text.replace("{here}", here).replace("{elsewhere}", elsewhere)

        means = self.means
        if isinstance(means, Response):
            means = dataclasses.replace(means, headers={name: filled(value) for name, value in means.headers.items()})
        send = filled(self.act.send.decode("latin-1")).encode("latin-1")
        return Outcome(dataclasses.replace(self.act, send=send), means)


def http(status: int, body: Any = b"", *, coded: Callable[[bytes], bytes] | None = None, **headers: str) -> Outcome:
    """A response. A document as the body is written as JSON; headers are given with ``_`` for ``-``."""
    content = body if isinstance(body, bytes) else wire_bytes(body)
    named = _named(headers)
    raw = http_bytes(status, content if coded is None else coded(content), named)
    return Outcome(Act(raw), Response(status, {name.lower(): value for name, value in named}, content))


def raw(content: bytes, means: Response | Failure) -> Outcome:
    """A response, byte by byte."""
    return Outcome(Act(content), means)


def truncated(status: int) -> Outcome:
    """The connection ends within the body."""
    return raw(http_bytes(status, b'{"items":[', missing=10), Failure(FailureKind.BROKEN, status=status))


def stalled(status: int) -> Outcome:
    """The server falls silent within the body."""
    content = http_bytes(status, b'{"items":[', missing=10)
    return Outcome(Act(content, After.HANG), Failure(FailureKind.TIMEOUT, status=status))


RESET: Final = Outcome(Act(after=After.RESET), Failure(FailureKind.BROKEN))
CLOSED: Final = Outcome(Act(after=After.CLOSE), Failure(FailureKind.BROKEN))
SILENT: Final = Outcome(Act(after=After.HANG), Failure(FailureKind.TIMEOUT))
GARBAGE: Final = raw(b"\x16\x03\x01 this is no HTTP\r\n\r\n", Failure(FailureKind.INVALID))
REFUSED: Final = Outcome(Act(refuse=True), Failure(FailureKind.CONNECT))


def _named(headers: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name.replace("_", "-"), value) for name, value in headers.items())


# --- what is asked -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """One thing to ask for: of the protocol, and of the clients, whose methods are named alike.

    ``method`` lists the HTTP methods that it may use.
    """

    name: str
    method: str
    steps: Callable[[ViProtocol], Steps[Any]]
    ask: Callable[[Any], Any]


def _walked(walk: Paginator[M]) -> Steps[list[M]]:
    documents: list[M] = []
    while (steps := walk.next_page()) is not None:
        documents += walk.documents((yield from steps))
    return documents


_SPEC: Final = wire_spec()
_PATCH: Final = {"name": "x"}

GET: Final = Call("get", "GET", lambda p: p.get_flow(FLOW_ID), lambda c: c.get_flow(FLOW_ID))
EXISTS: Final = Call("exists", "GET", lambda p: p.flow_exists(FLOW_ID), lambda c: c.flow_exists(FLOW_ID))
LIST: Final = Call("list", "GET", lambda p: _walked(p.list_flows()), lambda c: c.list_flows())
FIND: Final = Call("find", "GET", lambda p: p.find_flow(flow_id=FLOW_ID), lambda c: c.find_flow(flow_id=FLOW_ID))
FIND_TWIN: Final = Call("find", "GET", lambda p: p.find_flow(name="twin"), lambda c: c.find_flow(name="twin"))
DELETE: Final = Call("delete", "DELETE", lambda p: p.delete_flow(FLOW_ID), lambda c: c.delete_flow(FLOW_ID))
CREATE: Final = Call(
    "create", "PUT", lambda p: p.create_flow(_SPEC, flow_id=FLOW_ID), lambda c: c.create_flow(_SPEC, flow_id=FLOW_ID)
)
REPLACE: Final = Call(
    "replace", "PUT", lambda p: p.replace_flow(FLOW_ID, _SPEC), lambda c: c.replace_flow(FLOW_ID, _SPEC)
)
UPDATE: Final = Call(
    "update", "PATCH", lambda p: p.update_flow(FLOW_ID, spec=_PATCH), lambda c: c.update_flow(FLOW_ID, spec=_PATCH)
)


def _matches(flow: Flow | None) -> bool:
    return flow is None or flow.etag == MATCHING


#: The etag of the flows that a guarded write of the table may touch.
MATCHING: Final = '"seen"'
_RESTORED: Final = wire_flow(etag=MATCHING)

DELETE_IF: Final = Call(
    "delete if",
    "GET DELETE",
    lambda p: p.delete_flow_if(FLOW_ID, _matches),
    lambda c: c.delete_flow_if(FLOW_ID, _matches),
)
REPLACE_IF: Final = Call(
    "replace if",
    "GET PUT",
    lambda p: p.put_flow_if(FLOW_ID, _SPEC, {"a": "b"}, matches=_matches),
    lambda c: c.put_flow_if(FLOW_ID, _SPEC, {"a": "b"}, matches=_matches),
)
RESTORE_IF: Final = Call(
    "restore if",
    "GET PUT",
    lambda p: p.restore_flow_if(_RESTORED, _matches),
    lambda c: c.restore_flow_if(_RESTORED, _matches),
)

LIST_RUNS: Final = Call("list runs", "GET", lambda p: _walked(p.list_runs()), lambda c: c.list_runs())
GET_RUN: Final = Call("get run", "GET", lambda p: p.get_run(RUN_ID), lambda c: c.get_run(RUN_ID))
START_RUN: Final = Call(
    "start run",
    "PUT GET",
    lambda p: p.start_run(_SPEC, run_id=RUN_ID),
    lambda c: c.start_run(_SPEC, run_id=RUN_ID),
)
KILL_RUN: Final = Call("kill run", "GET PATCH", lambda p: p.kill_run(RUN_ID), lambda c: c.kill_run(RUN_ID))
DELETE_RUN: Final = Call("delete run", "DELETE", lambda p: p.delete_run(RUN_ID), lambda c: c.delete_run(RUN_ID))
LOGS: Final = Call("logs", "GET", lambda p: p.get_run_logs(RUN_ID), lambda c: c.get_run_logs(RUN_ID))
OUTPUTS: Final = Call(
    "outputs", "GET", lambda p: _walked(p.list_run_outputs(RUN_ID)), lambda c: c.list_run_outputs(RUN_ID)
)

# --- what comes of it ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Raised:
    """An error, by the attributes that decide what a caller does."""

    kind: type[ViError]
    status_code: int | None
    attempts: int


@dataclass(frozen=True)
class Verdict:
    """All that can be seen of a call from outside. Flows and runs are named by their ids."""

    gives: Any
    requests: int
    slept: tuple[float, ...]


@dataclass(frozen=True)
class Case:
    """A call, what happens to its requests, and the expected verdict."""

    behaviour: str
    call: Call
    script: tuple[Outcome, ...]
    expected: Verdict
    max_response_bytes: int = exchange.MAX_RESPONSE_BYTES
    settings: dict[str, Any] = field(default_factory=dict)


def case(
    behaviour: str,
    call: Call,
    *script: Outcome,
    gives: Any = None,
    raises: type[ViError] | None = None,
    status: int | None = None,
    attempts: int | None = None,
    slept: tuple[float, ...] = (),
    max_response_bytes: int = exchange.MAX_RESPONSE_BYTES,
    **settings: Any,
) -> Case:
    """A case in which the whole script happens; ``attempts`` of the error are as many, unless given."""
    result = gives if raises is None else Raised(raises, status, len(script) if attempts is None else attempts)
    verdict = Verdict(result, len(script), slept)
    return Case(f"{call.name}: {behaviour}", call, script, verdict, max_response_bytes, settings)


# --- the three ways ------------------------------------------------------------------------------------------------


class Clock:
    """A clock that advances only in sleeps.

    :param between: called in each wait
    """

    def __init__(self, between: Callable[[], None] = lambda: None) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self._between = between

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        self._between()

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


def upper_bound(_low: float, high: float) -> float:
    """Jitter without chance."""
    return high


def settings_for(endpoint: str, **changes: Any) -> ViSettings:
    """Settings for a server of the test; without TLS, so that no CA bundle is read."""
    given = {"organization_id": ORGANIZATION_ID, "secret_key": SECRET_KEY, "verify": False, **changes}
    return ViSettings(endpoint=endpoint, **given)


def by_protocol(case: Case, monkeypatch: pytest.MonkeyPatch) -> Verdict:
    here, elsewhere = "127.0.0.1:8321", "127.0.0.1:8322"
    outcomes = [outcome.between(here, elsewhere).means for outcome in case.script]
    clock = Clock()
    sent: list[Send] = []

    def run() -> Any:
        steps = case.call.steps(
            ViProtocol(settings_for(f"http://{here}", **case.settings), clock=clock, jitter=upper_bound)
        )
        reply: Response | Failure | None = None
        while True:
            try:
                step = steps.send(reply)
            except StopIteration as done:
                return done.value
            reply = None
            if isinstance(step, Sleep):
                clock.sleep(step.seconds)
            else:
                assert isinstance(step, Send)
                reply = outcomes[len(sent)]
                sent.append(step)

    monkeypatch.setattr(exchange, "MAX_RESPONSE_BYTES", case.max_response_bytes)
    result = _result(run)
    assert {urlsplit(send.request.url).netloc for send in sent} == {here}, "the credentials went to another origin"
    assert {send.request.method for send in sent} <= set(case.call.method.split())
    return Verdict(result, len(sent), tuple(clock.slept))


def by_client(case: Case, monkeypatch: pytest.MonkeyPatch) -> Verdict:
    def ask(settings: ViSettings, clock: Clock) -> Any:
        with ViClient(settings, sleep=clock.sleep) as vi:
            value = case.call.ask(vi)
            return list(value) if isinstance(value, Iterator) else value

    return _on_a_socket(case, monkeypatch, client, ask)


def by_async_client(case: Case, monkeypatch: pytest.MonkeyPatch) -> Verdict:
    async def ask(settings: ViSettings, clock: Clock) -> Any:
        async with AsyncViClient(settings, sleep=clock.sleep_async) as vi:
            value = case.call.ask(vi)
            return [item async for item in value] if isinstance(value, AsyncIterator) else await value

    return _on_a_socket(case, monkeypatch, async_client, lambda *given: asyncio.run(ask(*given)))


WAYS: Final = (by_protocol, by_client, by_async_client)


def _on_a_socket(
    case: Case, monkeypatch: pytest.MonkeyPatch, module: Any, ask: Callable[[ViSettings, Clock], Any]
) -> Verdict:
    elsewhere = ScriptedServer()
    here = ScriptedServer()
    here.acts += [outcome.between(here.address, elsewhere.address).act for outcome in case.script]
    clock = Clock(between=here.pause)
    monkeypatch.setattr(module, "ViProtocol", partial(ViProtocol, clock=clock, jitter=upper_bound))
    monkeypatch.setattr(exchange, "MAX_RESPONSE_BYTES", case.max_response_bytes)
    with elsewhere, here:
        result = _result(lambda: ask(settings_for(here.url, **case.settings), clock))
    assert not here.acts, "not everything in the script happened"
    assert not elsewhere.received, "the credentials went to another origin"
    assert {request.method for request in here.received} <= set(case.call.method.split())
    writes = [request for request in here.received if request.method != "GET"]
    assert len({(request.target, request.body) for request in writes}) <= 1, "a retry was another request"
    return Verdict(result, here.requests, tuple(clock.slept))


def _result(ask: Callable[[], Any]) -> Any:
    try:
        value = ask()
    except ViError as error:
        return Raised(type(error), error.status_code, error.attempts)
    return [_shown(item) for item in value] if isinstance(value, list) else _shown(value)


def _shown(value: Any) -> Any:
    match value:
        case GuardedWrite():
            return value.written, value.flow and value.flow.etag
        case Flow():
            return value.flow_id
        case Run():
            return value.run_id, value.state
        case RunOutput():
            return value.run_output_id, value.metrics, value.non_finite_metrics
        case RunLogs():
            return value.text
    return value
