"""The types of the arguments of operators and sensors. mypy checks this file; it is never executed.

A ``type: ignore`` marks a call that must be rejected: strict mypy reports it as unused if the call is accepted.
"""

from __future__ import annotations

from datetime import timedelta

from vi_airflow_provider.operators.flows import (
    CreateFlowOperator,
    DeleteFlowOperator,
    ExportFlowsOperator,
    GetFlowOperator,
    ListFlowsOperator,
    PruneFlowsOperator,
    RestoreFlowsOperator,
    UpdateFlowOperator,
)
from vi_airflow_provider.operators.runs import ExportRunsOperator
from vi_airflow_provider.sensors.flows import FlowExistsSensor, FlowSpecSensor


def accepted() -> None:
    ListFlowsOperator(task_id="list", result="ids", older_than="P90D")
    GetFlowOperator(task_id="get", flow_id="{{ params.flow_id }}", vi_conn_id="vi_default")
    CreateFlowOperator(task_id="create", spec={"name": "Weld seams", "blocks": []})
    UpdateFlowOperator(task_id="update", flow_id="flow", attributes={"team": "a"})
    DeleteFlowOperator(task_id="delete", flow_id="flow", archive_to="s3://archive/flows")
    PruneFlowsOperator(task_id="prune", older_than=timedelta(days=90), keep_last=3, dry_run=False)
    PruneFlowsOperator(task_id="prune", older_than="{{ params.age }}", dry_run="{{ params.dry_run }}")
    ExportFlowsOperator(task_id="export", destination="s3://audit/flows.jsonl", format="jsonl", html_report=True)
    ExportRunsOperator(task_id="runs", destination="s3://audit/runs.jsonl", outputs=False, states=["failed"])
    RestoreFlowsOperator(task_id="restore", archive="s3://archive/flows/a.flows.jsonl")
    FlowExistsSensor(task_id="exists", flow_name="Weld seams", deferrable=True, timeout=3600)
    FlowSpecSensor(task_id="spec", flow_id="flow", attributes={"stage": "production"})


def rejected() -> None:
    ListFlowsOperator(task_id="list", result="names")  # type: ignore[arg-type]
    DeleteFlowOperator(task_id="delete", flow_id="flow", if_missing="ignore")  # type: ignore[arg-type]
    ExportFlowsOperator(task_id="export", destination="s3://audit/flows.xml", format="xml")  # type: ignore[arg-type]
    FlowExistsSensor(task_id="exists", flow_id=5)  # type: ignore[arg-type]
    PruneFlowsOperator(task_id="prune", keep_last="three")  # type: ignore[arg-type]
