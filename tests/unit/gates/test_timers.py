"""Timer coalescing: many sleepers share few timers, and waking them does not block the event loop."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from tests.unit.gates.virtual import VirtualClock
from vi_airflow_provider.gates.timers import BATCH, RESOLUTION, WakeQueue, sleep


def test_waiters_are_woken_in_order_and_other_tasks_run_between(clock: VirtualClock) -> None:
    ran: list[Any] = []

    async def member(queue: WakeQueue, number: int) -> None:
        await queue.wait()
        ran.append(number)

    async def bystander() -> None:
        while len([each for each in ran if each != "bystander"]) < 4 * BATCH:
            ran.append("bystander")
            await asyncio.sleep(0)

    async def main() -> None:
        queue = WakeQueue()
        members = [asyncio.create_task(member(queue, number)) for number in range(4 * BATCH)]
        await asyncio.sleep(0)
        queue.wake()
        other = asyncio.create_task(bystander())
        await asyncio.gather(*members, other)

    clock.run(main())
    assert [each for each in ran if each != "bystander"] == list(range(4 * BATCH))
    turns = " ".join(map(str, ran)).split("bystander")
    assert max(len(turn.split()) for turn in turns) <= BATCH


def test_a_cancelled_waiter_is_removed(clock: VirtualClock) -> None:
    async def main() -> list[Any]:
        queue = WakeQueue()
        members = [asyncio.create_task(queue.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        members[1].cancel()
        queue.wake()
        queue.wake()  # without waiters
        return await asyncio.gather(*members, return_exceptions=True)

    first, second, third = clock.run(main())
    assert (first, third) == (None, None)
    assert isinstance(second, asyncio.CancelledError)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 0.001, 0.01, 0.0149, 3.0, 3600.0])
def test_a_sleep_is_never_short_and_hardly_longer(seconds: float, clock: VirtualClock) -> None:
    began = clock.elapsed
    clock.run(sleep(seconds))
    assert max(0.0, seconds) <= clock.elapsed - began <= max(0.0, seconds) + 1.1 * RESOLUTION


def test_a_thousand_sleepers_due_together_share_a_timer(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        call_at = loop.call_at

        def counted(when: float, *rest: Any, **more: Any) -> asyncio.TimerHandle:
            timers.append(when)
            return call_at(when, *rest, **more)

        monkeypatch.setattr(loop, "call_at", counted)
        await asyncio.gather(*(sleep(5.0 + number * RESOLUTION / 1000) for number in range(1000)))

    clock.run(main())
    assert len(timers) <= 2


def test_cancelled_sleepers_do_not_keep_their_loop_alive(clock: VirtualClock) -> None:
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
