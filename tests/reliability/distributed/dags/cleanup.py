"""The DAGs of the distributed test: the cleanup for many workers of `docs/cleanup.md`, and a gate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param, task

from vi_airflow_provider.operators.flows import DeleteFlowOperator, PruneFlowsOperator
from vi_airflow_provider.sensors.flows import FlowExistsSensor

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
BATCH = 30
#: Flows that are deleted by a task each, in addition to the batches.
SINGLES = 10
# The tasks of a killed worker are retried on the other one.
RETRY = {"retries": 5, "retry_delay": timedelta(seconds=1)}

with DAG(
    "cleanup",
    schedule=None,
    start_date=BEGIN,
    params={"archive_to": Param(type="string")},
    default_args=RETRY,
):
    plan = PruneFlowsOperator(
        task_id="plan",
        older_than="P90D",
        protect_attributes={"keep": "true"},
        max_delete=1000,
        max_delete_fraction=0.9,
    )

    @task
    def batches(report: dict[str, Any]) -> list[list[dict[str, Any]]]:
        """Split the plan into batches of one task each."""
        if report["guard"] or report["outcomes_omitted"]:
            raise ValueError(report["guard"] or "more flows than a report lists")
        planned = report["outcomes"][SINGLES:]
        return [planned[first : first + BATCH] for first in range(0, len(planned), BATCH)]

    @task
    def singles(report: dict[str, Any]) -> list[dict[str, str]]:
        """Return the arguments of the tasks that delete one flow."""
        return [{"flow_id": flow["flow_id"], "expected_etag": flow["etag"]} for flow in report["outcomes"][:SINGLES]]

    report: Any = plan.output
    PruneFlowsOperator.partial(
        task_id="prune", dry_run=False, archive_to="{{ params.archive_to }}", concurrency=1
    ).expand(plan=batches(report))
    DeleteFlowOperator.partial(task_id="delete", archive_to="{{ params.archive_to }}").expand_kwargs(singles(report))

with DAG("gate", schedule=None, start_date=BEGIN, default_args=RETRY):
    FlowExistsSensor(task_id="gate", flow_id="late-flow", deferrable=True, poke_interval=1, timeout=1800)
