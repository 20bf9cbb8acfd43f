"""Waiting gates: the load of thousands of them on a triggerer, and their reaction time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from benchmarks.flows import flow_id
from benchmarks.panels import Bar, Panel
from benchmarks.results import Measurement
from benchmarks.runner import Client
from benchmarks.stats import Spread, percentile
from benchmarks.tables import number, spread, table
from benchmarks.targets import Target

if TYPE_CHECKING:
    from benchmarks.results import Results
    from benchmarks.runner import Runner

NAME: Final = "gates"
TITLE: Final = "Waiting gates"

OURS: Final = "FlowTrigger"
HTTP: Final = "HttpSensorTrigger"
_LATENCY: Final = 30
#: Seconds between two flows that appear during the measurement.
_BETWEEN: Final = 0.25
#: Seconds to create the triggers.
_START: Final = 0.5


class _Scenario(NamedTuple):
    gates: int
    flows: int
    clients: tuple[str, ...]
    rounds: int

    def __str__(self) -> str:
        return f"{self.gates:,} gates, {self.flows:,} flows"


_THOUSAND: Final = _Scenario(1_000, 1_000, (OURS, HTTP), 2)
_FIVE_THOUSAND: Final = _Scenario(5_000, 1_000, (OURS, HTTP), 1)
_LARGE: Final = _Scenario(1_000, 50_000, (OURS,), 1)
_SCENARIOS: Final = (_THOUSAND, _FIVE_THOUSAND, _LARGE)
_BRIEFLY: Final = (_THOUSAND, _FIVE_THOUSAND._replace(clients=(OURS,)))
_RUNS: Final = {OURS: "provider:gates", HTTP: "http_provider:gates"}


def measure(runner: Runner) -> None:
    """Run gates for missing flows, and let some of these flows appear."""
    for scenario in _BRIEFLY if runner.plan.smoke else _SCENARIOS:
        rounds = runner.plan.few(scenario.rounds)
        runner.progress(f"{NAME}: {scenario} ({', '.join(scenario.clients)}; {rounds} rounds)")
        kept: dict[str, list[dict[str, Any]]] = {label: [] for label in scenario.clients}
        for _ in range(rounds):
            for label, rows in kept.items():
                rows.append(_watch(runner, label, scenario))
        gates = runner.plan.size(scenario.gates)
        runner.measurements += [
            Measurement(NAME, str(scenario), label, gates, _LATENCY, rows) for label, rows in kept.items()
        ]


def _watch(runner: Runner, label: str, scenario: _Scenario) -> dict[str, Any]:
    plan = runner.plan
    gates, flows = plan.size(scenario.gates), plan.size(scenario.flows)
    runner.server.begin(flows, _LATENCY)
    client = Client(label, _RUNS[label])
    with runner.worker(label) as worker:
        arguments = {"first": flows, "poll": plan.poll}
        # A first short run does the imports, so that they do not shorten the time to settle.
        quick = {"count": 1, "settle": 0, "steady": 0.1, "patience": 0}
        worker.measure(client.run, client.options, arguments | quick)
        runner.server.begin(flows, _LATENCY)
        # A gate polls first at the second tick of its interval at the latest, and logs the result.
        settle, patience = 2.2 * plan.poll + _START, 1.5 * plan.poll
        times = {"settle": settle, "steady": plan.gate_seconds, "patience": patience}
        worker.begin(client.run, client.options, arguments | {"count": gates} | times)
        steady_from = time.time() + settle
        time.sleep(settle)
        before = runner.server.counts()
        appeared = _let_appear(runner, flows, gates, steady_from + plan.gate_seconds)
        after = runner.server.counts()
        found = runner.checked(client, worker.result())
    opened = found.pop("opened")
    if set(opened) - set(appeared):
        raise AssertionError("a gate opened for a missing flow")
    end = steady_from + plan.gate_seconds + patience
    late = [max(0.0, opened.get(flow, end) - moment - plan.poll) for flow, moment in appeared.items()]
    return found | {
        "watched": len(appeared),
        "opened": len(opened),
        "late_p50": percentile(late, 50),
        "late_max": max(late),
        "steady_requests": sum(after[kind] - before[kind] for kind in ("pages", "gets")),
        "steady_server_cpu": after["cpu"] - before["cpu"],
    }


def _let_appear(runner: Runner, flows: int, gates: int, until: float) -> dict[str, float]:
    """Let flows appear one by one, and return the time of each appearance."""
    appeared: dict[str, float] = {}
    while len(appeared) < gates and time.time() < until:
        appeared[flow_id(flows + len(appeared))] = time.time()
        runner.server.show(flows + len(appeared))
        time.sleep(_BETWEEN)
    time.sleep(max(0, until - time.time()))
    return appeared


def targets(results: Results) -> list[Target]:
    """Compare the CPU with that of Airflow's own trigger, and bound connections, lag and delay."""
    thousand, many = (results.get(NAME, str(scenario), OURS) for scenario in (_THOUSAND, _FIVE_THOUSAND))
    cpu = results.ratio(NAME, str(_THOUSAND), OURS, HTTP, "steady_cpu")
    return [
        Target("1,000 gates: CPU relative to HttpSensorTrigger", cpu, 0.1),
        Target("1,000 gates: connections opened", thousand.spread("server_connections"), 16),
        Target("1,000 gates: event-loop lag, 99th percentile", thousand.spread("lag_p99", 1e-3), 5, " ms"),
        Target("5,000 gates: event-loop lag, 99th percentile", many.spread("lag_p99", 1e-3), 10, " ms"),
        Target("5,000 gates: greatest delay beyond the poll interval", many.spread("late_max"), 1, " s"),
    ]


