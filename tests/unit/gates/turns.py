"""Count the turns that other tasks get while something runs in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any


async def turns_of_others(work: Awaitable[Any]) -> int:
    """Return how often another task gets its turn until the work is done."""
    turns = 0

    async def bystander() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(bystander())
    await work
    other.cancel()
    return turns
