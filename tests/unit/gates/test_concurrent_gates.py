"""Many gates in one triggerer: few requests, and an event loop that never stalls."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from tests.documents import SECRET_KEY, wire_spec
from tests.unit.gates.flow_triggers import gate, polls, trigger
from tests.unit.gates.modes import events_of
from tests.unit.gates.virtual import BEGIN, VirtualClock, VirtualVi
from vi_airflow_provider.api import async_client
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.gates.outcome import WaitOutcome, WaitResult, read_event

# --- many of them --------------------------------------------------------------------------------------------------


def ends_of_many(clock: VirtualClock, count: int, **arguments: Any) -> list[WaitResult]:
    """Return how gates end that wait for a flow of their own each."""

    async def main() -> list[list[Any]]:
        return await asyncio.gather(*(events_of(trigger(f"f{number}", **arguments)) for number in range(count)))

    return [read_event(event) for (event,) in clock.run(main())]


def test_many_gates_send_one_request_an_interval(vi: VirtualVi, clock: VirtualClock) -> None:
    clock.at(100, lambda: vi.put("f150"))
    ends = ends_of_many(clock, 300, deadline=BEGIN + 600)
    assert [number for number, end in enumerate(ends) if end.outcome is WaitOutcome.OPEN] == [150]
    assert {end.outcome for end in ends} == {WaitOutcome.OPEN, WaitOutcome.TIMEOUT}
    assert len(vi.requests) == 600 / 60 + 1
    assert all(request.lists for request in vi.requests)


def test_many_gates_send_one_request_an_interval_in_an_outage(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.faults.add(status=503, times=None)
    ends = ends_of_many(clock, 100)
    assert {end.outcome for end in ends} == {WaitOutcome.OUTAGE}
    assert len(vi.requests) == 10


def test_retry_after_applies_to_all_gates(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.faults.add(status=429, retry_after="1000")
    ends_of_many(clock, 100, deadline=BEGIN + 1500)
    first, second, *_ = polls(vi)
    assert second - first >= 1000


def test_many_gates_send_one_request_at_a_time_to_a_silent_server(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.faults.add(latency_ms=90_000, times=None)
    ends_of_many(clock, 100, deadline=BEGIN + 900, max_failures=None)
    assert min(two - one for one, two in pairwise(polls(vi))) >= 60


def test_absence_from_a_listing_does_not_open_a_gate_for_absence(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.put("f")
    vi.faults.add(path="/flows$", status=200, body='{"items": []}', times=None)

    async def main() -> Any:
        absent = trigger(gate=gate("f", absent=True), deadline=BEGIN + 200)
        others = (trigger(f"f{number}", deadline=BEGIN + 200) for number in range(9))
        return await asyncio.gather(*map(events_of, (absent, *others)))

    (event,), *_ = clock.run(main())
    assert event["outcome"] == "timeout"
    assert {request.path.rpartition("/")[2] for request in vi.requests} == {"flows", "f"}


# --- on a real event loop ------------------------------------------------------------------------------------------


async def test_a_slow_server_does_not_stall_the_event_loop(vi_emulator: Emulator, callback_times: list[float]) -> None:
    await events_of(trigger(deadline=time.time()))  # imports, look-up of the connection, certificates
    vi_emulator.clear_requests()
    vi_emulator.faults.add(latency_ms=20_000, times=None)
    callback_times.clear()
    waiting = asyncio.ensure_future(events_of(trigger(deadline=time.time())))
    while not vi_emulator.requests:  # noqa: ASYNC110 - its thread has no event of this loop
        await asyncio.sleep(0.005)
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert not waiting.done()
    assert max(callback_times) < 0.05
    waiting.cancel()


def test_the_http_library_is_imported_outside_the_event_loop() -> None:
    """The import takes a tenth of a second, which would stall all other triggers."""
    code = """
import asyncio, sys, threading
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "aiohttp":
            print(threading.current_thread() is threading.main_thread())
from vi_airflow_provider.triggers.flows import FlowTrigger
sys.meta_path.insert(0, Watch())
async def main():
    return [event async for event in FlowTrigger(vi_conn_id="c", gate={"target": {"flow_id": "f"}}, deadline=0).run()]
asyncio.run(main())
"""
    connection = {"conn_type": "vi", "host": "http://127.0.0.1:9", "login": "o", "password": SECRET_KEY}
    environment = {**os.environ, "AIRFLOW_CONN_C": json.dumps(connection)}
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert [line for line in done.stdout.splitlines() if line in ("True", "False")] == ["False"]


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[aiohttp.ClientSession]:
    made: list[aiohttp.ClientSession] = []

    def make(*arguments: Any, **options: Any) -> aiohttp.ClientSession:
        made.append(aiohttp.ClientSession(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(async_client, "aiohttp", _Patched(aiohttp, ClientSession=make))
    return made


class _Patched:
    """A module with some names replaced, for one importer of it."""

    def __init__(self, module: Any, **names: Any) -> None:
        self._module = module
        vars(self).update(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


async def test_gates_of_a_connection_share_a_session_that_the_last_one_closes(
    vi_emulator: Emulator, sessions: list[aiohttp.ClientSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", vi_emulator.airflow_conn)

    async def wait_for(flow_id: str, conn_id: str) -> None:
        waiting = trigger(flow_id, vi_conn_id=conn_id, poke_interval=0.1, deadline=None)
        await asyncio.gather(*(events_of(waiting) for _ in range(20)))

    groups = {
        flow_id: asyncio.create_task(wait_for(flow_id, conn)) for flow_id, conn in (("a", "vi_default"), ("b", "other"))
    }
    while {request.path[-2:] for request in vi_emulator.requests} != {"/a", "/b"}:  # noqa: ASYNC110 - in a thread
        await asyncio.sleep(0.01)
    for still_open, (flow_id, waiting) in zip((1, 0), groups.items(), strict=True):
        assert [session.closed for session in sessions].count(False) == still_open + 1
        vi_emulator.store.put_flow(flow_id, {"spec": wire_spec()})
        await waiting
    assert [session.closed for session in sessions] == [True, True]


async def test_a_gate_opens_on_a_real_event_loop(vi_emulator: Emulator) -> None:
    flow_id = vi_emulator.store.flow_ids()[0]
    (event,) = await events_of(trigger(flow_id, poke_interval=0.1, deadline=time.time() + 5))
    flow = read_event(event).found
    assert flow is not None
    assert flow["flow_id"] == flow_id
