"""Every cell of the fault matrix, run: each operation, by each client that can do it, with each fault."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import BaseOperator  # noqa: F401 - in the main thread, as Airflow 2.11 needs it

from tests.certificates import Authority
from tests.reliability.fault_proxy import Background, Door, Line, Plan
from tests.reliability.faults import DELETED_BY_OTHERS, FAULTS, HUGE, Fault
from tests.reliability.matrix import PAGE, Verdict, expected, page_with, senseless, strikes, table, tries_again
from tests.reliability.operations import (
    CALLS,
    OK,
    TASKS,
    TWICE,
    Flows,
    Operation,
    Stage,
    new_backend,
    virtual_time,
)
from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.api.protocol import exchange
from vi_airflow_provider.emulator.http.app import create_app

#: Short patience; each kind of failure is tried once more.
EXTRA: Final = {"max_retries": 1, "max_rate_limit_retries": 1, "page_size": 2, "allow_http": True}
#: Seconds until a client gives up, where a fault needs that.
SHORT: Final = 0.25
LONG: Final = 10.0
GET: Final = next(operation for operation in CALLS if operation.name == "get")


@pytest.fixture
def staged(
    background: Background,
    runner: asyncio.Runner,
    trusted: Authority,
    certificates: Mapping[Door, ssl.SSLContext],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Stage]]:
    """Return a function that sets the stage for an operation and a fault."""
    lines: list[Line] = []

    def stage(operation: Operation, fault: Fault, *, once: bool, patience: float) -> Stage:
        tls = fault.door in (Door.WRONG_HOST, Door.UNKNOWN_CA)
        plan = Plan(
            fault.door,
            fault.strike,
            certificates if tls else {},
            once,
            operation.skip,
            lambda request: request.method == operation.method and (not fault.of_listing or "p=" in request.target),
        )
        backend = new_backend()
        line = Line(background, create_app(backend), plan).__enter__()
        lines.append(line)
        monkeypatch.setattr(socket, "getaddrinfo", _resolving(line, _getaddrinfo))
        extra = {**EXTRA, "verify": str(trusted.path) if tls else False}
        if fault.limit is not None:
            extra[fault.limit] = patience
        folder = tmp_path / str(len(lines))
        folder.mkdir()
        stage = Stage(backend, line, extra, folder, runner)
        monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", stage.connection)
        if operation in TASKS:
            virtual_time(stage, monkeypatch)
        return stage

    yield stage
    for line in lines:
        line.__exit__()


_getaddrinfo = socket.getaddrinfo


def _resolving(line: Line, resolve: Callable[..., Any]) -> Callable[..., Any]:
    """Let the name of the line's server mean this machine, when it resolves at all."""

    def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        if host != "vi.invalid":
            return resolve(host, *args, **options)
        if not line.resolves:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve("127.0.0.1", *args, **options)

    return getaddrinfo


def without_others(flows: Flows, fault: Fault) -> Flows:
    """What somebody else deletes is no business of the operation."""
    return {key: flow for key, flow in flows.items() if not (fault.others and key in DELETED_BY_OTHERS)}


def outcome(operation: Operation, way: Callable[[Stage], str], fault: Fault, stage: Stage) -> Verdict:
    before = without_others(stage.flows, fault)
    try:
        said = way(stage)
    except ViError as error:
        said = type(error).__name__
    return Verdict(said, operation.done(before, without_others(stage.flows, fault)))


def happened(fault: Fault, stage: Stage) -> bool:
    """Did the fault strike at all? A success would prove nothing otherwise."""
    return stage.line.struck > 0 if fault.strike else len(stage.slept) > 0


def cells(operations: tuple[Operation, ...]) -> pytest.MarkDecorator:
    """Run a test for every cell of these operations, for every client, and for a fault that strikes once or stays."""
    return pytest.mark.parametrize(
        ("operation", "way", "fault", "once"),
        [
            pytest.param(operation, way, fault, once, id=f"{operation.name}: {fault.name}, {how}, {way}")
            for operation in operations
            for fault in FAULTS
            if senseless(operation, fault) is None
            for once in strikes(operation, fault)
            for way in operation.ways
            for how in ["once" if once else "stays"]
        ],
    )


@pytest.fixture
def small_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a mebibyte for too large: to read 64 of them takes its time, and all operations read alike."""
    monkeypatch.setattr(exchange, "MAX_RESPONSE_BYTES", 1 << 20)


def decided(fault: Fault, run: Callable[[float], None]) -> None:
    """Run a cell with a patience of so many seconds.

    To a client a machine that stalls that long looks like a server that does not answer. So a cell in which something
    has a limit fails only if it fails with a patience that no machine wears out, too.
    """
    if fault.limit is not None:
        with contextlib.suppress(AssertionError, ViError):
            run(SHORT)
            return
    run(LONG)


@cells(CALLS)
@pytest.mark.usefixtures("small_bound")
def test_a_call(operation: Operation, way: str, fault: Fault, once: bool, staged: Callable[..., Stage]) -> None:
    def run(patience: float) -> None:
        stage = staged(operation, fault, once=once, patience=patience)
        verdict = outcome(operation, operation.ways[way], fault, stage)
        assert verdict == expected(operation, fault, once=once)
        assert verdict.said != OK or happened(fault, stage)
        ends_well = expected(operation, fault, once=False).said in (OK, TWICE)
        assert len(stage.slept) == (tries_again(operation, fault) and not ends_well)
        low, high = fault.wait
        assert all(low <= seconds <= high for seconds in stage.slept)

    decided(fault, run)


@cells(TASKS)
@pytest.mark.usefixtures("small_bound")
def test_a_task(operation: Operation, way: str, fault: Fault, once: bool, staged: Callable[..., Stage]) -> None:
    def run(patience: float) -> None:
        stage = staged(operation, fault, once=once, patience=patience)
        before = without_others(stage.flows, fault)
        verdict = outcome(operation, operation.ways[way], fault, stage)
        assert verdict == expected(operation, fault, once=once)
        assert verdict.said != OK or happened(fault, stage)
        if verdict.said != OK and not operation.looks_again:
            # Airflow's retry of the task, when the fault is over: what is left to do is done, and nothing twice.
            stage.line.mend()
            assert operation.ways[way](stage) == OK
            assert operation.done(before, without_others(stage.flows, fault)) == operation.steps

    decided(fault, run)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if str(HUGE) in fault.name], ids=lambda fault: fault.name)
@pytest.mark.parametrize("way", GET.ways)
def test_an_answer_that_is_too_large_is_not_held_in_memory(
    fault: Fault, way: str, staged: Callable[..., Stage]
) -> None:
    stage = staged(GET, fault, once=False, patience=LONG)
    # Its server shares our memory: it is measured, too, and holds what the sockets do not take.
    tracemalloc.start()
    try:
        said = outcome(GET, GET.ways[way], fault, stage).said
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert said == "ViResponseError"
    assert peak < 1.5 * exchange.MAX_RESPONSE_BYTES


def test_the_page_shows_this_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page_with(table(), page) == page, "run: make reliability"
