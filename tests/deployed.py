"""Helpers for tests of a deployment (`demo.deployment`): start a DAG, wait, read its tasks and XComs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final

import pytest

from demo.deployment import Deployment

PATIENCE = 150.0

#: A line of a log that reports an error, or the last line of a traceback.
_ERROR: Final = re.compile(r".*\[(error|critical) *\].*|[\w.]*Error: .*")


def errors(airflow: Deployment, lines: int = 10) -> dict[str, list[str]]:
    """Return the last errors in the log of each component."""
    found = {}
    for log in sorted(airflow.home.glob("*.log")):
        matching = [line[:400] for line in log.read_text(errors="replace").splitlines() if _ERROR.fullmatch(line)]
        found[log.stem] = matching[-lines:]
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the errors of the deployment if a test fails; a `conftest.py` activates this by importing it."""
    report = yield
    if report.failed:
        for fixture in item.funcargs.values():
            if isinstance(airflow := getattr(fixture, "airflow", fixture), Deployment):
                lines = [f"{component}: {line}" for component, found in errors(airflow).items() for line in found]
                report.sections.append(("Errors in the logs of Airflow", "\n".join(lines)))
    return report


def eventually(
    condition: Callable[[], Any],
    failure: str,
    seconds: float = PATIENCE,
    seen: Callable[[], Any] | None = None,
) -> Any:
    """Wait until a condition is true, and return its result.

    :param failure: the error message if it does not become true
    :param seen: returns details for the error message
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.5)
    raise AssertionError(f"{failure} within {seconds:.0f} s" + (f": {seen()}" if seen else ""))


def start(airflow: Deployment, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
    """Start a DAG run and return its id."""
    run = airflow.api("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf or {}})
    return str(run["dag_run_id"])


def task_instances(airflow: Deployment, dag_id: str, run_id: str) -> list[dict[str, Any]]:
    """Return the task instances of a run, at most 100."""
    found = airflow.api("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100")
    return list(found["task_instances"])


def xcom(airflow: Deployment, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Any:
    """Return the return value of a task instance."""
    path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
    return airflow.api("GET", f"{path}?map_index={map_index}&deserialize=true")["value"]
