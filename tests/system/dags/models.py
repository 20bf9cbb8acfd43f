"""A flow whose training schedules the deployment of its model."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from vi_airflow_provider.assets import create_asset
from vi_airflow_provider.emulator.settings import DEFAULT_ORGANIZATION_ID
from vi_airflow_provider.operators.runs import StartRunOperator

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
MODELS = create_asset(organization_id=DEFAULT_ORGANIZATION_ID, flow_id="any", models=True)

with DAG("train_a_model", schedule=None, start_date=BEGIN):
    StartRunOperator(task_id="train", flow_id="{{ dag_run.conf['flow_id'] }}", poll_interval=1, outlets=[MODELS])

with DAG("deploy_a_model", schedule=[MODELS], start_date=BEGIN):

    @task
    def deploy(triggering_asset_events: Any = None) -> list[dict[str, Any]]:
        """Return what the events tell about the models."""
        return [event.extra for events in triggering_asset_events.values() for event in events]

    deploy()