def panels(results: Results) -> list[Panel]:
    """Show the CPU time and the lag of the event loop."""
    rows = results.of_suite(NAME)
    work = [Bar(f"{each.client}, {each.scenario}", _cpu_per_minute(each), each.client == OURS) for each in rows]
    lag = [Bar("", each.spread("lag_p99", 1e-3), each.client == OURS) for each in rows]
    return [Panel("CPU seconds per minute", work), Panel("event-loop lag p99, ms", lag)]


def section(results: Results) -> str:
    """Describe the measurement, and tabulate the results."""
    rows = [
        [
            each.scenario,
            each.client,
            spread(_cpu_per_minute(each)),
            spread(Spread.of([row["steady_requests"] / row["steady_seconds"] for row in each.rounds])),
            spread(each.spread("server_connections")),
            spread(each.spread("lag_p99"), 1e3, " ms"),
            spread(each.spread("idle_lag_p99"), 1e3, " ms"),
            f"{number(max(each.values('late_max')))} s",
            f"{sum(each.values('opened')):.0f} of {sum(each.values('watched')):.0f}",
        ]
        for each in results.of_suite(NAME)
    ]
    head = [
        "scenario",
        "trigger",
        "CPU s per minute",
        "requests per second",
        "connections",
        "loop lag p99",
        "idle lag p99",
        "greatest delay",
        "opened",
    ]
    poll = results.plan["poll"]
    return f"""\
All triggers of a scenario run in one event loop, as in a triggerer, and poll every {poll:g} s for missing flows; the
latency is {_LATENCY} ms. `FlowTrigger` is the trigger to which `FlowExistsSensor(flow_id=…, deferrable=True)` defers.
During the measurement a flow appears every {_BETWEEN:g} s: *greatest delay* is the longest time, beyond the poll
interval, until its gate opened. *Loop lag* is the time by which a sleep of 10 ms overran, *idle lag* the same before
any trigger ran. It is measured after the CPU, because measuring it costs as much CPU as a thousand of our gates.
One scenario has a large organization, because `FlowTrigger` reads the listing where that is cheaper than fetching each
flow.

{table(head, rows)}"""


def _cpu_per_minute(measured: Measurement) -> Spread:
    return Spread.of([60 * row["steady_cpu"] / row["steady_seconds"] for row in measured.rounds])
