"""Many sleepers, few timers; and nobody who is woken holds up the others."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from tests.unit.gates.virtual import VirtualClock
from vi_airflow_provider.gates.timers import BATCH, RESOLUTION, WakeQueue, sleep


def test_all_are_woken_in_their_order_and_others_get_their_turn(clock: VirtualClock) -> None:
    said: list[Any] = []

    async def member(crowd: WakeQueue, number: int) -> None:
        await crowd.wait()
        said.append(number)

    async def bystander() -> None:
        while len([each for each in said if each != "bystander"]) < 4 * BATCH:
            said.append("bystander")
            await asyncio.sleep(0)

    async def main() -> None:
        crowd = WakeQueue()
        members = [asyncio.create_task(member(crowd, number)) for number in range(4 * BATCH)]
        await asyncio.sleep(0)
        crowd.wake()
        other = asyncio.create_task(bystander())
        await asyncio.gather(*members, other)

    clock.run(main())
    assert [each for each in said if each != "bystander"] == list(range(4 * BATCH))
    turns = " ".join(map(str, said)).split("bystander")
    assert max(len(turn.split()) for turn in turns) <= BATCH


def test_who_is_cancelled_is_not_missed(clock: VirtualClock) -> None:
    async def main() -> list[Any]:
        crowd = WakeQueue()
        members = [asyncio.create_task(crowd.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        members[1].cancel()
        crowd.wake()
        crowd.wake()  # with nobody left
        return await asyncio.gather(*members, return_exceptions=True)

    first, second, third = clock.run(main())
    assert (first, third) == (None, None)
    assert isinstance(second, asyncio.CancelledError)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 0.001, 0.01, 0.0149, 3.0, 3600.0])
def test_a_sleep_is_not_too_short_and_hardly_too_long(seconds: float, clock: VirtualClock) -> None:
    began = clock.elapsed
    clock.run(sleep(seconds))
    assert max(0.0, seconds) <= clock.elapsed - began <= max(0.0, seconds) + 1.1 * RESOLUTION


def test_a_thousand_who_wake_at_about_the_same_time_share_a_timer(clock: VirtualClock) -> None:
    timers: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        call_at = loop.call_at
        loop.call_at = lambda when, *rest, **more: timers.append(when) or call_at(when, *rest, **more)  # type: ignore[method-assign]
        await asyncio.gather(*(sleep(5.0 + number * RESOLUTION / 1000) for number in range(1000)))

    clock.run(main())
    assert len(timers) <= 2


def test_sleepers_that_are_cancelled_leave_their_loop_free(clock: VirtualClock) -> None:
    async def main() -> Any:
        asleep = [asyncio.create_task(sleep(3600.0)) for _ in range(100)]
        await asyncio.sleep(0)
        for task in asleep:
            task.cancel()
        await asyncio.wait(asleep)
        return weakref.ref(asyncio.get_running_loop())

    loop = clock.run(main())
    gc.collect()
    assert loop() is None
