"""A run that one task starts and others wait for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from vi_airflow_provider.operators.runs import StartRunOperator
from vi_airflow_provider.sensors.runs import RunStateSensor

RUN_ID = "{{ ti.xcom_pull('start')['run_id'] }}"
QUICK: Any = {"poke_interval": 0.2, "timeout": 60}

with DAG("start_then_wait", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
    start = StartRunOperator(task_id="start", flow_id="{{ dag_run.conf['flow_id'] }}", wait_for_completion=False)
    start >> [
        RunStateSensor(task_id="poked", run_id=RUN_ID, **QUICK),
        RunStateSensor(task_id="rescheduled", run_id=RUN_ID, mode="reschedule", **QUICK),
        RunStateSensor(task_id="deferred", run_id=RUN_ID, deferrable=True, **QUICK),
        RunStateSensor(task_id="newest", flow_id="{{ dag_run.conf['flow_id'] }}", newest=True, **QUICK),
    ]
