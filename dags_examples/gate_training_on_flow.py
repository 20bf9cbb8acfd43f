"""Hold a training until its flow is there.

Somebody prepares a flow in Vi while the data is still being labelled. This DAG waits for the flow, reads from it
what will be trained, and hands that over to the tasks that do the work.

The sensor frees its worker slot between two looks (`mode="reschedule"`): hours of waiting cost next to nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import AirflowFailException, Param, dag, task

from vi_airflow_provider.sensors.flows import FlowExistsSensor


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        "flow_name": Param("Weld seam defects - nightly", type="string", minLength=1),
        "seeds": Param([7, 11, 13], type="array", items={"type": "integer"}),
    },
    render_template_as_native_obj=True,
    tags=["vi", "example"],
    doc_md=__doc__,
)
def gate_training_on_flow() -> None:
    # The XCom of the sensor is the flow itself, so nobody has to read it again.
    gate = FlowExistsSensor(
        task_id="wait_for_flow",
        flow_name="{{ params.flow_name }}",
        mode="reschedule",
        poke_interval=timedelta(minutes=1),
        timeout=timedelta(hours=6),
    )

    @task
    def read_plan(flow: Any) -> dict[str, Any]:
        """Turn the flow into what the training needs, or say what is missing in it."""
        # Imported here, not above: the DAG file is read every few seconds, this code runs once.
        from vi_airflow_provider.api.models import Flow

        parsed = Flow.model_validate(flow)
        parsed.info()
        blocks = {block.block: block.settings for block in parsed.spec.blocks}
        model = next((settings for name, settings in blocks.items() if "model" in name), None)
        if model is None:
            raise AirflowFailException(f"Flow {parsed.flow_id} has no model block: nothing to train.")
        return {"flow_id": parsed.flow_id, "digest": parsed.digest, "model": model}

    # Dynamic task mapping: one training a seed, as many as the run asks for.
    @task(map_index_template="seed {{ seed }}")
    def train(plan: dict[str, Any], seed: int) -> str:
        """Stands for your training: a container, a cluster job, a run in Vi."""
        from airflow.providers.common.compat.sdk import get_current_context

        get_current_context()["seed"] = seed  # type: ignore[typeddict-unknown-key]
        return f"flow {plan['flow_id']} ({plan['digest'][:12]}) with seed {seed}"

    # The seeds are a parameter of the run; a task turns them into an XCom that can be mapped over.
    @task
    def seeds(values: Any) -> list[int]:
        """Return the seeds of this run."""
        return values

    plan = read_plan(gate.output)
    train.partial(plan=plan).expand(seed=seeds("{{ params.seeds }}"))


gate_training_on_flow()
