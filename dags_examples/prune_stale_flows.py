"""Delete the flows that were not updated for 90 days, every night, in one task.

What to know before you enable it:

* With the parameter `dry_run` at its default, it deletes nothing: its log and its XCom list what it *would* delete,
  what it spares and by which rule, and what a guard would refuse.
* Set `archive_to` to a folder that outlives the worker, like `s3://my_connection@my-bucket/vi`. Every flow is written
  there, and read back, before the first delete. `RestoreFlowsOperator` restores it.
* Flows with the attribute `keep: "true"` are never deleted, nor is the most recent flow of a training project. More
  flows than `max_delete`, or more than half of all, stop the run before the first delete.
* A flow that is edited meanwhile is spared, and so is one that a training run uses.

Trigger it with other parameters from the UI, or:
`airflow dags trigger prune_stale_flows --conf '{"dry_run": false, "archive_to": "s3://my_connection@my-bucket/vi"}'`
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import Param, dag

from vi_airflow_provider.operators.flows import PruneFlowsOperator


@dag(
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params={
        "older_than_days": Param(90, type="integer", minimum=1, description="Days since the last update."),
        "max_delete": Param(50, type="integer", minimum=0, description="More flows than this stop the run."),
        "archive_to": Param(
            None,
            type=["null", "string"],
            description="URL of a folder for what is deleted; required if dry_run is off.",
        ),
        "dry_run": Param(True, type="boolean", description="Report only, and delete nothing."),
    },
    tags=["vi", "example"],
    doc_md=__doc__,
)
def prune_stale_flows() -> None:
    # A retry, or clearing the task, makes a new plan; what the first try deleted is in the archive of that try.
    PruneFlowsOperator(
        task_id="prune",
        older_than="P{{ params.older_than_days }}D",
        keep_last=1,
        protect_attributes={"keep": "true"},
        max_delete="{{ params.max_delete }}",  # type: ignore[arg-type]
        archive_to="{{ params.archive_to or '' }}",
        dry_run="{{ params.dry_run }}",
        retries=2,
        retry_delay=timedelta(minutes=5),
    )


prune_stale_flows()
