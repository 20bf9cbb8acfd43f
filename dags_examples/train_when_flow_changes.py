"""Start a training when the spec of a flow changes, without a schedule and without a waiting task (Airflow 3).

The triggerer watches the flows of a training project. When their specs change, it records an event on an asset, and
the event starts this DAG. Layout changes on the canvas do not count, and flows that exist at the beginning cause no
event. After a crash of the triggerer, an event may come twice; training the same generation twice does no harm here.

To see it on the emulator, unpause the DAG, wait a minute, and let a colleague edit some flows:

    curl -X POST http://127.0.0.1:8321/_emulator/changes -d '{"edit": 20}'

On Airflow 2.11, which has no asset watchers, this file defines no DAG.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import Asset, dag, task

from vi_airflow_provider.triggers.events import FlowEventTrigger

try:
    from airflow.sdk import AssetWatcher
except ImportError:
    AssetWatcher = None  # type: ignore[assignment, misc]

if AssetWatcher is not None:
    changed_flows = Asset(
        name="changed_weld_inspection_flows",
        watchers=[
            AssetWatcher(
                name="weld_inspection",
                trigger=FlowEventTrigger(
                    training_project="weld-inspection",
                    events=["created", "updated"],
                    spec_changes_only=True,
                    poke_interval=60,
                ),
            )
        ],
    )

    @dag(
        schedule=[changed_flows],
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        tags=["vi", "example"],
        doc_md=__doc__,
    )
    def train_when_flow_changes() -> None:
        @task
        def changes(triggering_asset_events: Any = None) -> list[dict[str, Any]]:
            """Collect the changes; a run may handle several events."""
            found: dict[str, dict[str, Any]] = {}
            for events in (triggering_asset_events or {}).values():
                for event in events:
                    # An event that was created manually in the UI has no payload.
                    for change in (event.extra.get("payload") or {}).get("changes", []):
                        found[change["flow_id"]] = change
            return list(found.values())

        @task(map_index_template="{{ name }}")
        def train(change: dict[str, Any]) -> str:
            """Stands for your training: a container, a cluster job, a run in Vi."""
            from airflow.providers.common.compat.sdk import get_current_context

            get_current_context()["name"] = change["name"]  # type: ignore[typeddict-unknown-key]
            return f"flow {change['flow_id']} at generation {change['generation']} ({change['digest'][:12]})"

        train.expand(change=changes())

    train_when_flow_changes()
