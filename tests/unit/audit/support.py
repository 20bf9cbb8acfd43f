"""What the tests of exports are made of: flows, and exports of them without a server."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import ObjectStoragePath

from tests.documents import ORGANIZATION_ID, wire_flow
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.audit import writer
from vi_airflow_provider.audit.spool import FlowSpool
from vi_airflow_provider.audit.writer import ExportManifest


def flow(flow_id: str = "a", **changes: Any) -> Flow:
    """Return a flow; changes as of ``wire_flow``."""
    return Flow.model_validate(wire_flow(flowId=flow_id, **changes))


def export(
    uri: str, flows: Iterable[Flow], format_: str = "jsonl", *, report: bytes | None = None, **facts: Any
) -> ExportManifest:
    """Write flows to a file with a manifest, and return what the manifest says."""
    target = ObjectStoragePath(uri)
    with FlowSpool() as spool:
        for each in flows:
            spool.add(each)
        file = writer.write_file(spool, format_, compressed=uri.endswith(".gz"))
        sha256, size = writer.measured(file)
        given = {
            "file": target.name,
            "format": format_,
            "count": len(spool),
            "sha256": sha256,
            "size": size,
            "created_at": "2026-07-01T00:00:00+00:00",
            "organization_id": ORGANIZATION_ID,
            "filters": {},
            "provider_version": "0",
        }
        manifest = ExportManifest(**{**given, **facts})
        writer.publish(spool, target, file, manifest, BytesIO(report) if report else None)
    return manifest


def files(folder: Path) -> set[str]:
    """Return the names in a folder, hidden ones too."""
    return {path.name for path in folder.iterdir()}


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder with their contents."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
