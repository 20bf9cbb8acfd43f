"""Look-ups of a connection that fail, hang or find something unusable: the polls go on, and nothing ends by mistake."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from tests.unit.gates.connecting import host_in_use, using
from tests.unit.gates.modes import events_of
from tests.unit.gates.polling import Poller, by_id, many, poll, run
from tests.unit.gates.virtual import BEGIN, VirtualClock, VirtualVi
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.errors import ViConfigurationError, ViError, ViTimeoutError
from vi_airflow_provider.gates.client import RefreshingClient
from vi_airflow_provider.gates.condition import Target
from vi_airflow_provider.gates.pacing import CONNECTION_MAX_AGE
from vi_airflow_provider.hooks.vi import ViHook
from vi_airflow_provider.triggers.flows import FlowTrigger

VARIABLE: Final = "AIRFLOW_CONN_VI_DEFAULT"
#: A connection that Airflow provides, and that cannot be used.
UNUSABLE: Final = '{"conn_type": "vi", "login": "o", "password": "short"}'


class Backend:
    """A secrets backend that fails for a while: Airflow then reports the connection as not defined."""

    def __init__(self, vi: VirtualVi, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
        self._vi = vi
        self._clock = clock
        self._monkeypatch = monkeypatch

    def fail(self) -> None:
        self._monkeypatch.delenv(VARIABLE)

    def recover(self) -> None:
        self._vi.connect()

    def blip(self, begin: float, end: float) -> None:
        if begin <= 0:
            self.fail()
        else:
            self._clock.at(begin, self.fail)
        self._clock.at(end, self.recover)


@pytest.fixture
def backend(vi: VirtualVi, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> Backend:
    return Backend(vi, clock, monkeypatch)


def test_a_failed_lookup_is_an_error_that_may_pass(vi: VirtualVi, clock: VirtualClock, backend: Backend) -> None:
    backend.fail()

    async def main(client: RefreshingClient) -> None:
        with pytest.raises(ViError, match="connection 'vi_default': Airflow cannot provide it") as caught:
            await host_in_use(client)
        assert caught.value.retryable
        backend.recover()
        assert await host_in_use(client)

    using(clock, main)


@pytest.mark.parametrize("begin", [-1.0, 30.0])
def test_a_restarted_triggerer_with_many_gates_survives_a_blip(
    begin: float, vi: VirtualVi, clock: VirtualClock, backend: Backend
) -> None:
    count = 2000
    backend.blip(begin, 240.0)
    clock.at(200.0, lambda: vi.put_all(f"f{number}" for number in range(count)))

    async def main() -> list[list[Any]]:
        gates = (
            FlowTrigger(
                vi_conn_id="vi_default",
                gate={"target": {"flow_id": f"f{number}"}},
                deadline=BEGIN + 3600,
                first_look=BEGIN - 100,
            )
            for number in range(count)
        )
        return await asyncio.gather(*map(events_of, gates))

    outcomes = {event["outcome"] for (event,) in clock.run(main())}
    assert outcomes == {"open"}
    assert clock.elapsed < 400


def test_many_gates_share_a_failing_lookup(
    vi: VirtualVi, clock: VirtualClock, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.fail()
    tried: list[float] = []
    original = ViHook.get_async_conn

    async def get_async_conn(hook: ViHook) -> AsyncViClient:
        tried.append(clock.elapsed)
        return await original(hook)

    monkeypatch.setattr(ViHook, "get_async_conn", get_async_conn)
    assert run(clock, many(1000)) == [ViError] * 1000
    assert len(tried) == 1


def test_a_failed_lookup_keeps_the_client_in_use(vi: VirtualVi, clock: VirtualClock, backend: Backend) -> None:
    backend.blip(10.0, 1000.0)

    async def main(client: RefreshingClient) -> list[str]:
        hosts = []
        for _ in range(60):
            hosts.append(await host_in_use(client))
            await asyncio.sleep(30)
        return hosts

    assert set(using(clock, main)) == {"http://127.0.0.1:9"}


def test_a_401_during_a_blip_is_not_final(vi: VirtualVi, clock: VirtualClock, backend: Backend) -> None:
    """The key may have been rotated; that cannot be seen until the connection can be read."""
    vi.put("a")

    async def main(poller: Poller) -> list[Any]:
        await poll(poller, *by_id("a"))
        vi.revoke_key()
        backend.fail()
        await asyncio.sleep(1)
        during = await poll(poller, *by_id("a"))
        backend.recover()
        await asyncio.sleep(6)
        return during + await poll(poller, *by_id("a"))

    assert run(clock, by_id("a"), main) == [ViError, "a"]


def test_a_lookup_that_hangs_does_not_block_the_polls(
    vi: VirtualVi, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = ViHook.get_async_conn

    async def hang(hook: ViHook) -> AsyncViClient:
        await asyncio.sleep(86_400)
        return await original(hook)

    async def main(client: RefreshingClient) -> None:
        await host_in_use(client)
        monkeypatch.setattr(ViHook, "get_async_conn", hang)
        await asyncio.sleep(CONNECTION_MAX_AGE)
        began = clock.elapsed
        assert await host_in_use(client)
        assert clock.elapsed - began <= 11

    using(clock, main)
    with pytest.raises(ViTimeoutError, match="did not provide the connection within 60 s"):
        using(clock, host_in_use)


def test_an_unusable_connection_is_final_for_new_gates(
    vi: VirtualVi, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, UNUSABLE)

    async def main(poller: Poller) -> None:
        with pytest.raises(ViConfigurationError, match="password: "):
            await poller.poll(Target(flow_id="a"))

    run(clock, by_id("a"), main)


def test_an_edit_to_something_unusable_must_be_confirmed(
    vi: VirtualVi, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch, closed: list[tuple[AsyncViClient, float]]
) -> None:
    """A CA file that is being replaced makes a connection unusable for a moment."""

    async def main(client: RefreshingClient) -> None:
        await host_in_use(client)
        for outlives in (True, False):
            monkeypatch.setenv(VARIABLE, UNUSABLE)
            await asyncio.sleep(CONNECTION_MAX_AGE)
            assert await host_in_use(client)
            if outlives:
                vi.connect()
            await asyncio.sleep(6)
            if outlives:
                assert await host_in_use(client)
        with pytest.raises(ViConfigurationError):
            await host_in_use(client)
        assert len(closed) == 1
        vi.connect()
        assert await host_in_use(client)

    using(clock, main)


def test_a_cancelled_call_leaves_the_lookup_to_the_others(
    vi: VirtualVi, clock: VirtualClock, lookups: list[AsyncViClient]
) -> None:
    async def main(client: RefreshingClient) -> str:
        first, second = (asyncio.create_task(host_in_use(client)) for _ in range(2))
        await asyncio.sleep(0.5)
        first.cancel()
        host = await second
        assert first.cancelled()
        return host

    assert using(clock, main)
    assert len(lookups) == 1
