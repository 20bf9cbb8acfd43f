"""Waiting gates: the load of thousands of them on a triggerer, and their reaction time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from benchmarks.flows import flow_id
from benchmarks.panels import Bar, Panel
from benchmarks.results import Measurement
from benchmarks.runner import Client
from benchmarks.tables import number, spread, table
from benchmarks.targets import Target
from benchmarks.watching import BETWEEN, Wait, cpu_per_minute, requests_per, watch

if TYPE_CHECKING:
    from benchmarks.results import Results
    from benchmarks.runner import Runner

NAME: Final = "gates"
TITLE: Final = "Waiting gates"

OURS: Final = "FlowTrigger"
HTTP: Final = "HttpSensorTrigger"
_LATENCY: Final = 30


class _Scenario(NamedTuple):
    gates: int
    flows: int
    clients: tuple[str, ...]
    rounds: int

    def __str__(self) -> str:
        return f"{self.gates:,} gates, {self.flows:,} flows"


_THOUSAND: Final = _Scenario(1_000, 1_000, (OURS, HTTP), 2)
_FIVE_THOUSAND: Final = _Scenario(5_000, 1_000, (OURS, HTTP), 1)
_LARGE: Final = _Scenario(1_000, 50_000, (OURS, HTTP), 1)
_SCENARIOS: Final = (_THOUSAND, _FIVE_THOUSAND, _LARGE)
_BRIEFLY: Final = (_THOUSAND, _FIVE_THOUSAND._replace(clients=(OURS,)), _LARGE._replace(clients=(OURS,)))
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
    gates, flows = runner.plan.size(scenario.gates), runner.plan.size(scenario.flows)

    def appear(number: int) -> str:
        runner.server.show(flows + number + 1)
        return flow_id(flows + number)

    wait = Wait(gates, {"first": flows}, lambda: runner.server.begin(flows, _LATENCY), appear)
    return watch(runner, Client(label, _RUNS[label]), wait)


def targets(results: Results) -> list[Target]:
    """Compare the CPU with that of Airflow's own trigger, and bound connections, lag and delay."""
    thousand, many, large = (results.get(NAME, str(scenario), OURS) for scenario in _SCENARIOS)
    cpu = results.ratio(NAME, str(_THOUSAND), OURS, HTTP, "steady_cpu")
    return [
        Target("1,000 gates: CPU relative to HttpSensorTrigger", cpu, 0.1),
        Target("1,000 gates: connections opened", thousand.spread("server_connections"), 16),
        Target("1,000 gates: event-loop lag, 99th percentile", thousand.spread("lag_p99", 1e-3), 5, " ms"),
        Target("5,000 gates: event-loop lag, 99th percentile", many.spread("lag_p99", 1e-3), 10, " ms"),
        Target("5,000 gates: greatest delay beyond the poll interval", many.spread("late_max"), 1, " s"),
        Target("1,000 gates, 50,000 flows: CPU per minute", cpu_per_minute(large), 2, " s"),
        Target("1,000 gates, 50,000 flows: requests per second", requests_per(large, 1), 5),
        Target("1,000 gates, 50,000 flows: event-loop lag, 99th percentile", large.spread("lag_p99", 1e-3), 5, " ms"),
        Target(
            "1,000 gates, 50,000 flows: greatest delay beyond the poll interval",
            large.spread("late_max"),
            results.plan["poll"],
            " s",
        ),
    ]


def panels(results: Results) -> list[Panel]:
    """Show the CPU time and the lag of the event loop."""
    rows = results.of_suite(NAME)
    work = [Bar(f"{each.client}, {each.scenario}", cpu_per_minute(each), each.client == OURS) for each in rows]
    lag = [Bar("", each.spread("lag_p99", 1e-3), each.client == OURS) for each in rows]
    return [Panel("CPU seconds per minute", work), Panel("event-loop lag p99, ms", lag)]


def section(results: Results) -> str:
    """Describe the measurement, and tabulate the results."""
    rows = [
        [
            each.scenario,
            each.client,
            spread(cpu_per_minute(each)),
            spread(requests_per(each, 1)),
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
During the measurement a flow appears every {BETWEEN:g} s: *greatest delay* is the longest time, beyond the poll
interval, until its gate opened. *Loop lag* is the time by which a sleep of 10 ms overran, *idle lag* the same before
any trigger ran. It is measured after the CPU, because measuring it costs as much CPU as a thousand of our gates.
In the scenario with a large organization, `FlowTrigger` reads only the head of the listing, and checks each flow by
itself from time to time.

{table(head, rows)}"""
