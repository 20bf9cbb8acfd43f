"""Write every flow spec of several organizations to object storage, every night, and say what has changed.

One file a day and organization, `<destination>/<connection id>/<date>.jsonl`: canonical JSON, one flow a line,
sorted by flow id, complete or not there at all. A manifest beside it proves that (`python -m
vi_airflow_provider.audit verify`). Each night is compared with the one before, and a report says what has changed, as
a page for people; with the parameter `fail_on_drift`, a change fails the task, so that somebody is told.

`destination` takes any URL that Airflow's ObjectStoragePath takes (`s3://aws_default@bucket/audit`, …).
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import Param, dag, task

from vi_airflow_provider.operators.flows import ExportFlowsOperator

# One connection of type "vi" for each organization to audit.
CONNECTIONS = ["vi_default"]

# The day of the data: a run that was triggered by hand may have no logical date.
DAY = "{{ (logical_date | default(dag_run.run_after)).strftime('%Y-%m-%d') }}"


@dag(
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        "destination": Param("file:///tmp/vi-flow-audit", type="string", description="Folder for the files."),
        "fail_on_drift": Param(False, type="boolean", description="Fail if any flow differs from the night before."),
    },
    tags=["vi", "example"],
    doc_md=__doc__,
)
def audit_flow_specs() -> None:
    @task
    def connections() -> list[str]:
        """Return what to audit; read it from a Variable or a file if it changes often."""
        return CONNECTIONS

    # Dynamic task mapping over connections: one task an organization, shown under its connection id.
    ExportFlowsOperator.partial(
        task_id="write",
        # A folder for each organization, so that "previous" finds its exports and no others.
        destination="{{ params.destination }}/{{ task.vi_conn_id }}/" + DAY + ".jsonl",
        compare_to="previous",
        fail_on_drift="{{ params.fail_on_drift }}",
        html_report=True,
        map_index_template="{{ task.vi_conn_id }}",
        retries=3,
    ).expand(vi_conn_id=connections())


audit_flow_specs()
