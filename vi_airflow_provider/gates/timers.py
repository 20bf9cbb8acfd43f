"""Waking thousands of tasks of an event loop without holding the loop up.

Tasks that are woken together run one after the other, before anything else gets its turn. And a timer for each costs
more than what a gate does when it wakes. So those who wait for the same thing, or for about the same moment, wait
together, and are woken some at a time.
"""

from __future__ import annotations

import asyncio
import math
from itertools import islice
from typing import Final
from weakref import WeakKeyDictionary

#: So many run in one turn of the event loop: about a millisecond's work.
BATCH: Final = 25
#: Seconds by which a sleeper may oversleep, so that others sleep with it.
RESOLUTION: Final = 0.01


class Crowd:
    """Tasks that wait for one thing."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], None] = {}

    async def join(self) -> None:
        """Wait with the others. To be cancelled is nothing that they notice."""
        future = asyncio.get_running_loop().create_future()
        self._waiting[future] = None
        try:
            await future
        finally:
            self._waiting.pop(future, None)

    def wake(self) -> None:
        """Wake all of them, in the order in which they came."""
        for future in tuple(islice(self._waiting, BATCH)):
            del self._waiting[future]
            if not future.done():
                future.set_result(None)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self.wake)


#: The sleepers of each event loop, by when they are woken.
_sleepers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, Crowd]] = WeakKeyDictionary()


async def sleep(seconds: float) -> None:
    """Sleep for at least so many seconds, along with those who want to wake about then."""
    if seconds <= 0:
        return
    loop = asyncio.get_running_loop()
    slots = _sleepers.setdefault(loop, {})
    slot = math.ceil((loop.time() + seconds) / RESOLUTION)
    if slot not in slots:
        slots[slot] = Crowd()
        loop.call_at(slot * RESOLUTION, lambda: slots.pop(slot).wake())
    await slots[slot].join()
