"""Train a flow as soon as it exists, and export the best model.

Three tasks: the gate holds the training until the flow exists, the training is started once and waited for on the
triggerer, and the model of the best checkpoint is streamed to the destination, with a manifest that proves it whole.
The training task has an asset, the models of the flow, as its outlet: a success starts every DAG that is scheduled on
this asset, such as `deploy_model`.

Set ORGANIZATION and FLOW_ID to yours, and `destination` to any absolute path or URL of a folder that Airflow's
ObjectStoragePath takes. As they are, they fit the emulator.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import Asset, Param, dag

from vi_airflow_provider.operators.runs import ExportModelOperator, StartRunOperator
from vi_airflow_provider.sensors.flows import FlowExistsSensor

ORGANIZATION = "e0e0e0e0-0000-4000-8000-000000000001"
FLOW_ID = "add5cc9c-63dc-4a80-a407-bf4f68488d28"
MODELS = Asset(f"vi://{ORGANIZATION}/flows/{FLOW_ID}/models")


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        "destination": Param("/tmp/vi_models", type="string", minLength=1, description="Folder."),  # noqa: S108
        "metric": Param("f1", type="string", minLength=1, description="The best checkpoint has its highest value."),
        "poll_interval": Param(60, type="integer", minimum=1, description="Seconds between two polls of the run."),
    },
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["vi", "example"],
    doc_md=__doc__,
)
def train_and_export_model() -> None:
    wait_for_flow = FlowExistsSensor(
        task_id="wait_for_flow", flow_id=FLOW_ID, deferrable=True, poke_interval=60, timeout=timedelta(days=1)
    )
    train = StartRunOperator(
        task_id="train",
        flow=wait_for_flow.output,
        best_metric=["{{ params.metric }}", "max"],
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
        max_queue_time=timedelta(hours=2),
        max_duration=timedelta(hours=12),
        outlets=[MODELS],
    )
    export_model = ExportModelOperator(
        task_id="export_model",
        run_id="{{ ti.xcom_pull(task_ids='train', key='vi_run_id') }}",
        select="best",
        best_metric=["{{ params.metric }}", "max"],
        destination="{{ params.destination }}/{{ ti.xcom_pull(task_ids='train', key='vi_run_id') }}.model",
    )
    train >> export_model


train_and_export_model()
