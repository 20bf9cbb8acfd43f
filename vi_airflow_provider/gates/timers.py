"""Timer coalescing: thousands of tasks of an event loop share timers and are woken in batches.

Tasks that are woken together run one after the other before anything else gets its turn, and a timer for each of them
costs more than the work that a gate does when it wakes. Tasks that wait for the same thing, or that are due at about
the same time, therefore share one :class:`WakeQueue`, and a long computation gives way to others between turns.
"""

from __future__ import annotations

import asyncio
import math
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

T = TypeVar("T")

#: Tasks that are woken, or items that are processed, in one turn of the event loop: about a millisecond's work.
BATCH: Final = 25
#: Seconds by which a sleep may be longer than requested, so that others can share its timer.
RESOLUTION: Final = 0.01


class WakeQueue:
    """Tasks that wait for the same thing."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], None] = {}

    async def wait(self) -> None:
        """Wait until :meth:`wake`. Cancelling one waiter does not affect the others."""
        future = asyncio.get_running_loop().create_future()
        self._waiting[future] = None
        try:
            await future
        finally:
            self._waiting.pop(future, None)

    def wake(self) -> None:
        """Wake all waiters in the order in which they came, a batch in each turn of the event loop."""
        for future in tuple(islice(self._waiting, BATCH)):
            del self._waiting[future]
            if not future.done():
                future.set_result(None)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self.wake)


#: The sleepers of each event loop, by the slot of time in which they are woken.
_sleepers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, WakeQueue]] = WeakKeyDictionary()


async def sleep(seconds: float) -> None:
    """Sleep for at least this time, and share the timer with others that are due at about the same time."""
    if seconds <= 0:
        return
    loop = asyncio.get_running_loop()
    slots = _sleepers.setdefault(loop, {})
    slot = math.ceil((loop.time() + seconds) / RESOLUTION)
    if slot not in slots:
        slots[slot] = WakeQueue()
        loop.call_at(slot * RESOLUTION, lambda: slots.pop(slot).wake())
    await slots[slot].wait()


async def in_turns(items: Iterable[T], size: int = BATCH) -> AsyncIterator[T]:
    """Yield the items, and let other tasks run after every ``size`` of them."""
    for number, item in enumerate(items, 1):
        yield item
        if number % size == 0:
            await asyncio.sleep(0)
