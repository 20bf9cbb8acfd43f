"""Train a flow with several seeds, and name the best model.

Each seed is a training run of its own, of a copy of the flow; the flow itself is not changed. A run is started once:
whatever is retried or killed on the way, the next try of the task finds the run again. It waits on the triggerer, so
hours of training occupy no worker.

Set the parameter `flow_id` to a flow of yours. A run costs credits from its start on; `max_queue_time` and
`max_duration` kill one that takes too long.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import AirflowFailException, Param, dag, task

from vi_airflow_provider.operators.runs import StartRunOperator


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        "flow_id": Param("add5cc9c-63dc-4a80-a407-bf4f68488d28", type="string", minLength=1),
        "seeds": Param([7, 11, 13], type="array", items={"type": "integer"}),
        "metric": Param("f1", type="string", minLength=1),
    },
    render_template_as_native_obj=True,
    tags=["vi", "example"],
    doc_md=__doc__,
)
def train_flow() -> None:
    # The seeds are a parameter of the run; a task turns them into an XCom that can be mapped over.
    @task
    def overrides(seeds: Any) -> list[dict[str, Any]]:
        """Return the change to the copy of the flow, for each run."""
        return [{"settings": {"seed": seed}} for seed in seeds]

    runs = StartRunOperator.partial(
        task_id="train",
        flow_id="{{ params.flow_id }}",
        best_metric=["{{ params.metric }}", "max"],
        deferrable=True,
        max_queue_time=timedelta(hours=2),
        max_duration=timedelta(hours=12),
        retries=3,
        retry_delay=timedelta(minutes=1),
    ).expand(overrides=overrides("{{ params.seeds }}"))

    @task
    def name_the_best(results: Any, metric: str) -> dict[str, Any]:
        """Return the best checkpoint of all runs, or fail if no run reports the metric."""
        rated = [(result["best"]["metrics"][metric], result) for result in results if result["best"]]
        if not rated:
            raise AirflowFailException(f"No run reports the metric {metric}.")
        value, winner = max(rated, key=lambda pair: pair[0])
        return {"run_id": winner["run_id"], "run_output_id": winner["best"]["run_output_id"], metric: value}

    name_the_best(runs.output, "{{ params.metric }}")


train_flow()
