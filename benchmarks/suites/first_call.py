"""The first call of a task, up to its first connection: imports, models, session."""

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

NAME: Final = "first_call"
TITLE: Final = "First call of a task"

OURS: Final = "GetFlowOperator"
_SCENARIO: Final = "fresh process"
#: Starting a process takes some seconds, of which only the call is measured.
_ROUNDS: Final = 7
_CALLS: Final = {
    OURS: "provider",
    "vi-sdk: flows.get": "sdk",
    "HttpOperator": "http",
    "DbtCloudGetJobRunArtifactOperator": "dbt",
    "DatabricksRunNowOperator": "databricks",
}


def measure(runner: Runner) -> None:
    """Make each call in fresh processes; the first round only compiles bytecode."""
    rounds = min(runner.plan.imports, _ROUNDS)
    labels = [OURS] if runner.plan.smoke else list(_CALLS)
    runner.progress(f"{NAME}: {', '.join(labels)} ({rounds} rounds)")
    variables = runner.environment()
    for kind in ("dbt_cloud", "databricks"):
        connection = {"conn_type": kind, "host": "127.0.0.1", "login": "1", "password": "none"}
        variables[f"AIRFLOW_CONN_{kind.upper()}_DEFAULT"] = json.dumps(connection)
    kept: dict[str, list[dict[str, Any]]] = {label: [] for label in labels}
    for _ in range(rounds + 1):
        for label, rows in kept.items():
            rows.append(_call(_CALLS[label], variables))
    runner.measurements += [Measurement(NAME, _SCENARIO, label, 1, 0, rows[1:] or rows) for label, rows in kept.items()]


def _call(name: str, variables: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.clients.first_call", name]
    done = subprocess.run(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, check=True)  # noqa: S603
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def targets(results: Results) -> list[Target]:
    """Bound the CPU time, and exclude the library of the asynchronous client."""
    if not (rows := results.of_suite(NAME)):
        return []
    ours = next(each for each in rows if each.client == OURS)
    needless = [float("aiohttp" in row["foreign"]) for row in ours.rounds]
    return [
        Target("first call of a task: CPU from execute() to the first request", ours.spread("cpu", 1e-3), 60, " ms"),
        Target("first call of a task: imports of aiohttp", Spread.of(needless), 0),
    ]


def panels(results: Results) -> list[Panel]:
    """Show the CPU times."""
    rows = results.of_suite(NAME)
    return [
        Panel("CPU milliseconds", [Bar(each.client, each.spread("cpu", 1e-3), each.client == OURS) for each in rows])
    ]


def section(results: Results) -> str:
    """Describe the measurement, and tabulate the results."""
    rows = [
        [
            each.client,
            spread(each.spread("cpu"), 1e3, " ms"),
            spread(each.spread("wall"), 1e3, " ms"),
            ", ".join(f"`{name}`" for name in each.rounds[-1]["foreign"]) or "none",
        ]
        for each in results.of_suite(NAME)
    ]
    return f"""\
Fresh processes with compiled bytecode, in which Airflow's SDK, task runner and supervisor, the DAG file's imports and
the operator are already there. Measured is the call, up to where it opens its first connection: imports, models,
session, and the look-up of the Airflow connection in the environment.

{table(["call", "CPU", "wall", "packages imported meanwhile"], rows)}"""
