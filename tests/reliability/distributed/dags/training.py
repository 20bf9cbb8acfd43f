"""Training runs: the tasks of some wait in the workers, those of the others on the triggerer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG

from vi_airflow_provider.operators.runs import StartRunOperator

IN_WORKERS, ON_TRIGGERER = 4, 12


def sweep(number: int) -> list[dict[str, Any]]:
    """Return the changes to the flow, one for each run."""
    return [{"settings": {"seed": seed}} for seed in range(number)]


with DAG(
    "train",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    default_args={"retries": 5, "retry_delay": timedelta(seconds=1)},
):
    arguments: dict[str, Any] = {"flow_id": "{{ dag_run.conf['flow_id'] }}", "poll_interval": 1}
    StartRunOperator.partial(task_id="in_workers", deferrable=False, **arguments).expand(overrides=sweep(IN_WORKERS))
    StartRunOperator.partial(task_id="on_triggerer", deferrable=True, **arguments).expand(overrides=sweep(ON_TRIGGERER))
