"""Operators under load, in ``dag.test()``: the time must not grow faster than the number of flows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from benchmarks.flows import age_in_days
from benchmarks.panels import Bar, Panel
from benchmarks.results import Measurement
from benchmarks.runner import Client
from benchmarks.stats import Spread, exponent
from benchmarks.tables import megabytes, number, spread, table
from benchmarks.targets import Target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.results import Results
    from benchmarks.runner import Runner

NAME: Final = "operators"
TITLE: Final = "Operators under load"

_PRUNED_AFTER: Final = 90
#: Tolerance for noise when the number of flows doubles.
_NOISE: Final = 1.15


class _Load(NamedTuple):
    label: str
    run: str
    options: Mapping[str, Any]
    flows: int


_LOADS: Final = (
    _Load('ListFlowsOperator(result="summaries")', "dag_runs:list_flows", {}, 10_000),
    _Load("ExportFlowsOperator", "dag_runs:export_flows", {}, 100_000),
    _Load("PruneFlowsOperator(dry_run=True)", "dag_runs:prune_flows", {"dry_run": True}, 20_000),
    _Load("PruneFlowsOperator(dry_run=False)", "dag_runs:prune_flows", {"dry_run": False}, 2_600),
)


def measure(runner: Runner) -> None:
    """Run each operator on a quarter, half and all of its flows, in one process because Airflow starts slowly."""
    rounds = runner.plan.few(2)
    with runner.worker(NAME) as worker:
        for load in _LOADS:
            sizes = [runner.plan.size(load.flows // part) for part in ((2, 1) if runner.plan.smoke else (4, 2, 1))]
            runner.progress(f"{NAME}: {load.label} ({', '.join(f'{size:,}' for size in sizes)} flows; {rounds} rounds)")
            runner.server.begin(4, 0)
            runner.warm_up([worker], [Client(load.label, load.run, load.options)], {})
            kept: dict[int, list[dict[str, Any]]] = {size: [] for size in sizes}
            for _ in range(rounds):
                for size, rows in kept.items():
                    runner.server.begin(size, 0)
                    client = Client(load.label, load.run, load.options, _expected(load, size))
                    rows.append(runner.checked(client, worker.measure(load.run, load.options, {})))
            runner.measurements += [
                Measurement(NAME, load.label, f"{size:,} flows", size, 0, rows) for size, rows in kept.items()
            ]


def _expected(load: _Load, size: int) -> dict[str, int]:
    if "dry_run" not in load.options:
        return {"flows": size}
    selected = sum(age_in_days(number) >= _PRUNED_AFTER for number in range(size))
    deleted = 0 if load.options["dry_run"] else selected
    return {"selected": selected, "deleted": deleted, "server_deleted": deleted}


def _sizes(results: Results, load: _Load) -> list[Measurement]:
    return [each for each in results.of_suite(NAME) if each.scenario == load.label]


def targets(results: Results) -> list[Target]:
    """Bound the growth of the time when the number of flows last doubles."""
    rows = []
    for load in _LOADS:
        *_, half, whole = (each.values("task_seconds") for each in _sizes(results, load))
        growth = Spread.of([more / less for less, more in zip(half, whole, strict=True)])
        rows.append(Target(f"{load.label}: time for twice the flows", growth, 2 * _NOISE))
    return rows


def panels(results: Results) -> list[Panel]:
    """Show the duration of the tasks."""
    rows = results.of_suite(NAME)
    bars = [Bar(f"{each.scenario}, {each.client}", each.spread("task_seconds"), True) for each in rows]
    return [Panel("seconds", bars)]


def section(results: Results) -> str:
    """Describe the measurement, and tabulate the results."""
    rows = []
    for load in _LOADS:
        measured = _sizes(results, load)
        power = exponent({each.size: each.spread("task_seconds").median for each in measured})
        for each in measured:
            rows.append(
                [
                    f"`{load.label}`",
                    f"{each.size:,}",
                    spread(each.spread("task_seconds"), unit=" s"),
                    megabytes(max(each.values("memory"))),
                    f"n^{number(power)}" if each is measured[-1] else "",
                ]
            )
    noise = _NOISE - 1
    head = ["operator", "flows", "task", "extra memory", "growth"]
    return f"""\
Whole tasks in `dag.test()`, with Airflow's database on SQLite, from start to end of the task including its XCom. Page
size and concurrency are the defaults; there is no latency. The last operator archives and deletes the selected flows,
with one read and one delete each. Twice the flows may take twice the time, plus {noise:.0%} for noise.

{table(head, rows)}"""
