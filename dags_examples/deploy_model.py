"""Deploy a model when a training of its flow has succeeded, without a schedule.

`train_and_export_model` has the models of a flow as its outlet. Each success adds an event to this asset with the run,
its best checkpoint and the metrics, and starts this DAG. A run that failed or was killed adds none.

Replace `deploy` by your own deployment: a container, a registry, a call of your serving platform.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import AirflowSkipException, Asset, dag, task

ORGANIZATION = "e0e0e0e0-0000-4000-8000-000000000001"
FLOW_ID = "add5cc9c-63dc-4a80-a407-bf4f68488d28"
MODELS = Asset(f"vi://{ORGANIZATION}/flows/{FLOW_ID}/models")


@dag(
    schedule=[MODELS],
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["vi", "example"],
    doc_md=__doc__,
)
def deploy_model() -> None:
    @task
    def newest_model(triggering_asset_events: Any = None, triggering_dataset_events: Any = None) -> dict[str, Any]:
        """Return the model of the newest event; a run may handle several."""
        found = triggering_asset_events or triggering_dataset_events or {}
        events = [event for events in found.values() for event in events if event.extra.get("run_output_id")]
        if not events:  # started by a person, without an event
            raise AirflowSkipException("No event names a model.")
        return dict(max(events, key=lambda event: event.timestamp).extra)

    @task
    def deploy(model: dict[str, Any]) -> str:
        """Stands for your deployment."""
        return f"deployed checkpoint {model['run_output_id']} of run {model['run_id']}: {model['metrics']}"

    deploy(newest_model())


deploy_model()
