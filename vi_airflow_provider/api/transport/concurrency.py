"""Several coroutines at a time, on an event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def map_concurrently(items: Iterable[T], act: Callable[[T], Awaitable[R]], concurrency: int) -> list[R]:
    """Act on each item, at most ``concurrency`` at a time, and return the results in the order of the items."""
    queue = deque(enumerate(items))
    results: dict[int, R] = {}

    async def worker() -> None:
        while queue:
            index, item = queue.popleft()
            results[index] = await act(item)

    async with asyncio.TaskGroup() as workers:
        for _ in range(min(concurrency, len(queue))):
            workers.create_task(worker())
    return [results[index] for index in range(len(results))]
