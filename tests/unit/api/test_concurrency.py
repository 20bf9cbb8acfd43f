"""``map_concurrently``: how many at a time, in which order, and what an unexpected error does."""

from __future__ import annotations

import asyncio

import pytest

from vi_airflow_provider.api.transport.concurrency import map_concurrently


@pytest.mark.parametrize(("items", "concurrency", "most"), [(10, 1, 1), (10, 3, 3), (2, 8, 2), (0, 8, 0)])
async def test_concurrency_bounds_the_items_in_progress(items: int, concurrency: int, most: int) -> None:
    current, seen = 0, [0]

    async def act(item: int) -> int:
        nonlocal current
        current += 1
        seen.append(current)
        await asyncio.sleep(0)
        current -= 1
        return item

    assert await map_concurrently(range(items), act, concurrency) == list(range(items))
    assert max(seen) == most


async def test_results_keep_the_order_of_the_items() -> None:
    first_may_end = asyncio.Event()

    async def act(item: str) -> str:
        if item == "slow":
            await first_may_end.wait()
        elif item == "last":
            first_may_end.set()
        return item.upper()

    assert await map_concurrently(["slow", "fast", "last"], act, 2) == ["SLOW", "FAST", "LAST"]


async def test_items_begin_in_their_order() -> None:
    begun: list[int] = []

    async def act(item: int) -> None:
        begun.append(item)

    await map_concurrently(range(5), act, 1)
    assert begun == [0, 1, 2, 3, 4]


async def test_an_unexpected_error_stops_further_items() -> None:
    begun: list[int] = []

    async def act(item: int) -> None:
        begun.append(item)
        await asyncio.sleep(0)
        if item == 1:
            raise ZeroDivisionError

    with pytest.raises(ExceptionGroup):
        await map_concurrently(range(100), act, 2)
    assert len(begun) < 10
