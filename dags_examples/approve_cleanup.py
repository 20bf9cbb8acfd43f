"""Delete stale flows once a person has read the list and approved it (Airflow 3.1 and later).

Three tasks: a dry run makes the plan, `approve` shows it under *Required Actions* and waits, and `apply` deletes
exactly the flows of the approved plan. A flow that was edited since is spared, however long the approval took.
*Reject* ends the run without a delete; so does a plan that selects nothing, or more than the guards allow.

Trigger it with a folder for what is deleted: `{"archive_to": "s3://my_connection@my-bucket/vi"}`. As it comes, without
one, it only plans.

On Airflow 2.11 and 3.0, which cannot ask, this file defines no DAG.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, Param, dag, task

from vi_airflow_provider.operators.flows import PruneFlowsOperator

try:
    from airflow.providers.standard.operators.hitl import ApprovalOperator
except Exception:  # the module is missing, or raises because this Airflow is too old for it
    ApprovalOperator = None  # type: ignore[assignment, misc]

if ApprovalOperator is not None:

    @dag(
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        params={
            "older_than_days": Param(90, type="integer", minimum=1, description="Days since the last update."),
            "archive_to": Param(
                None,
                type=["null", "string"],
                description="URL of a folder for what is deleted; without it, the run ends with the plan.",
            ),
        },
        tags=["vi", "example"],
        doc_md=__doc__,
    )
    def approve_cleanup() -> None:
        plan = PruneFlowsOperator(
            task_id="plan",
            older_than="P{{ params.older_than_days }}D",
            protect_attributes={"keep": "true"},
        )

        @task
        def describe(report: dict[str, Any], archive_to: str) -> str:
            """Write the plan for a person; ask for no approval of one that is empty, or would be refused."""
            if not archive_to:
                raise AirflowSkipException("Without archive_to, this run only plans: see the log of the task plan.")
            if report["guard"]:
                raise AirflowFailException(report["guard"])
            if not report["outcomes"]:
                raise AirflowSkipException("There is nothing to delete.")
            rows = ["| flow | last updated | id |", "|---|---|---|"]
            for flow in report["outcomes"]:
                last_updated = datetime.fromtimestamp(flow["last_updated"] / 1000, UTC)
                name = " ".join(flow["name"].replace("|", "\\|").split())
                rows.append(f"| {name} | {last_updated:%Y-%m-%d} | {flow['flow_id']} |")
            return "\n".join(rows)

        described = describe(plan.output, "{{ params.archive_to or '' }}")
        approve = ApprovalOperator(
            task_id="approve",
            subject="Delete {{ ti.xcom_pull(task_ids='plan')['selected'] }} flows of Vi?",
            body="{{ ti.xcom_pull(task_ids='describe') }}",
            response_timeout=timedelta(days=7),
        )

        # The plan of the dry run, not the policy: flows that became stale meanwhile were not approved.
        apply = PruneFlowsOperator(
            task_id="apply",
            plan=plan.output,  # type: ignore[arg-type]
            archive_to="{{ params.archive_to }}",
            dry_run=False,
        )
        described >> approve >> apply

    approve_cleanup()
