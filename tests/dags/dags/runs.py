"""A run that one task starts and others wait for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, BaseOperator

from vi_airflow_provider.assets import create_asset
from vi_airflow_provider.emulator.settings import DEFAULT_ORGANIZATION_ID
from vi_airflow_provider.operators.runs import StartRunOperator
from vi_airflow_provider.sensors.runs import RunStateSensor

RUN_ID = "{{ ti.xcom_pull('start')['run_id'] }}"
QUICK: Any = {"poke_interval": 0.2, "timeout": 60}

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
MODELS = create_asset(organization_id=DEFAULT_ORGANIZATION_ID, flow_id="trained", models=True)

with DAG("train_a_model", schedule=None, start_date=BEGIN):
    StartRunOperator(
        task_id="train",
        flow_id="trained",
        poll_interval=0.2,
        deferrable=True,
        best_metric=("f1", "max"),
        outlets=[MODELS],
    )

with DAG("deploy_a_model", schedule=[MODELS], start_date=BEGIN):
    BaseOperator(task_id="deploy")

with DAG("start_then_wait", schedule=None, start_date=BEGIN):
    start = StartRunOperator(task_id="start", flow_id="{{ dag_run.conf['flow_id'] }}", wait_for_completion=False)
    start >> [
        RunStateSensor(task_id="poked", run_id=RUN_ID, **QUICK),
        RunStateSensor(task_id="rescheduled", run_id=RUN_ID, mode="reschedule", **QUICK),
        RunStateSensor(task_id="deferred", run_id=RUN_ID, deferrable=True, **QUICK),
        RunStateSensor(task_id="newest", flow_id="{{ dag_run.conf['flow_id'] }}", newest=True, **QUICK),
    ]
