"""DAGs for the system tests: an export, and a DAG scheduled on it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, Asset, task

from vi_airflow_provider.operators.flows import ExportFlowsOperator

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
EXPORTED = Asset("exported_flows")

with DAG("export", schedule=None, start_date=BEGIN):
    ExportFlowsOperator(
        task_id="export", destination="{{ dag_run.conf.destination }}", html_report=True, outlets=[EXPORTED]
    )

with DAG("after_export", schedule=[EXPORTED], start_date=BEGIN):

    @task
    def read(triggering_asset_events: Any = None) -> list[Any]:
        return [event.extra for events in triggering_asset_events.values() for event in events]

    read()
