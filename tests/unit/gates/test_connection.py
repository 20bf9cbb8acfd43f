"""One client for each connection: shared by its triggers, and replaced within a minute after an edit."""

from __future__ import annotations

import asyncio
import gc
import os
import weakref
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import certifi
import pytest

from tests.unit.gates.connecting import host_in_use, host_of, using
from tests.unit.gates.polling import Poller, by_id, many, poll, run, subscribed
from tests.unit.gates.virtual import VirtualClock, VirtualVi
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.errors import ViAuthenticationError
from vi_airflow_provider.gates.client import RefreshingClient
from vi_airflow_provider.gates.flow_source import FLOWS
from vi_airflow_provider.gates.pacing import CONNECTION_MAX_AGE
from vi_airflow_provider.gates.poller import SharedPoller
from vi_airflow_provider.gates.reader import MAX_SINGLE_GETS
from vi_airflow_provider.triggers import shared
from vi_airflow_provider.triggers.shared import shared_client, shared_poller

# --- a rotated key -------------------------------------------------------------------------------------------------


def test_concurrent_polls_share_one_lookup(vi: VirtualVi, clock: VirtualClock, lookups: list[AsyncViClient]) -> None:
    run(clock, many(MAX_SINGLE_GETS))
    assert len(lookups) == 1


@pytest.mark.parametrize("count", [1, MAX_SINGLE_GETS, 100])
def test_a_401_makes_all_gates_share_one_new_lookup(
    count: int, vi: VirtualVi, clock: VirtualClock, lookups: list[AsyncViClient]
) -> None:
    vi.put("f0")

    async def main(poller: Poller) -> Any:
        before = await poll(poller, *many(count))
        vi.rotate_key()
        return before, await poll(poller, *many(count))

    before, after = run(clock, many(count), main)
    assert before == after == ["f0"] + [None] * (count - 1)
    assert len(lookups) == 2


def test_a_refused_key_is_not_tried_again_if_the_connection_kept_it(
    vi: VirtualVi, clock: VirtualClock, lookups: list[AsyncViClient]
) -> None:
    async def main(poller: Poller) -> Any:
        await poll(poller, *many(MAX_SINGLE_GETS))
        vi.revoke_key()
        return await poll(poller, *many(MAX_SINGLE_GETS))

    assert run(clock, many(MAX_SINGLE_GETS), main) == [ViAuthenticationError] * MAX_SINGLE_GETS
    assert len([request for request in vi.requests if request.status == 401]) == MAX_SINGLE_GETS


def test_calls_in_flight_finish_before_their_client_is_closed(
    vi: VirtualVi, clock: VirtualClock, closed: list[tuple[AsyncViClient, float]]
) -> None:
    vi.put("slow")
    vi.faults.add(path="/flows/slow$", latency_ms=5000)

    async def main(poller: Poller) -> Any:
        slow = asyncio.create_task(poll(poller, *by_id("slow")))
        await asyncio.sleep(1)
        vi.rotate_key()
        assert await poll(poller, *by_id("fast")) == [None]
        found = await slow
        await asyncio.sleep(0)
        assert len(closed) == 1  # the old client, as soon as it was idle
        return found

    assert run(clock, by_id("slow", "fast"), main) == ["slow"]
    assert len({client for client, _ in closed}) == 2
    assert min(when for _, when in closed) > 5


# --- any other edit ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", [1.0, 7.0, 59.0, 60.0, 600.0])
def test_an_edited_connection_is_in_force_within_a_minute(
    interval: float, vi: VirtualVi, clock: VirtualClock, closed: list[tuple[AsyncViClient, float]]
) -> None:
    async def main(client: RefreshingClient) -> list[tuple[float, str]]:
        seen = []
        for _ in range(int(200 / interval) + 3):
            seen.append((clock.elapsed, await host_in_use(client)))
            await asyncio.sleep(interval)
        return seen

    edited = 33.3
    clock.at(edited, lambda: vi.connect(host="http://127.0.0.1:10"))
    seen = using(clock, main)
    assert all(host.endswith(":9") for at, host in seen if at < edited)
    assert all(host.endswith(":10") for at, host in seen if at >= edited + CONNECTION_MAX_AGE)
    assert [host_of(client)[-2:] for client, _ in closed][:1] == [":9"]


@pytest.mark.parametrize(
    "edit",
    [
        {"extra": {"verify": False, "proxy": "http://127.0.0.1:3128"}},
        {"extra": {"verify": False, "read_timeout": 7}},
        {"login": "another-organization"},
    ],
    ids=lambda edit: ", ".join(edit),
)
def test_every_field_of_the_connection_counts(edit: dict[str, Any], vi: VirtualVi, clock: VirtualClock) -> None:
    async def main(client: RefreshingClient) -> tuple[AsyncViClient, AsyncViClient]:
        async def ask(client: AsyncViClient) -> AsyncViClient:
            return client

        before = await client.call(ask)
        vi.connect(**edit)
        await asyncio.sleep(CONNECTION_MAX_AGE)
        return before, await client.call(ask)

    before, after = using(clock, main)
    assert after is not before
    assert after.settings != before.settings


