"""DAGs for the system tests: deferred gates, and a DAG that flow changes start."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from vi_airflow_provider.sensors.flows import FlowExistsSensor
from vi_airflow_provider.triggers.events import FlowEventTrigger

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
#: Airflow may fail a task that has just been resumed, for the late report that its first part has ended.
ONCE_MORE = {"retries": 2, "retry_delay": timedelta(seconds=0)}

with DAG("one_gate", schedule=None, start_date=BEGIN, default_args=ONCE_MORE):
    FlowExistsSensor(task_id="gate", flow_id="one-flow", deferrable=True, poke_interval=1, timeout=600)

with DAG("twenty_gates", schedule=None, start_date=BEGIN, default_args=ONCE_MORE):
    FlowExistsSensor.partial(task_id="gate", deferrable=True, poke_interval=1, timeout=600).expand(
        flow_id=[f"flow-{number}" for number in range(20)]
    )

with DAG("late_gate", schedule=None, start_date=BEGIN):
    FlowExistsSensor(task_id="gate", flow_id="never", deferrable=True, poke_interval=1, timeout=30)

changed = Asset(
    name="changed",
    watchers=[
        AssetWatcher(name="watcher", trigger=FlowEventTrigger(training_project="watched", poke_interval=1)),
    ],
)
with DAG("on_change", schedule=[changed], start_date=BEGIN):

    @task
    def read(triggering_asset_events: Any = None) -> list[Any]:
        return [event.extra["payload"] for events in triggering_asset_events.values() for event in events]

    read()
