"""Listings are kept for a time and loaded once at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from vi_airflow_provider.ui.cache import Listings, Progress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Source:
    """Counts its loads, and ends them when it is told to."""

    def __init__(self) -> None:
        self.loads = 0
        self.ready = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, progress: Progress) -> int:
        self.loads += 1
        progress.read += 7
        await self.ready.wait()
        if self.error is not None:
            raise self.error
        return self.loads


async def started(*loads: Awaitable[Any]) -> list[asyncio.Future[Any]]:
    tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(load) for load in loads]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_result_is_kept_until_it_is_too_old() -> None:
    clock, source = Clock(), Source()
    listings = Listings(30, clock=clock)
    source.ready.set()
    assert await listings.get("key", source) == (1, 0)
    clock.now += 29
    assert await listings.get("key", source) == (1, 29)
    clock.now += 1
    assert await listings.get("key", source) == (2, 0)


async def test_concurrent_callers_share_one_load() -> None:
    source, listings = Source(), Listings()
    tasks = await started(*(listings.get("key", source) for _ in range(20)))
    source.ready.set()
    assert {value for value, _ in await asyncio.gather(*tasks)} == {1}


async def test_refresh_joins_a_load_in_flight() -> None:
    source, listings = Source(), Listings()
    tasks = await started(listings.get("key", source), listings.get("key", source, refresh=True))
    source.ready.set()
    await asyncio.gather(*tasks)
    assert source.loads == 1
    await listings.get("key", source, refresh=True)
    assert source.loads == 2


async def test_connections_do_not_share_results() -> None:
    one, other, listings = Source(), Source(), Listings()
    one.ready.set()
    other.ready.set()
    await listings.get("one", one)
    await listings.get("other", other)
    assert (one.loads, other.loads) == (1, 1)


async def test_failure_reaches_all_waiters_and_is_not_kept() -> None:
    source, listings = Source(), Listings()
    source.error = RuntimeError("no")
    tasks = await started(listings.get("key", source), listings.get("key", source))
    source.ready.set()
    assert [type(result) for result in await asyncio.gather(*tasks, return_exceptions=True)] == [RuntimeError] * 2
    source.error = None
    assert (await listings.get("key", source))[0] == 2


async def test_cancelled_waiter_does_not_cancel_the_load() -> None:
    source, listings = Source(), Listings()
    first, second = await started(listings.get("key", source), listings.get("key", source))
    first.cancel()
    await asyncio.sleep(0)
    source.ready.set()
    assert (await second)[0] == 1


async def test_load_has_a_deadline() -> None:
    source, listings = Source(), Listings(timeout=0)
    with pytest.raises(TimeoutError):
        await listings.get("key", source)
    assert listings.progress("key") is None


async def test_progress_is_visible_while_a_load_is_in_flight() -> None:
    source, listings = Source(), Listings()
    assert listings.progress("key") is None
    (task,) = await started(listings.get("key", source))
    assert listings.progress("key") == 7
    source.ready.set()
    await task
    assert listings.progress("key") is None


async def test_closing_cancels_loads() -> None:
    source, listings = Source(), Listings()
    (task,) = await started(listings.get("key", source))
    await listings.close()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_expired_result_does_not_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[tuple[float, Callable[[], object]]] = []
    loop = asyncio.get_running_loop()
    source, listings = Source(), Listings(30)
    source.ready.set()
    monkeypatch.setattr(loop, "call_later", lambda delay, call, *args: timers.append((delay, lambda: call(*args))))
    await listings.get("key", source)
    monkeypatch.undo()
    ((delay, drop),) = [timer for timer in timers if timer[0] == 30]
    assert listings._kept
    drop()
    assert (delay, listings._kept) == (30, {})
