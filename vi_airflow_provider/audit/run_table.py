"""Runs as a table: which columns csv and parquet have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vi_airflow_provider.api.run_state import FLOW_ID_ATTRIBUTE
from vi_airflow_provider.audit.tabular import Table, json_text

if TYPE_CHECKING:
    from vi_airflow_provider.audit.run_record import RunRecord

_COLUMNS: Final = {
    **dict.fromkeys(("run_id", "state", "flow_id", "flow_name", "flow_digest", "training_project"), "string"),
    **dict.fromkeys(("time_created", "last_updated", "started_at", "ended_at", "killed_at"), "timestamp"),
    **{"reason": "string", "generation": "integer", "attributes": "json"},
    **{"output_count": "integer", "latest_output": "string", "latest_epoch": "integer", "latest_metrics": "json"},
    **dict.fromkeys(("etag", "self_link", "organization_id"), "string"),
    **dict.fromkeys(("outputs", "spec"), "json"),
}
_LEGIBLE_TIMES: Final = {
    "created_at": "time_created",
    "updated_at": "last_updated",
    "started_at_iso": "started_at",
    "ended_at_iso": "ended_at",
}


def _row(run: RunRecord) -> dict[str, Any]:
    metadata, outputs = run.metadata, run.outputs
    latest = outputs[-1] if outputs else None
    return {
        "run_id": run.run_id,
        "state": run.state.value,
        "flow_id": metadata.attributes.get(FLOW_ID_ATTRIBUTE),
        "flow_name": run.spec.flow.name,
        "flow_digest": run.flow_digest,
        "training_project": run.spec.training_project,
        "time_created": metadata.time_created,
        "last_updated": metadata.last_updated,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "killed_at": run.spec.killed_at,
        "reason": run.reason,
        "generation": metadata.generation,
        "attributes": json_text(metadata.attributes),
        "output_count": None if outputs is None else len(outputs),
        "latest_output": latest and latest.run_output_id,
        "latest_epoch": latest and latest.epoch,
        "latest_metrics": None if latest is None else json_text(latest.evaluation_metrics),
        "etag": run.etag,
        "self_link": run.self_link,
        "organization_id": run.organization_id,
        "outputs": None if outputs is None else json_text([output.to_wire() for output in outputs]),
        "spec": json_text(run.spec.to_wire()),
    }


RUN_TABLE: Final[Table[RunRecord]] = Table("run", _COLUMNS, _LEGIBLE_TIMES, _row)
