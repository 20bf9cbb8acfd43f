"""Many triggers in one event loop, as a triggerer runs them, and what they cost while they wait."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from benchmarks.stats import percentile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.triggers.base import BaseTrigger

#: Seconds of the nap whose oversleeping is the lag of the event loop.
_NAP: Final = 0.01
#: Seconds before anybody waits, in which the loop has nothing else to do.
_IDLE: Final = 0.5


def wait(triggers: Mapping[str, BaseTrigger], *, settle: float, steady: float, patience: float) -> dict[str, Any]:
    """Run the triggers, and measure while nothing but their waiting goes on.

    To measure the lag of the loop costs more CPU than our gates do, so one comes after the other.

    :param triggers: by the flow that each waits for
    :param settle: seconds before that
    :param steady: seconds in which CPU is measured, and then seconds in which lag is
    :param patience: seconds after the former, at least, in which gates may still open
    :return: CPU seconds and lags of the steady state, and when each gate ``opened``
    """
    return asyncio.run(_wait(triggers, settle, steady, patience))


async def _wait(triggers: Mapping[str, BaseTrigger], settle: float, steady: float, patience: float) -> dict[str, Any]:
    opened: dict[str, float] = {}

    async def gate(flow: str, trigger: BaseTrigger) -> None:
        async for _ in trigger.run():
            opened[flow] = time.time()

    # The lag of a loop in which nothing else happens: what the machine adds.
    idle = await _lags(_IDLE)
    gates = [asyncio.create_task(gate(flow, trigger)) for flow, trigger in triggers.items()]
    await asyncio.sleep(settle)
    cpu = time.process_time()
    await asyncio.sleep(steady)
    cpu = time.process_time() - cpu
    lags = await _lags(steady)
    await asyncio.sleep(max(0.0, patience - steady))
    for task in gates:
        task.cancel()
    failures = [e for e in await asyncio.gather(*gates, return_exceptions=True) if isinstance(e, Exception)]
    if failures:
        raise failures[0]
    return {
        "steady_cpu": cpu,
        "steady_seconds": steady,
        "lag_p50": percentile(lags, 50),
        "lag_p99": percentile(lags, 99),
        "lag_max": max(lags),
        "idle_lag_p99": percentile(idle, 99),
        "opened": opened,
    }


async def _lags(seconds: float) -> list[float]:
    lags = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        await asyncio.sleep(_NAP)
        lags.append(time.perf_counter() - began - _NAP)
    return lags
