"""Waiting for training runs: the load of thousands of deferred tasks on a triggerer, and their reaction time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from benchmarks.panels import Bar, Panel
from benchmarks.results import Measurement
from benchmarks.runner import Client
from benchmarks.tables import number, spread, table
from benchmarks.targets import Target
from benchmarks.watching import BETWEEN, Wait, cpu_per_minute, requests_per, watch

if TYPE_CHECKING:
    from benchmarks.results import Results
    from benchmarks.runner import Runner

NAME: Final = "runs"
TITLE: Final = "Waiting runs"

OURS: Final = "RunTrigger"
DBT: Final = "DbtCloudRunJobTrigger"
DATABRICKS: Final = "DatabricksExecutionTrigger"
_LATENCY: Final = 30
_CLIENTS: Final = {OURS: "provider:runs", DBT: "peers:dbt_runs", DATABRICKS: "peers:databricks_runs"}


class _Scenario(NamedTuple):
    runs: int
    clients: tuple[str, ...]
    rounds: int

    def __str__(self) -> str:
        return f"{self.runs:,} runs"


_THOUSAND: Final = _Scenario(1_000, tuple(_CLIENTS), 2)
_FIVE_THOUSAND: Final = _Scenario(5_000, tuple(_CLIENTS), 1)
_SCENARIOS: Final = (_THOUSAND, _FIVE_THOUSAND)


def measure(runner: Runner) -> None:
    """Run triggers for active runs, and let some of these runs end."""
    for scenario in _SCENARIOS:
        # The tests have no packages of other services.
        clients = (OURS,) if runner.plan.smoke else scenario.clients
        rounds = runner.plan.few(scenario.rounds)
        runner.progress(f"{NAME}: {scenario} ({', '.join(clients)}; {rounds} rounds)")
        kept: dict[str, list[dict[str, Any]]] = {label: [] for label in clients}
        for _ in range(rounds):
            for label, rows in kept.items():
                rows.append(_watch(runner, label, scenario))
        size = runner.plan.size(scenario.runs)
        runner.measurements += [
            Measurement(NAME, str(scenario), label, size, _LATENCY, rows) for label, rows in kept.items()
        ]


def _watch(runner: Runner, label: str, scenario: _Scenario) -> dict[str, Any]:
    count = runner.plan.size(scenario.runs)

    def end(number: int) -> str:
        runner.server.end_runs(number + 1)
        return str(number)

    wait = Wait(count, {}, lambda: runner.server.begin(0, _LATENCY, runs=count), end)
    return watch(runner, Client(label, _CLIENTS[label]), wait)


def targets(results: Results) -> list[Target]:
    """Bound requests, connections, lag and delay."""
    thousand, many = (results.get(NAME, str(scenario), OURS) for scenario in _SCENARIOS)
    return [
        Target("1,000 runs: connections opened", thousand.spread("server_connections"), 16),
        Target("1,000 runs: requests in each poll interval", requests_per(thousand, results.plan["poll"]), 12),
        Target("1,000 runs: event-loop lag, 99th percentile", thousand.spread("lag_p99", 1e-3), 5, " ms"),
        Target("1,000 runs: greatest delay beyond the poll interval", thousand.spread("late_max"), 1, " s"),
        Target("5,000 runs: greatest delay beyond the poll interval", many.spread("late_max"), 1, " s"),
        Target("5,000 runs: event-loop lag, 99th percentile", many.spread("lag_p99", 1e-3), 10, " ms"),
    ]


def panels(results: Results) -> list[Panel]:
    """Show the CPU time and the lag of the event loop."""
    rows = results.of_suite(NAME)
    work = [Bar(f"{each.client}, {each.scenario}", cpu_per_minute(each), each.client == OURS) for each in rows]
    lag = [Bar("", each.spread("lag_p99", 1e-3), each.client == OURS) for each in rows]
    return [Panel("CPU seconds per minute", work), Panel("event-loop lag p99, ms", lag)]


def section(results: Results) -> str:
    """Describe the measurement, and tabulate the results."""
    poll = results.plan["poll"]
    rows = [
        [
            each.scenario,
            each.client,
            spread(cpu_per_minute(each)),
            spread(requests_per(each, poll)),
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
        "requests per interval",
        "connections",
        "loop lag p99",
        "idle lag p99",
        "greatest delay",
        "events",
    ]
    return f"""\
As above, but the triggers wait for training runs that are active, and every {BETWEEN:g} s a run ends. `RunTrigger` is
the trigger to which `StartRunOperator(deferrable=True)` defers. The triggers of the other providers ask the same server
for the state of a run in the form of their own service, which is about a hundred bytes instead of 5 KB; dbt Cloud's is
used without TLS. Each poll interval takes {poll:g} s.

{table(head, rows)}"""
