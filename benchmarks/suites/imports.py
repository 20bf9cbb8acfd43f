"""The cost of importing the provider in a DAG file, on top of Airflow's base classes."""

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
    """Import each in fresh processes; the first round only compiles bytecode."""
    rounds = runner.plan.imports
    labels = [OURS] if runner.plan.smoke else list(_MODULES)
    runner.progress(f"{NAME}: {', '.join(labels)} ({rounds} rounds)")
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
    """Bound the import time and the number of additional packages."""
    ours = results.get(NAME, _SCENARIO, OURS)
    foreign = [float(len(row["foreign"])) for row in ours.rounds]
    return [
        Target("import of operators and sensors, on top of Airflow", ours.spread("wall", 1e-3), 10, " ms"),
        Target("additional third-party packages it imports", Spread.of(foreign), 0),
    ]


def panels(results: Results) -> list[Panel]:
    """Show the import times."""
    rows = results.of_suite(NAME)
    bars = [Bar(each.client, each.spread("wall", 1e-3), each.client == OURS) for each in rows]
    return [Panel("milliseconds", bars)]


def section(results: Results) -> str:
    """Describe the measurement, and tabulate the results."""
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
Fresh processes with compiled bytecode, in which `airflow.sdk` and its base classes are already imported.

{table(["package", "import time", "modules", "additional packages"], rows)}"""
