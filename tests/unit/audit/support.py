"""What the tests of exports are made of: flows, and exports of them without a server."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from airflow.providers.common.compat.sdk import ObjectStoragePath

from tests.documents import ORGANIZATION_ID, wire_flow
from tests.tasks import FLOWS as FLOWS_URL
from tests.tasks import TaskInstance, plain
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.audit import writer
from vi_airflow_provider.audit.manifest import ExportManifest
from vi_airflow_provider.audit.reader import read_export
from vi_airflow_provider.audit.spool import Spool
from vi_airflow_provider.audit.subject import FLOWS as SUBJECT
from vi_airflow_provider.audit.subject import Subject
from vi_airflow_provider.operators.flows import ExportFlowsOperator
from vi_airflow_provider.storage.manifest import sha256_and_size


def flow(flow_id: str = "a", **changes: Any) -> Flow:
    """Return a flow; changes as of ``wire_flow``."""
    return Flow.model_validate(wire_flow(flowId=flow_id, **changes))


#: Flows that try what a format may get wrong, not in the order of their ids.
FLOWS: Final = [
    flow("b", spec__name="größer\u2028\n"),
    flow("a", spec__settings={"seed": 1}),
    flow("B", spec__trainingProject=None, unknown={"kept": [1.5, None]}),
    flow("a-1", spec__blocks=[]),
]
ALL_FORMS: Final = ["flows.jsonl", "flows.jsonl.gz", "flows.csv", "flows.csv.gz", "flows.parquet"]

SIMPLE_FLOWS: Final = FLOWS_URL.removesuffix("flows") + "simpleFlows"
#: The flows that Vi has in the tests of the task.
ALL: Final = [
    wire_flow(flowId="c", spec__name="weld", metadata__timeCreated=10**12, metadata__lastUpdated=10**12),
    wire_flow(flowId="a", spec__name="paint"),
    wire_flow(flowId="b", spec__name="weld"),
]


def format_of(name: str) -> str:
    """Return the format that a file of this name has."""
    return name.split(".")[1]


def export(
    uri: str,
    flows: Iterable[Any],
    format_: str = "jsonl",
    *,
    subject: Subject[Any] = SUBJECT,
    report: bytes | None = None,
    bom: bool = True,
    **facts: Any,
) -> ExportManifest:
    """Write flows, or documents of another subject, to a file with a manifest, and return its manifest."""
    target = ObjectStoragePath(uri)
    with Spool(subject) as spool:
        for each in flows:
            spool.add(each)
        file = writer.write_file(spool, target, format_, compressed=uri.endswith(".gz"), bom=bom)
        sha256, size = sha256_and_size(file)
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


#: What an earlier export contains: compared with :data:`ALL`, one flow is added, one removed and one changed.
YESTERDAY: Final = [flow("a", spec__name="paint"), flow("b", spec__name="brush"), flow("gone")]


@contextmanager
def attached_memory() -> Iterator[None]:
    """Make ``memory://`` usable, and empty it afterwards."""
    try:
        attach = importlib.import_module("airflow.sdk.io").attach
    except ImportError:  # Airflow 2
        attach = importlib.import_module("airflow.io.store").attach
    filesystem = importlib.import_module("fsspec.implementations.memory").MemoryFileSystem
    attach("memory", fs=filesystem())
    try:
        yield
    finally:
        filesystem.store.clear()
        filesystem.pseudo_dirs[:] = [""]


def run(destination: Path | str, context: dict[str, Any] | None = None, **arguments: Any) -> Any:
    """Execute the task, and check that its result can be an XCom."""
    task = ExportFlowsOperator(task_id="export", destination=str(destination), **arguments)
    given: Any = {"ti": TaskInstance()} if context is None else context
    return plain(task.execute(given))


def ids(uri: str) -> list[str]:
    """Return the ids of the flows of a ``jsonl`` export, in its order."""
    return [each.flow_id for each in read_export(uri)]
