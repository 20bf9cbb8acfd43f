"""Hold a training until its flow exists.

A flow is often prepared in Vi while the data is still being labelled. This DAG waits for the flow, reads from it what
to train, and passes that to the tasks that do the work.

The sensor frees its worker slot between two polls (`mode="reschedule"`), so hours of waiting cost next to nothing.

The gate opens when a flow with the name of the parameter `flow_name` exists. Create one in Vi or, on the emulator, with
a command; the log of `wait_for_flow` shows it with the address of your emulator:

    curl -X POST http://127.0.0.1:8321/_emulator/flows -d '{"name": "Weld seam defects - nightly"}'
"""

from __future__ import annotations

import json
import logging
import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import AirflowFailException, Param, dag, task

from vi_airflow_provider.sensors.flows import FlowExistsSensor


def log_next_step(context: Any) -> None:
    """Log what opens the gate."""
    # Imported here, not above: the DAG file is parsed every few seconds, this code runs once a poll.
    from vi_airflow_provider.hooks.vi import ViHook

    name, endpoint = context["params"]["flow_name"], ViHook().settings.endpoint
    command = f"curl -X POST {endpoint}/_emulator/flows -d {shlex.quote(json.dumps({'name': name}))}"
    logging.getLogger(__name__).info("Waiting for flow %r. To create it on an emulator: %s", name, command)


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
    # The XCom of the sensor is the flow itself, so no task has to read it again.
    gate = FlowExistsSensor(
        task_id="wait_for_flow",
        flow_name="{{ params.flow_name }}",
        mode="reschedule",
        poke_interval=timedelta(minutes=1),
        timeout=timedelta(hours=6),
        on_execute_callback=log_next_step,
    )

    @task
    def read_plan(flow: Any) -> dict[str, Any]:
        """Turn the flow into what the training needs, or fail if something is missing."""
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
        return list(values)

    plan = read_plan(gate.output)
    train.partial(plan=plan).expand(seed=seeds("{{ params.seeds }}"))


gate_training_on_flow()
