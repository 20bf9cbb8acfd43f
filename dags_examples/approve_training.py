"""Ask a person before a training spends credits (Airflow 3.1 and later).

Three tasks: `describe` reads the flow and writes what would be trained, `approve` shows it under *Required Actions* and
waits, and `train` starts the run. *Reject* ends the run of the DAG without a training. The approved spec is what is
trained, also if a colleague edits the flow meanwhile: the XCom of `read_flow` is passed on.

On Airflow 2.11 and 3.0, which cannot ask, this file defines no DAG.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import Param, dag, task

from vi_airflow_provider.operators.flows import GetFlowOperator
from vi_airflow_provider.operators.runs import StartRunOperator

try:
    from airflow.providers.standard.operators.hitl import ApprovalOperator
except Exception:  # the module is missing, or raises because this Airflow is too old for it
    ApprovalOperator = None  # type: ignore[assignment, misc]

if ApprovalOperator is not None:

    @dag(
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        params={
            "flow_id": Param("add5cc9c-63dc-4a80-a407-bf4f68488d28", type="string", minLength=1),
            "epochs": Param(10, type="integer", minimum=1, description="Passes over the dataset."),
        },
        render_template_as_native_obj=True,
        tags=["vi", "example"],
        doc_md=__doc__,
    )
    def approve_training() -> None:
        read_flow = GetFlowOperator(task_id="read_flow", flow_id="{{ params.flow_id }}")

        @task
        def describe(flow: dict[str, Any], epochs: Any) -> str:
            """Write for a person what would be trained."""
            blocks = ", ".join(block["block"] for block in flow["spec"]["blocks"])
            name = " ".join(flow["spec"]["name"].replace("|", "\\|").split())
            return f"| flow | blocks | epochs |\n|---|---|---|\n| {name} | {blocks} | {epochs} |"

        described = describe(read_flow.output, "{{ params.epochs }}")
        approve = ApprovalOperator(
            task_id="approve",
            subject="Start a training run in Vi? It costs credits.",
            body="{{ ti.xcom_pull(task_ids='describe') }}",
            response_timeout=timedelta(days=7),
        )
        train = StartRunOperator(
            task_id="train",
            flow=read_flow.output,
            overrides={"blocks": {"vlm-model": {"settings": {"hyperparameters": {"epochs": "{{ params.epochs }}"}}}}},
            deferrable=True,
            max_duration=timedelta(hours=12),
            retries=3,
        )
        described >> approve >> train

    approve_training()
