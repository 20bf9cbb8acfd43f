"""Export every flow spec of several organizations to object storage, every night, and report what has changed.

One file per day and organization, `<destination>/<connection id>/<date>.jsonl`: canonical JSON, one flow per line,
sorted by flow id, complete or absent. A manifest beside it proves this (`python -m vi_airflow_provider.audit verify`).
Each night is compared with the one before, and a report for people shows what has changed. With the parameter
`fail_on_drift`, a change fails the task, so that Airflow alerts its owner.

`destination` takes any absolute path or URL that Airflow's ObjectStoragePath takes. `s3://aws_default@bucket/audit`
needs the extra `s3`: `pip install 'vi-airflow-provider[s3]'`.
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

    # Dynamic task mapping over connections: one task per organization, shown under its connection id.
    ExportFlowsOperator.partial(
        task_id="write",
        # A folder per organization, so that "previous" finds only its exports.
        destination="{{ params.destination }}/{{ task.vi_conn_id }}/" + DAY + ".jsonl",
        compare_to="previous",
        fail_on_drift="{{ params.fail_on_drift }}",
        html_report=True,
        map_index_template="{{ task.vi_conn_id }}",
        retries=3,
    ).expand(vi_conn_id=connections())


audit_flow_specs()
