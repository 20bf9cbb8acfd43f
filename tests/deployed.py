"""How tests speak with a deployment (`demo.deployment`): start a DAG, wait, see its tasks and what they returned."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from demo.deployment import Deployment

PATIENCE = 150.0


def eventually(condition: Callable[[], Any], otherwise: str, seconds: float = PATIENCE) -> Any:
    """Return what a condition returns as soon as that is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.5)
    raise AssertionError(f"{otherwise} within {seconds:.0f} s")


def start(airflow: Deployment, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
    """Start a run of a DAG and return its id."""
    run = airflow.api("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf or {}})
    return run["dag_run_id"]


def task_instances(airflow: Deployment, dag_id: str, run_id: str) -> list[dict[str, Any]]:
    """Return the task instances of a run, of which there may be 100."""
    return airflow.api("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100")["task_instances"]


def xcom(airflow: Deployment, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Any:
    """Return what a task instance returned."""
    path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
    return airflow.api("GET", f"{path}?map_index={map_index}&deserialize=true")["value"]
