"""Run every cell of the fault matrix: each operation with each fault, with each client that supports it."""

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
from tests.reliability.fault_proxy import ConnectMode, FaultPlan, FaultProxy, LoopThread
from tests.reliability.faults import DELETED_BY_OTHERS, FAULTS, HUGE, Fault
from tests.reliability.matrix import (
    PAGE,
    TASKS,
    Verdict,
    durations,
    expected,
    is_done,
    is_retried,
    not_applicable,
    page_with,
    table,
)
from tests.reliability.operations import (
    CALLS,
    OK,
    Documents,
    Operation,
    Setup,
    new_backend,
    run_key,
)
from tests.reliability.run_operations import virtual_run_time
from tests.reliability.task_operations import virtual_time
from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.api.protocol import exchange
from vi_airflow_provider.emulator.http.app import create_app

#: Each kind of failure is retried once.
EXTRA: Final = {"max_retries": 1, "max_rate_limit_retries": 1, "page_size": 2, "allow_http": True}
#: Timeout of a client in seconds, for faults that last until it expires.
SHORT: Final = 0.25
LONG: Final = 10.0
GET: Final = next(operation for operation in CALLS if operation.name == "get")


@pytest.fixture
def make_setup(
    loop_thread: LoopThread,
    runner: asyncio.Runner,
    trusted: Authority,
    certificates: Mapping[ConnectMode, ssl.SSLContext],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Setup]]:
    """Return a function that prepares an operation and a fault."""
    proxies: list[FaultProxy] = []

    def setup(operation: Operation, fault: Fault, *, once: bool, timeout: float) -> Setup:
        tls = fault.connect in (ConnectMode.WRONG_HOST, ConnectMode.UNKNOWN_CA)
        plan = FaultPlan(
            fault.connect,
            fault.effect,
            certificates if tls else {},
            once,
            operation.skip,
            lambda request: request.method == operation.method and (not fault.listing_only or "p=" in request.target),
        )
        backend = new_backend()
        proxy = FaultProxy(loop_thread, create_app(backend), plan).__enter__()
        proxies.append(proxy)
        monkeypatch.setattr(socket, "getaddrinfo", _resolving(proxy, _getaddrinfo))
        extra: dict[str, Any] = {**EXTRA, "verify": str(trusted.path) if tls else False}
        if fault.timeout_setting is not None:
            extra[fault.timeout_setting] = timeout
        folder = tmp_path / str(len(proxies))
        folder.mkdir()
        setup = Setup(backend, proxy, extra, folder, runner)
        monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", setup.connection)
        if operation in TASKS:
            virtual_time(setup, monkeypatch)
            virtual_run_time(setup, monkeypatch)
        return setup

    yield setup
    for proxy in proxies:
        proxy.__exit__()


_getaddrinfo = socket.getaddrinfo


def _resolving(proxy: FaultProxy, resolve: Callable[..., Any]) -> Callable[..., Any]:
    """Resolve the host name of the proxy to this machine, unless the fault prevents it."""

    def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        if host != "vi.invalid":
            return resolve(host, *args, **options)
        if not proxy.resolves:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve("127.0.0.1", *args, **options)

    return getaddrinfo


def without_others(documents: Documents, fault: Fault) -> Documents:
    """Leave out the flows and runs that another client deletes."""
    if not fault.concurrent_changes:
        return documents
    others = {*DELETED_BY_OTHERS, *map(run_key, DELETED_BY_OTHERS)}
    return {key: document for key, document in documents.items() if key not in others}


def outcome(operation: Operation, client: Callable[[Setup], str], fault: Fault, setup: Setup) -> Verdict:
    before = without_others(setup.documents, fault)
    try:
        outcome = client(setup)
    except ViError as error:
        outcome = type(error).__name__
    return Verdict(outcome, operation.count_changes(before, without_others(setup.documents, fault)))


def happened(fault: Fault, setup: Setup) -> bool:
    """Did the fault occur? Otherwise a success would prove nothing."""
    return setup.proxy.fired > 0 if fault.effect else len(setup.delays) > 0


def cells(operations: tuple[Operation, ...]) -> pytest.MarkDecorator:
    """Parametrize a test over every cell of these operations, every client, and faults that occur once or persist."""
    return pytest.mark.parametrize(
        ("operation", "client", "fault", "once"),
        [
            pytest.param(operation, client, fault, once, id=f"{operation.name}: {fault.name}, {how}, {client}")
            for operation in operations
            for fault in FAULTS
            if not_applicable(operation, fault) is None
            for once in durations(operation, fault)
            for client in operation.clients
            for how in ["once" if once else "persistent"]
        ],
    )


@pytest.fixture
def small_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower the size limit to 1 MiB: reading 64 MiB takes long, and all operations share the code that reads."""
    monkeypatch.setattr(exchange, "MAX_RESPONSE_BYTES", 1 << 20)


def run_cell(fault: Fault, run: Callable[[float], None]) -> None:
    """Run a cell with a suitable timeout.

    A machine that stalls longer than the timeout looks to the client like a server that does not respond. So a cell
    whose fault lasts until a timeout runs with a short one first, and fails only if it also fails with a long one.
    """
    if fault.timeout_setting is not None:
        with contextlib.suppress(AssertionError, ViError):
            run(SHORT)
            return
    run(LONG)


@cells(CALLS)
@pytest.mark.usefixtures("small_bound")
def test_call(operation: Operation, client: str, fault: Fault, once: bool, make_setup: Callable[..., Setup]) -> None:
    def run(timeout: float) -> None:
        setup = make_setup(operation, fault, once=once, timeout=timeout)
        verdict = outcome(operation, operation.clients[client], fault, setup)
        assert verdict == expected(operation, fault, once=once)
        assert verdict.outcome != OK or happened(fault, setup)
        retried = is_retried(operation, fault) and not is_done(operation, fault)
        assert retried <= len(setup.delays) <= retried * (1 + operation.confirms)  # its read is retried as well
        low, high = fault.delay
        assert all(low <= seconds <= high for seconds in setup.delays)

    run_cell(fault, run)


@cells(TASKS)
@pytest.mark.usefixtures("small_bound")
def test_task(operation: Operation, client: str, fault: Fault, once: bool, make_setup: Callable[..., Setup]) -> None:
    def run(timeout: float) -> None:
        setup = make_setup(operation, fault, once=once, timeout=timeout)
        before = without_others(setup.documents, fault)
        verdict = outcome(operation, operation.clients[client], fault, setup)
        assert verdict == expected(operation, fault, once=once)
        assert verdict.outcome != OK or happened(fault, setup)
        if verdict.outcome != OK and not operation.polls:
            # A retry of the task after the fault completes the remaining changes and repeats none.
            setup.proxy.repair()
            assert operation.clients[client](setup) == OK
            assert operation.count_changes(before, without_others(setup.documents, fault)) == operation.changes

    run_cell(fault, run)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if str(HUGE) in fault.name], ids=lambda fault: fault.name)
@pytest.mark.parametrize("client", GET.clients)
def test_oversized_response_is_not_held_in_memory(fault: Fault, client: str, make_setup: Callable[..., Setup]) -> None:
    setup = make_setup(GET, fault, once=False, timeout=LONG)
    # The measurement includes the server in this process, which holds what the sockets have not accepted yet.
    tracemalloc.start()
    try:
        error = outcome(GET, GET.clients[client], fault, setup).outcome
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert error == "ViResponseError"
    assert peak < 1.5 * exchange.MAX_RESPONSE_BYTES


def test_page_contains_this_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page_with(table(), page) == page, "run: make reliability"
