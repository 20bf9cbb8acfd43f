"""Training runs of tasks that are killed, failed and cleared while they wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from vi_airflow_provider.operators.runs import StartRunOperator

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
# One retry for the process that is killed; the others for tries that Airflow ends of its own accord.
RETRIES = {"retries": 4, "retry_delay": timedelta(seconds=0)}


def train(*, deferrable: bool) -> None:
    """Train the flow that the DAG run is started with."""
    flow_id = "{{ dag_run.conf['flow_id'] }}"
    StartRunOperator(task_id="train", flow_id=flow_id, poll_interval=1, deferrable=deferrable)


with DAG("train_in_a_worker", schedule=None, start_date=BEGIN, default_args=RETRIES):
    train(deferrable=False)

with DAG("train_on_the_triggerer", schedule=None, start_date=BEGIN, default_args=RETRIES):
    train(deferrable=True)
