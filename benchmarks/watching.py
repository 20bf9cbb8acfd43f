"""Measure triggers that wait, while what some of them wait for happens."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from benchmarks.stats import Spread, percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.results import Measurement
    from benchmarks.runner import Client, Runner

#: Seconds between two things that happen during the measurement.
BETWEEN: Final = 0.25
#: Seconds to create the triggers.
_START: Final = 0.5


@dataclass(frozen=True)
class Wait:
    """What triggers wait for.

    :param count: number of triggers
    :param arguments: further arguments of the client
    :param begin: prepares the server, and resets its counters
    :param happen: lets the thing with a number happen, and returns the key of the trigger that waits for it
    """

    count: int
    arguments: Mapping[str, Any]
    begin: Callable[[], None]
    happen: Callable[[int], str]


def watch(runner: Runner, client: Client, wait: Wait) -> dict[str, Any]:
    """Run triggers, measure their cost, and how late their events are.

    :raises AssertionError: an event without a reason, or two events of one trigger
    """
    plan = runner.plan
    wait.begin()
    with runner.worker(client.label) as worker:
        arguments = {**wait.arguments, "poll": plan.poll}
        # A first short run does the imports, so that they do not shorten the time to settle.
        quick = {"count": 1, "settle": 0, "steady": 0.1, "patience": 0}
        worker.measure(client.run, client.options, arguments | quick)
        wait.begin()
        # A trigger polls first at the second tick of its interval at the latest, and logs the result.
        settle, patience = 2.2 * plan.poll + _START, 1.5 * plan.poll
        times = {"settle": settle, "steady": plan.gate_seconds, "patience": patience}
        worker.begin(client.run, client.options, arguments | {"count": wait.count} | times)
        steady_from = time.time() + settle
        time.sleep(settle)
        before = runner.server.counts()
        happened = _happen(wait, steady_from + plan.gate_seconds)
        after = runner.server.counts()
        found = runner.checked(client, worker.result())
    events = found.pop("opened")
    if set(events) - set(happened) or any(len(moments) > 1 for moments in events.values()):
        raise AssertionError("an event without a reason, or more than one")
    end = steady_from + plan.gate_seconds + patience
    late = [max(0.0, events.get(key, [end])[0] - moment - plan.poll) for key, moment in happened.items()]
    return found | {
        "watched": len(happened),
        "opened": len(events),
        "late_p50": percentile(late, 50),
        "late_max": max(late),
        "steady_requests": sum(after[kind] - before[kind] for kind in ("pages", "gets")),
        "steady_server_cpu": after["cpu"] - before["cpu"],
    }


def _happen(wait: Wait, until: float) -> dict[str, float]:
    """Let one thing after the other happen, and return the time of each."""
    happened: dict[str, float] = {}
    while len(happened) < wait.count and time.time() < until:
        moment = time.time()
        happened[wait.happen(len(happened))] = moment
        time.sleep(BETWEEN)
    time.sleep(max(0, until - time.time()))
    return happened


def cpu_per_minute(measured: Measurement) -> Spread:
    """Return the CPU seconds per minute of waiting."""
    return Spread.of([60 * row["steady_cpu"] / row["steady_seconds"] for row in measured.rounds])


def requests_per(measured: Measurement, seconds: float) -> Spread:
    """Return the requests in a time."""
    return Spread.of([row["steady_requests"] * seconds / row["steady_seconds"] for row in measured.rounds])
