"""Write every flow spec of several organizations to object storage, every night.

One file a day and organization, `<destination>/<connection id>/<date>.jsonl`: canonical JSON, one flow a line,
sorted by flow id. The same flows give the same bytes, so two days can be compared with `diff`.

`destination` takes any URL that Airflow's ObjectStoragePath takes (`s3://aws_default@bucket/audit`, …).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import Param, dag, task

from vi_airflow_provider.operators.flows import ListFlowsOperator

# One connection of type "vi" for each organization to audit.
CONNECTIONS = ["vi_default"]


@dag(
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={"destination": Param("file:///tmp/vi-flow-audit", type="string", description="Folder for the files.")},
    tags=["vi", "example"],
    doc_md=__doc__,
)
def audit_flow_specs() -> None:
    @task
    def connections() -> list[str]:
        """Return what to audit; read it from a Variable or a file if it changes often."""
        return CONNECTIONS

    # Dynamic task mapping over connections: one task an organization, shown under its connection id.
    # Whole flows pass to the next task by XCom here; with thousands of flows, use an object storage XCom backend.
    organizations = connections()
    listed = ListFlowsOperator.partial(
        task_id="list_flows",
        map_index_template="{{ task.vi_conn_id }}",
        retries=3,
    ).expand(vi_conn_id=organizations)

    @task(map_index_template="{{ task.op_kwargs['vi_conn_id'] }}")
    def write(flows: list[dict[str, Any]], vi_conn_id: str, destination: str, day: str) -> dict[str, Any]:
        """Write one file, whole or not at all, and return where it is and what is in it."""
        import hashlib

        from airflow.providers.common.compat.sdk import ObjectStoragePath

        from vi_airflow_provider.api.models import Flow, canonical_json

        documents = sorted((Flow.model_validate(flow) for flow in flows), key=lambda flow: flow.flow_id)
        content = b"".join(canonical_json(flow.to_wire()) + b"\n" for flow in documents)

        path = ObjectStoragePath(destination) / vi_conn_id / f"{day}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        # A reader sees the file of the run before, or this one: never half of it.
        with path.fs.transaction, path.fs.open(path.path, "wb") as file:
            file.write(content)
        return {"uri": str(path), "count": len(documents), "sha256": hashlib.sha256(content).hexdigest()}

    # The day of the data: a run that was triggered by hand may have no logical date.
    day = "{{ (logical_date | default(dag_run.run_after)).strftime('%Y-%m-%d') }}"
    pairs = listed.output.zip(organizations).map(lambda pair: {"flows": pair[0], "vi_conn_id": pair[1]})
    write.partial(destination="{{ params.destination }}", day=day).expand_kwargs(pairs)


audit_flow_specs()
