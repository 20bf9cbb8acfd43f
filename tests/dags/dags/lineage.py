"""An export that emits OpenLineage events, and fails if anything changed since the previous one."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG

from vi_airflow_provider.operators.flows import ExportFlowsOperator

with DAG("lineage", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
    ExportFlowsOperator(
        task_id="export",
        destination="{{ dag_run.conf.folder }}/{{ dag_run.conf.name }}.jsonl",
        compare_to="previous",
        fail_on_drift=True,
    )