def test_an_unchanged_connection_keeps_its_client(
    vi: VirtualVi, clock: VirtualClock, lookups: list[AsyncViClient], closed: list[tuple[AsyncViClient, float]]
) -> None:
    async def main(client: RefreshingClient) -> set[AsyncViClient]:
        async def ask(client: AsyncViClient) -> AsyncViClient:
            return client

        used = set()
        for _ in range(60):
            used.add(await client.call(ask))
            await asyncio.sleep(10)
        return used

    (client,) = using(clock, main)
    assert [each for each, _ in closed] == [client]
    assert len(lookups) <= 600 / CONNECTION_MAX_AGE + 1


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    """A CA file that the connection names."""
    path = tmp_path / "ca.pem"
    path.write_bytes(Path(certifi.where()).read_bytes())
    return path


def rotate_in_place(ca: Path) -> None:
    ca.write_bytes(ca.read_bytes() + b"\n")


def rotate_by_rename(ca: Path) -> None:
    new = ca.with_suffix(".new")
    new.write_bytes(ca.read_bytes())
    os.utime(new, ns=(ca.stat().st_atime_ns, ca.stat().st_mtime_ns))
    new.rename(ca)


@pytest.mark.parametrize("rotate", [rotate_in_place, rotate_by_rename])
@pytest.mark.parametrize("by", ["file", "folder", "environment"])
def test_a_rotated_ca_file_gets_a_new_client(
    by: str,
    rotate: Callable[[Path], None],
    ca: Path,
    vi: VirtualVi,
    clock: VirtualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if by == "environment":
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(ca))
    vi.connect(extra={"verify": {"file": str(ca), "folder": str(ca.parent), "environment": True}[by]})

    async def main(client: RefreshingClient) -> list[AsyncViClient]:
        async def ask(client: AsyncViClient) -> AsyncViClient:
            return client

        used = [await client.call(ask)]
        await asyncio.sleep(CONNECTION_MAX_AGE)
        used.append(await client.call(ask))
        rotate(ca)
        await asyncio.sleep(CONNECTION_MAX_AGE)
        return [*used, await client.call(ask)]

    first, second, third = using(clock, main)
    assert first is second
    assert third is not second


def test_event_triggers_and_gates_share_the_client(vi: VirtualVi, clock: VirtualClock) -> None:
    async def main() -> bool:
        async with shared_client("vi_default") as one, shared_poller("vi_default", FLOWS) as poller:
            return poller._reader._client is one

    assert clock.run(main())


# --- what is shared ------------------------------------------------------------------------------------------------


def test_a_poller_is_shared_by_connection_and_closed_by_the_last_trigger(
    vi: VirtualVi, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Poller] = []

    async def close(poller: Poller) -> None:
        closed.append(poller)

    monkeypatch.setattr(SharedPoller, "close", close)

    def lend(conn_id: str) -> AbstractAsyncContextManager[Poller]:
        return shared_poller(conn_id, FLOWS)

    async def main() -> None:
        async with lend("a") as first, lend("b") as other:
            async with lend("a") as second:
                assert first is second
                assert first is not other
            assert closed == []
        assert closed == [other, first]
        async with lend("a") as again:
            assert again is not first

    clock.run(main())


def test_each_event_loop_has_its_own_poller_and_leaves_nothing_behind(vi: VirtualVi, clock: VirtualClock) -> None:
    async def main() -> weakref.ref[Poller]:
        async with subscribed(by_id("a")) as poller:
            await poll(poller, *by_id("a"))
            return weakref.ref(poller)

    loops = len(shared._shared)
    remains = [clock.run(main()) for _ in range(3)]
    gc.collect()
    assert [poller() for poller in remains] == [None] * 3
    assert len(shared._shared) <= loops


def test_closing_cancels_the_requests_in_flight(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.faults.add(latency_ms=50_000, times=None)

    async def main() -> None:
        async with subscribed(many(2)) as poller:
            gates = [asyncio.create_task(poller.poll(target)) for target in many(2)]
            await asyncio.sleep(1)
            for gate in gates:
                gate.cancel()
        await asyncio.wait(gates)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    clock.run(main())
    assert clock.elapsed < 2


def test_closing_cancels_a_lookup(vi: VirtualVi, clock: VirtualClock, lookups: list[AsyncViClient]) -> None:
    async def main() -> None:
        async with shared_client("vi_default") as client:
            call = asyncio.create_task(host_in_use(client))
            await asyncio.sleep(0.5)
            call.cancel()
        await asyncio.wait([call])
        assert asyncio.all_tasks() == {asyncio.current_task()}

    clock.run(main())
    assert lookups == []
