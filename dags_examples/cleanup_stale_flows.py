"""Delete the flows that were not updated for 90 days, every night, one task per flow, spread over your workers.

What to know before you enable it:

* With the parameter `dry_run` at its default, it deletes nothing: every task logs what it *would* delete.
* Flows with the attribute `keep: "true"` are never selected, and more than `max_delete` of them stop the run.
* A flow that was edited since it was selected is left alone: its task is skipped.
* With the parameter `archive_to`, each flow is written to that folder, and read back, before it is deleted.
* The server refuses to delete a flow that a training run uses; its task fails, the others continue.

One worker is enough for most: see `prune_stale_flows.py`, which has one archive and one report for all.

Trigger it with other parameters from the UI, or:
`airflow dags trigger cleanup_stale_flows --conf '{"dry_run": false, "archive_to": "s3://my_connection@my-bucket/vi"}'`
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import AirflowFailException, Param, dag, task

from vi_airflow_provider.operators.flows import DeleteFlowOperator, ListFlowsOperator


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
            description="URL of a folder for what is deleted.",
        ),
        "dry_run": Param(True, type="boolean", description="Report only, and delete nothing."),
    },
    tags=["vi", "example"],
    doc_md=__doc__,
)
def cleanup_stale_flows() -> None:
    # Summaries, not whole flows: a name and a date are all that the next task needs, and XComs stay small.
    # The age is a template, so a run can be triggered with another one.
    stale = ListFlowsOperator(
        task_id="list_stale_flows",
        older_than="P{{ params.older_than_days }}D",
        result="summaries",
    )

    @task
    def select(flows: list[dict[str, Any]], max_delete: str, archive_to: str) -> list[dict[str, Any]]:
        """Spare marked flows, and stop before the first delete if more flows are selected than expected."""
        selected = [flow for flow in flows if flow["attributes"].get("keep") != "true"]
        for flow in selected:
            last_updated = datetime.fromtimestamp(flow["last_updated"] / 1000, UTC)
            print(f"{flow['flow_id']}  {last_updated:%Y-%m-%d}  {flow['name']}")
        if len(selected) > int(max_delete):
            raise AirflowFailException(f"{len(selected)} flows are stale, more than max_delete ({max_delete}).")
        return [{**flow, "archive_to": archive_to or None} for flow in selected]

    # One task per flow: each has its own log, its own retries and its own place in the grid, where it is shown
    # under the name of its flow. The etag identifies the version that was selected.
    selected = select(stale.output, "{{ params.max_delete }}", "{{ params.archive_to or '' }}")
    deleted = DeleteFlowOperator.partial(
        task_id="delete_flow",
        if_changed="skip",
        dry_run="{{ params.dry_run }}",
        map_index_template="{{ ti.xcom_pull(task_ids='select')[ti.map_index]['name'] }}",
        max_active_tis_per_dagrun=4,
        retries=2,
    ).expand_kwargs(
        selected.map(
            lambda flow: {
                "flow_id": flow["flow_id"],
                "expected_etag": flow["etag"],
                "archive_to": flow["archive_to"],
            }
        )
    )

    # Runs also when a delete failed, to report the others.
    @task(trigger_rule="all_done")
    def report(outcomes: Any) -> dict[str, int]:
        """Count the outcomes."""
        counts = Counter(outcome["outcome"] for outcome in outcomes or ())
        print(dict(counts) or "Nothing was deleted.")
        return dict(counts)

    # The last tasks decide the state of the run: without this one, it would succeed although a delete failed.
    @task(trigger_rule="none_failed")
    def all_handled() -> None:
        """Succeed if every selected flow was deleted, already absent, or spared because it was edited."""

    report(deleted.output)
    deleted >> all_handled()


cleanup_stale_flows()
