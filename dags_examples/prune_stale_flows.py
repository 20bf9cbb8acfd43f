"""Delete the flows that nobody has touched for 90 days, every night, in one task.

What to know before you switch it on:

* It begins harmless: with the parameter `dry_run` at its default, it only says what it *would* delete, in its log and
  in its XCom.
* Set `archive_to` to a folder that outlives the worker, like `s3://my_connection@my-bucket/vi`. Every flow is written
  there, and read back, before the first delete. `RestoreFlowsOperator` brings it back.
* Flows with the attribute `keep: "true"` are never deleted, nor is the youngest flow of a training project. More
  flows than `max_delete`, or more than half of all, stop the run before the first delete.
* A flow that somebody changes meanwhile is spared, and so is one that a training run is using.

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
        "max_delete": Param(50, type="integer", minimum=0, description="More than this stops the run."),
        "archive_to": Param("", type="string", description="URL of a folder for what is deleted."),
        "dry_run": Param(True, type="boolean", description="Look, and delete nothing."),
    },
    tags=["vi", "example"],
    doc_md=__doc__,
)
def prune_stale_flows() -> None:
    # A retry, or clearing the task, plans anew: what the first try has deleted is in its archive, and gone.
    PruneFlowsOperator(
        task_id="prune",
        older_than="P{{ params.older_than_days }}D",
        keep_last=1,
        protect_attributes={"keep": "true"},
        max_delete="{{ params.max_delete }}",  # type: ignore[arg-type]
        archive_to="{{ params.archive_to }}",
        dry_run="{{ params.dry_run }}",
        retries=2,
        retry_delay=timedelta(minutes=5),
    )


prune_stale_flows()
