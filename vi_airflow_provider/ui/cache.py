"""Listings that are kept for a while, and read only once at a time however many callers wait for them.

A person who opens the page, filters, and previews a cleanup needs one listing, not three; and ten people who open it
at the same time must not read it ten times. Each worker process of the API server has a cache of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final

#: Seconds that a listing is kept.
KEPT_SECONDS: Final = 30.0
#: Seconds that a listing may take.
LOAD_SECONDS: Final = 25.0


@dataclass
class Progress:
    """How many items of a listing have been read so far."""

    read: int = 0


@dataclass(frozen=True)
class Kept:
    """A result, and when it was loaded (seconds of the cache's clock)."""

    value: Any
    loaded_at: float


class Listings:
    """Loads results on demand, keeps them for a time, and lets concurrent callers share one load.

    :param seconds: how long a result is kept
    :param timeout: seconds after which a load is given up
    :param clock: seconds that only ever grow
    """

    def __init__(
        self,
        seconds: float = KEPT_SECONDS,
        timeout: float = LOAD_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._timeout = timeout
        self._clock = clock
        self._kept: dict[Hashable, Kept] = {}
        self._loads: dict[Hashable, tuple[asyncio.Task[Kept], Progress]] = {}

    async def get(
        self, key: Hashable, load: Callable[[Progress], Awaitable[Any]], *, refresh: bool = False
    ) -> tuple[Any, float]:
        """Return a result and its age in seconds. A failure is not kept.

        :param key: what is loaded, including for whom: the caller has checked the rights
        :param refresh: do not use a kept result
        :raises TimeoutError: the load took too long
        """
        kept = None if refresh else self._fresh(key)
        if kept is None:
            # Cancelling one of the waiters must not cancel the load for the others.
            kept = await asyncio.shield(self._load(key, load))
        return kept.value, max(0.0, self._clock() - kept.loaded_at)

    def progress(self, key: Hashable) -> int | None:
        """Return how many items a load in flight has read, ``None`` without one."""
        load = self._loads.get(key)
        return None if load is None else load[1].read

    async def close(self) -> None:
        """Cancel the loads in flight, and forget everything."""
        tasks = [task for task, _ in self._loads.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._kept.clear()

    def _fresh(self, key: Hashable) -> Kept | None:
        kept = self._kept.get(key)
        return kept if kept is not None and self._clock() - kept.loaded_at < self._seconds else None

    def _load(self, key: Hashable, load: Callable[[Progress], Awaitable[Any]]) -> asyncio.Task[Kept]:
        if key not in self._loads:
            self._kept.pop(key, None)  # not two listings in memory
            progress = Progress()
            task = asyncio.create_task(self._loaded(key, load, progress))
            self._loads[key] = task, progress
            task.add_done_callback(lambda done: self._end(key, done))
        return self._loads[key][0]

    async def _loaded(self, key: Hashable, load: Callable[[Progress], Awaitable[Any]], progress: Progress) -> Kept:
        async with asyncio.timeout(self._timeout):
            kept = self._kept[key] = Kept(await load(progress), self._clock())
        # Thousands of flows must not stay in memory until someone opens the page again.
        asyncio.get_running_loop().call_later(self._seconds, self._drop, key, kept.loaded_at)
        return kept

    def _end(self, key: Hashable, task: asyncio.Task[Kept]) -> None:
        del self._loads[key]
        if not task.cancelled():
            task.exception()  # retrieved, even if all waiters have gone

    def _drop(self, key: Hashable, loaded_at: float) -> None:
        # Not the result itself, which the timer would keep in memory after it was replaced.
        if (kept := self._kept.get(key)) is not None and kept.loaded_at == loaded_at:
            del self._kept[key]
