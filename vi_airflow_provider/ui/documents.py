"""The responses of the API: flows, runs and checkpoints as JSON; pure functions.

Numbers that JavaScript would round or refuse become text (``embedded_json``). A document of thousands of flows is
encoded flow by flow: one call for all of them would hold the interpreter, and with it the event loop, for too long.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping
from typing import Any, Final

from vi_airflow_provider.api.models import Flow, Run, RunOutput
from vi_airflow_provider.api.settings import ViSettings
from vi_airflow_provider.audit.report import embedded_json
from vi_airflow_provider.training.identity import TASK
from vi_airflow_provider.training.overdue import lease_end
from vi_airflow_provider.training.summary import describe_output, summarize_listed

#: How fast a listing is compressed: level 5 is within a few percent of 9, in a third of the time.
_GZIP_LEVEL: Final = 5


def listing(name: str, items: Iterable[dict[str, Any]], facts: Mapping[str, Any]) -> bytes:
    """Return ``{…facts, name: [items]}`` as compressed JSON."""
    encoded = ",\n".join(embedded_json(item) for item in items)
    head = embedded_json(dict(facts)).removesuffix("}")
    separator = "," if facts else ""
    return gzip.compress(f'{head}{separator}"{name}":[{encoded}]}}'.encode("ascii"), _GZIP_LEVEL, mtime=0)


def document(value: dict[str, Any]) -> bytes:
    """Return one value as compressed JSON."""
    return gzip.compress(embedded_json(value).encode("ascii"), _GZIP_LEVEL, mtime=0)


def flow_row(flow: Flow, settings: ViSettings) -> dict[str, Any]:
    """Return what the table shows of a flow; its spec is read when its row is opened."""
    # Not `flow.spec.blocks`, which would keep the decoded blocks of every flow in memory.
    wire = flow.to_wire()
    spec, metadata = wire["spec"], wire["metadata"]
    return {
        "id": flow.flow_id,
        "name": spec["name"],
        "project": spec.get("trainingProject") or "",
        "blocks": len(spec["blocks"]),
        "generation": metadata["generation"],
        "created": metadata["timeCreated"],
        "updated": metadata["lastUpdated"],
        "attributes": metadata["attributes"],
        "url": settings.ui_url(flow.flow_id),
    }


def flow_document(flow: Flow, settings: ViSettings) -> bytes:
    """Return a flow with its spec, as compressed JSON."""
    row = flow_row(flow, settings)
    return document({**row, "spec": flow.spec.canonical(), "digest": flow.digest})


def run_row(run: Run, settings: ViSettings, now_ms: float) -> dict[str, Any]:
    """Return what the listing reports of a run, with its task, and whether its lease has expired."""
    attributes = run.metadata.attributes
    lease = lease_end(run)
    return {
        **summarize_listed(run, url=settings.run_url(run)),
        "task": attributes.get(TASK) or None,
        "deadline": lease,
        "overdue": lease is not None and lease <= now_ms and not run.state.is_ended,
    }


def output_row(output: RunOutput) -> dict[str, Any]:
    """Return a checkpoint with its metrics; what is not finite is ``null``."""
    return {**(describe_output(output) or {}), "created": output.metadata.time_created}
