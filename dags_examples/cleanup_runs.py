"""Kill orphaned training runs, and delete ended ones that were not updated for 30 days, every night.

What to know before you enable it:

* With the parameter `dry_run` at its default, it kills and deletes nothing: the logs and XComs list what it *would* do.
* `kill_overdue` kills active runs whose lease has expired, one hour later at the earliest. Only runs that
  `StartRunOperator` has started with limits have a lease. A kill is permanent.
* `prune` deletes ended runs with their logs, metrics and checkpoints, and writes a record of each to `archive_to`
  first, like `s3://my_connection@my-bucket/vi`. The checkpoints themselves are not archived, and a deleted run cannot
  be restored: download the models that you need.
* Of each flow, the last three runs that succeeded and the run with the best `f1` are kept, and so are runs with the
  attribute `keep: "true"`. More runs than `max_delete`, or more than half of all, stop it before the first delete.

Trigger it with other parameters from the UI, or:
`airflow dags trigger cleanup_runs --conf '{"dry_run": false, "archive_to": "s3://my_connection@my-bucket/vi"}'`
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import Param, dag

from vi_airflow_provider.operators.runs import KillOverdueRunsOperator, PruneRunsOperator


@dag(
    schedule="30 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params={
        "older_than_days": Param(30, type="integer", minimum=1, description="Days since the last update."),
        "max_delete": Param(50, type="integer", minimum=0, description="More runs than this stop the task."),
        "archive_to": Param(
            None,
            type=["null", "string"],
            description="URL of a folder for the records of deleted runs; required if dry_run is off.",
        ),
        "dry_run": Param(True, type="boolean", description="Report only; kill and delete nothing."),
    },
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["vi", "example"],
    doc_md=__doc__,
)
def cleanup_runs() -> None:
    # The two tasks do not depend on each other: if one fails, the other one does its work, and the run fails.
    KillOverdueRunsOperator(
        task_id="kill_overdue",
        grace="PT1H",
        dry_run="{{ params.dry_run }}",
    )
    # A retry, or clearing the task, makes a new plan; what the first try deleted is in the archive of that try.
    PruneRunsOperator(
        task_id="prune",
        older_than="P{{ params.older_than_days }}D",
        keep_succeeded=3,
        keep_best=1,
        best_metric=("f1", "max"),
        protect_attributes={"keep": "true"},
        max_delete="{{ params.max_delete }}",  # type: ignore[arg-type]
        archive_to="{{ params.archive_to or '' }}",
        dry_run="{{ params.dry_run }}",
    )


cleanup_runs()
