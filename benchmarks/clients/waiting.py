"""Run many triggers in one event loop, as a triggerer does, and measure their cost while they wait."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from benchmarks.stats import percentile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.triggers.base import BaseTrigger

#: Seconds of a sleep; the lag of the event loop is the time by which it overruns.
_NAP: Final = 0.01
#: Seconds in which the lag of the idle loop is measured, before any trigger runs.
_IDLE: Final = 0.5


def wait(triggers: Mapping[str, BaseTrigger], *, settle: float, steady: float, patience: float) -> dict[str, Any]:
    """Run the triggers, and measure while they do nothing but wait.

    Measuring the lag of the loop costs more CPU than our gates do, so CPU and lag are measured one after the other.

    :param triggers: by what each waits for
    :param settle: seconds before the measurement
    :param steady: seconds of the CPU measurement, and again of the lag measurement
    :param patience: minimum seconds after the CPU measurement in which gates may still open
    :return: CPU seconds and lags of the steady state, and the times at which each yielded an event (``opened``)
    """
    return asyncio.run(_wait(triggers, settle, steady, patience))


async def _wait(triggers: Mapping[str, BaseTrigger], settle: float, steady: float, patience: float) -> dict[str, Any]:
    opened: dict[str, list[float]] = {}

    async def gate(key: str, trigger: BaseTrigger) -> None:
        async for _ in trigger.run():
            opened.setdefault(key, []).append(time.time())

    # The lag of an idle loop is what the machine itself contributes.
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
