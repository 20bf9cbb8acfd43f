"""Audit the flows every night as one partition of an asset (Airflow 3.2 and later).

Each run of `audit_partitions` has a partition key, its date, and writes the file of this date. The outlet is an asset
with the folder as its URI, so `read_audit`, which is scheduled on this asset, runs once per partition and knows which
one.

Before Airflow 3.2, which knows no partitions, this file defines no DAG.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import Asset, Param, dag, task

from vi_airflow_provider.operators.flows import ExportFlowsOperator

try:
    from airflow.sdk import CronPartitionTimetable, PartitionedAssetTimetable
except ImportError:
    CronPartitionTimetable = None  # type: ignore[assignment, misc]

# The key of the partition. A run that was triggered by hand may have neither a key nor a logical date.
KEY = "{{ dag_run.partition_key or (logical_date | default(dag_run.run_after)).strftime('%Y-%m-%d') }}"

FOLDER = "/tmp/vi_audit_partitions"  # noqa: S108 - change it to your storage

if CronPartitionTimetable is not None:
    AUDIT = Asset(name="vi_flow_audit", uri=f"file://{FOLDER}")

    @dag(
        schedule=CronPartitionTimetable("0 2 * * *", timezone="UTC", key_format="%Y-%m-%d"),
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        params={"destination": Param(FOLDER, type="string", minLength=1)},
        tags=["vi", "example"],
        doc_md=__doc__,
    )
    def audit_partitions() -> None:
        ExportFlowsOperator(
            task_id="export",
            destination="{{ params.destination }}/" + KEY + ".jsonl",
            compare_to="previous",
            outlets=[AUDIT],
            retries=3,
        )

    @dag(
        schedule=PartitionedAssetTimetable(assets=AUDIT),
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        tags=["vi", "example"],
        doc_md=__doc__,
    )
    def read_audit() -> None:
        @task
        def count(dag_run: Any = None, triggering_asset_events: Any = None) -> str:
            """Stands for your use of the audit: the event names file, count and checksum."""
            events = [event.extra for events in (triggering_asset_events or {}).values() for event in events]
            return f"{dag_run.partition_key}: {events}"

        count()

    audit_partitions()
    read_audit()
