"""The documents in the page, as JSON: what ``flows.js`` and ``runs.js`` read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vi_airflow_provider.api.run_state import FLOW_ID_ATTRIBUTE

if TYPE_CHECKING:
    from collections.abc import Callable

    from vi_airflow_provider.api.models import Flow, Run
    from vi_airflow_provider.audit.run_record import Checkpoint, RunRecord


def _common(document: Flow | Run) -> dict[str, Any]:
    metadata = document.metadata
    return {
        "created": metadata.time_created,
        "updated": metadata.last_updated,
        "generation": metadata.generation,
        "attributes": metadata.attributes,
    }


def _flow(flow: Flow) -> dict[str, Any]:
    return {"id": flow.flow_id, **_common(flow), "spec": flow.spec.canonical()}


def _run(run: RunRecord) -> dict[str, Any]:
    return {
        "id": run.run_id,
        **_common(run),
        "state": run.state.value,
        "reason": run.reason,
        "started": run.started_at,
        "ended": run.ended_at,
        "project": run.spec.training_project,
        "flow": run.metadata.attributes.get(FLOW_ID_ATTRIBUTE),
        "digest": run.flow_digest,
        "outputs": None if run.outputs is None else [_output(output) for output in run.outputs],
        "spec": run.spec.flow.canonical(),
    }


def _output(output: Checkpoint) -> dict[str, Any]:
    return {
        "id": output.run_output_id,
        "kind": output.kind,
        "epoch": output.epoch,
        "metrics": output.evaluation_metrics,
        "nonFinite": output.non_finite,
        "created": output.time_created,
    }


#: What the page has of a document, by what an export is of.
ENTRIES: Final[dict[str, Callable[[Any], dict[str, Any]]]] = {"flow": _flow, "run": _run}
