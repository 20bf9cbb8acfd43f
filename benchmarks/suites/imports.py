"""What it costs to read a DAG file that uses us: imports, over Airflow's own base classes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

from benchmarks.panels import Bar, Panel
from benchmarks.processes import ROOT
from benchmarks.results import Measurement
from benchmarks.stats import Spread
from benchmarks.tables import spread, table
from benchmarks.targets import Target

if TYPE_CHECKING:
    from benchmarks.results import Results
    from benchmarks.runner import Runner

NAME: Final = "imports"
TITLE: Final = "Importing in a DAG file"

OURS: Final = "vi-airflow-provider: operators and sensors"
_SCENARIO: Final = "over airflow.sdk"
_MODULES: Final = {
    OURS: ("vi_airflow_provider.operators.flows", "vi_airflow_provider.sensors.flows"),
    "HTTP provider: operator and sensor": (
        "airflow.providers.http.operators.http",
        "airflow.providers.http.sensors.http",
    ),
    "vi-sdk": ("vi",),
}


def measure(runner: Runner) -> None:
    """Import each in fresh processes; a first one compiles what is not compiled yet."""
    rounds = runner.plan.imports
    labels = [OURS] if runner.plan.smoke else list(_MODULES)
    runner.tell(f"{NAME}: {', '.join(labels)} ({rounds} rounds)")
    kept: dict[str, list[dict[str, Any]]] = {label: [] for label in labels}
    for _ in range(rounds + 1):
        for label, rows in kept.items():
            rows.append(_import(_MODULES[label], runner.environment()))
    runner.measurements += [Measurement(NAME, _SCENARIO, label, 1, 0, rows[1:] or rows) for label, rows in kept.items()]


def _import(modules: tuple[str, ...], variables: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.clients.modules", *modules]
    done = subprocess.run(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, check=True)  # noqa: S603
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def targets(results: Results) -> list[Target]:
    """Bound the time, and what else is loaded."""
    ours = results.get(NAME, _SCENARIO, OURS)
    foreign = [float(len(row["foreign"])) for row in ours.rounds]
    return [
        Target("import of operators and sensors, over Airflow's own", ours.spread("wall", 1e-3), 10, " ms"),
        Target("packages of others that it loads", Spread.of(foreign), 0),
    ]


def panels(results: Results) -> list[Panel]:
    """Show the time."""
    rows = results.of_suite(NAME)
    bars = [Bar(each.client, each.spread("wall", 1e-3), each.client == OURS) for each in rows]
    return [Panel("milliseconds", bars)]


def section(results: Results) -> str:
    """Write how it was measured, and a table."""
    rows = [
        [
            each.client,
            spread(each.spread("wall"), 1e3, " ms"),
            spread(each.spread("modules")),
            ", ".join(f"`{name}`" for name in each.rounds[-1]["foreign"]) or "none",
        ]
        for each in results.of_suite(NAME)
    ]
    return f"""\
Fresh processes, bytecode compiled before, `airflow.sdk` with its base classes already imported.

{table(["what", "import", "modules", "packages that Airflow had not loaded"], rows)}"""
