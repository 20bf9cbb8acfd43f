"""A service without sockets, in virtual time."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

import pytest
from airflow.providers.common.compat.sdk import BaseSensorOperator

from tests.unit.gates.virtual import VirtualClock, VirtualVi
from tests.unit.gates.watching import Watching
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.protocol.messages import Failure, Response, Send
from vi_airflow_provider.api.transport.deadlines import Call
from vi_airflow_provider.hooks.vi import ViHook
from vi_airflow_provider.sensors import base as sensors
from vi_airflow_provider.triggers import shared


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualClock]:
    """Virtual time: for event loops that it runs, for sensors, and for the wall clock."""
    clock = VirtualClock()
    # time-machine moves the wall clock only; sensors also sleep, and measure with a monotonic clock.
    for module in (sensors, sys.modules[BaseSensorOperator.__module__]):
        monkeypatch.setattr(module, "time", clock.time)
    with clock.running():
        yield clock


@pytest.fixture
def vi(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualVi]:
    """The emulator without flows, behind the connection ``vi_default``."""
    vi = VirtualVi(clock, monkeypatch.setenv)

    def send(client: ViClient, step: Send, _call: Call) -> Response | Failure:
        return vi.send(step, client.settings.read_timeout)

    async def send_async(client: AsyncViClient, step: Send) -> Response | Failure:
        return await vi.send_async(step, client.settings.read_timeout)

    monkeypatch.setattr(ViClient, "_send", send)
    monkeypatch.setattr(AsyncViClient, "_send", send_async)
    yield vi
    assert not any(shared._shared.values()), "a trigger still holds its shared client"


@pytest.fixture
def watching(vi: VirtualVi, clock: VirtualClock) -> Watching:
    """A watcher of all flows."""
    return Watching(clock)


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[AsyncViClient]:
    """The clients that were made; each means that the connection was read."""
    made: list[AsyncViClient] = []
    original = ViHook.get_async_conn

    async def get_async_conn(hook: ViHook) -> AsyncViClient:
        await asyncio.sleep(1.0)  # the first look-up in a triggerer takes seconds
        made.append(await original(hook))
        return made[-1]

    monkeypatch.setattr(ViHook, "get_async_conn", get_async_conn)
    return made


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch, clock: VirtualClock) -> list[tuple[AsyncViClient, float]]:
    """The clients that were closed, and when."""
    when: list[tuple[AsyncViClient, float]] = []
    close = AsyncViClient.close

    async def closing(client: AsyncViClient) -> None:
        when.append((client, clock.elapsed))
        await close(client)

    monkeypatch.setattr(AsyncViClient, "close", closing)
    return when
