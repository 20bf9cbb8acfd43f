"""Hostile names and files remain data in logs, paths, spreadsheets and errors."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator, ObjectStoragePath, TaskDeferred
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.documents import wire_bytes, wire_flow
from tests.tasks import TaskInstance
from vi_airflow_provider.audit import newest, reader, verification
from vi_airflow_provider.audit.manifest import ExportError, files_of, read_manifest
from vi_airflow_provider.cleanup.archive import (
    ArchiveError,
    prefix_of,
    read_archive,
    read_run_archive,
    unique_name,
    write_archive,
)
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.operators.flows import (
    CreateFlowOperator,
    DeleteFlowOperator,
    ExportFlowsOperator,
    GetFlowOperator,
    ListFlowsOperator,
    PruneFlowsOperator,
    RestoreFlowsOperator,
    UpdateFlowOperator,
)
from vi_airflow_provider.operators.runs import (
    ExportModelOperator,
    ExportRunLogsOperator,
    ExportRunsOperator,
    GetRunOutputsOperator,
    KillOverdueRunsOperator,
    PruneRunsOperator,
)
from vi_airflow_provider.sensors.flows import FlowExistsSensor, FlowSpecSensor
from vi_airflow_provider.storage.url_secrets import url_secrets

# --- logs ----------------------------------------------------------------------------------------------------------

#: A second line, an escape sequence that hides it, and a control character that reverses the reading direction.
NAME: Final = "good\n[2026-01-01] INFO - all flows deleted\r\x1b[2K\x9b1A\u2028\u202egnp.\u2066 <script>{{ 7 * 7 }}"
SPEC: Final = {"name": NAME, "schema": NAME, "blocks": [{"block": NAME}], "trainingProject": NAME}


@pytest.fixture
def vi(vi_emulator: Emulator) -> Emulator:
    vi_emulator.reset(flows=0)
    spec = {"tolerations": {}, "settings": {}, **SPEC, "blocks": []}
    vi_emulator.store.put_flow("f", {"spec": spec, "metadata": {"attributes": {NAME: NAME}}})
    stamps = {NAME: NAME, "vi_airflow.task": NAME, "vi_airflow.deadline": "1700000000000"}
    for run_id, seconds in (("ended", 0), ("active", 3600)):
        vi_emulator.plans.add(run=run_id, run_seconds=seconds, queue_seconds=0)
        flow = {**spec, "name": f"{NAME} of a run"}
        vi_emulator.store.put_run(run_id, {"spec": {"flow": flow}, "metadata": {"attributes": stamps}})
    vi_emulator.configure(run_seconds=1)
    vi_emulator.store.put_run(
        "r", {"spec": {"flow": {**spec, "blocks": [{"block": NAME, "settings": {}, "style": {}}]}}}
    )
    vi_emulator.advance(1)
    return vi_emulator


TASKS: Final[dict[str, Callable[[str], Any]]] = {
    "list": lambda _: ListFlowsOperator(task_id="t"),
    "get": lambda _: GetFlowOperator(task_id="t", flow_id="f"),
    "create": lambda _: CreateFlowOperator(task_id="t", flow_id="new", spec=SPEC),
    "update": lambda _: UpdateFlowOperator(task_id="t", flow_id="f", attributes={"a": NAME}),
    "delete": lambda files: DeleteFlowOperator(task_id="t", flow_id="f", archive_to=files),
    "prune": lambda files: PruneFlowsOperator(
        task_id="t", older_than="PT0S", dry_run=False, archive_to=files, max_delete_fraction=1
    ),
    "prune runs": lambda files: PruneRunsOperator(
        task_id="t",
        older_than="PT0S",
        dry_run=False,
        archive_to=files,
        max_delete_fraction=1,
        keep_best=1,
        best_metric=(NAME, "max"),
        protect_names=[NAME],
    ),
    "kill overdue": lambda _: KillOverdueRunsOperator(task_id="t", dry_run=False),
    "bad state": lambda _: PruneRunsOperator(task_id="t", older_than="PT0S", states=NAME),
    "export": lambda files: ExportFlowsOperator(task_id="t", destination=f"{files}/flows.csv", format="csv"),
    "compare": lambda files: ExportFlowsOperator(
        task_id="t", destination=f"{files}/new.jsonl", compare_to=f"{files}/old.jsonl", html_report=True
    ),
    "export runs": lambda files: ExportRunsOperator(
        task_id="t", destination=f"{files}/runs.jsonl", compare_to="previous", html_report=True
    ),
    "restore": lambda files: RestoreFlowsOperator(
        task_id="t", archive=f"{files}/made.flows.jsonl", if_exists="replace"
    ),
    "exists": lambda _: FlowExistsSensor(task_id="t", flow_name=NAME, training_project=NAME),
    "matches": lambda _: FlowSpecSensor(task_id="t", flow_id="f", attributes={NAME: NAME}),
    "does not match": lambda _: FlowSpecSensor(
        task_id="t", flow_id="f", attributes={NAME: "x"}, required_blocks=[NAME], timeout=0
    ),
    "missing": lambda _: FlowExistsSensor(task_id="t", flow_name=NAME + "x", timeout=0),
    "bad id": lambda _: GetFlowOperator(task_id="t", flow_id=NAME),
    "bad choice": lambda _: DeleteFlowOperator(task_id="t", flow_id="f", if_missing=NAME),  # type: ignore[arg-type]
    "bad folder": lambda _: DeleteFlowOperator(task_id="t", flow_id="f", archive_to=NAME),
    "bad file": lambda _: ExportFlowsOperator(task_id="t", destination=NAME),
    "outputs": lambda files: GetRunOutputsOperator(task_id="t", run_id="r", destination=f"{files}/outputs.jsonl"),
    "log": lambda files: ExportRunLogsOperator(task_id="t", run_id="r", destination=f"{files}/run.log"),
    "model": lambda files: ExportModelOperator(task_id="t", run_id="r", destination=f"{files}/model"),
    "no such metric": lambda files: ExportModelOperator(
        task_id="t", run_id="r", best_metric=(NAME, "max"), destination=f"{files}/model"
    ),
    "no such checkpoint": lambda files: ExportModelOperator(
        task_id="t", run_id="r", select=NAME, destination=f"{files}/model"
    ),
    "bad model": lambda _: ExportModelOperator(task_id="t", run_id="r", destination=NAME),
    "deferred": lambda _: FlowExistsSensor(task_id="t", flow_name=NAME + "x", deferrable=True),
}


@pytest.mark.parametrize("task", TASKS)
def test_hostile_name_cannot_forge_a_log_line(
    task: str, vi: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    # On Airflow 3, the logger of a task does not propagate to pytest.
    monkeypatch.setattr(BaseOperator, "log", logging.getLogger("vi_task"))
    if task == "compare":
        ExportFlowsOperator(task_id="t", destination=f"{tmp_path}/old.jsonl").execute({})
        vi.store.put_flow("f", {"spec": {**vi.store.get_flow("f")["spec"], "settings": {NAME: NAME}}})
    if task == "export runs":
        attributes = {"metadata": {"attributes": {NAME: NAME}}}
        vi.store.put_run("r", {"spec": {"flow": vi.store.get_flow("f")["spec"]}, **attributes})
        ExportRunsOperator(task_id="t", destination=f"{tmp_path}/old.jsonl").execute({})
        vi.store.patch_run("r", {"metadata": {"attributes": {NAME: f"{NAME}2"}}})
    if task == "restore":
        document = wire_bytes({**vi.store.get_flow("f"), "etag": "old"})
        write_archive(str(tmp_path), "made", {"f": document}, vi.organization_id, {})
        vi.store.delete_flow("f")
    shown = []
    try:
        TASKS[task](str(tmp_path)).execute({"ti": TaskInstance()})
    except TaskDeferred:
        pass
    except Exception as error:
        shown.append(str(error))
    shown += [record.getMessage() for record in caplog.records if record.name.startswith("vi_")]
    assert shown
    for line in "\n".join(shown).split("\n"):
        assert line.isprintable(), repr(line)
        assert not line.startswith("[2026-01-01]")


def test_message_of_a_server_is_one_line(vi: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    headers = {"x-trace": "a"}
    vi.faults.add(status=400, body=json.dumps({"message": NAME}), headers=headers)
    with pytest.raises(AirflowFailException) as caught:
        GetFlowOperator(task_id="t", flow_id="f").execute({})
    assert str(caught.value).isprintable()
    assert "all flows deleted" in str(caught.value)


# --- paths ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "/etc/passwd", "a/b", "a\\b", "a\x00b", "ü" * 300, NAME])
def test_name_of_an_archive_is_one_path_component(name: str) -> None:
    made = unique_name(prefix_of(name, name, name))
    assert Path(made).name == made
    assert ".." not in Path(made).parts
    assert len(made.encode()) < 200
    assert made.isascii()


@pytest.mark.parametrize("flow_id", ["../x", "..", "a/b", "a?b", "a\nb", "%2e%2e", ""])
def test_archived_flow_with_an_invalid_id_is_not_restored(flow_id: str, vi: Emulator, tmp_path: Path) -> None:
    write_archive(str(tmp_path), "made", {"x": wire_bytes(wire_flow(flowId=flow_id))}, vi.organization_id, {})
    vi.clear_requests()
    with pytest.raises(AirflowFailException, match="is not a valid flow id"):
        RestoreFlowsOperator(task_id="t", archive=f"{tmp_path}/made.flows.jsonl").execute({})
    assert vi.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/a?X-Amz-Signature=0123456789abcdef",
        "https://x.example/a?sv=1&sig=0123456789abcdef",
        "https://x.example/a?X-Goog-Signature=0123456789abcdef",
        "sftp://me:0123456789abcdef@x.example/a",
    ],
)
def test_url_with_a_secret_is_rejected_for_every_file_argument(url: str, vi: Emulator, tmp_path: Path) -> None:
    for task in (
        ExportFlowsOperator(task_id="t", destination=url),
        ExportFlowsOperator(task_id="t", destination=f"{tmp_path}/a", compare_to=url),
        DeleteFlowOperator(task_id="t", flow_id="f", archive_to=url),
        PruneFlowsOperator(task_id="t", older_than="PT0S", dry_run=False, archive_to=url, max_delete_fraction=1),
        RestoreFlowsOperator(task_id="t", archive=url),
        GetRunOutputsOperator(task_id="t", run_id="r", destination=url),
        ExportRunLogsOperator(task_id="t", run_id="r", destination=url),
        ExportModelOperator(task_id="t", run_id="r", destination=url),
    ):
        with pytest.raises(AirflowFailException, match="the URL carries a password or a signature") as caught:
            task.execute({"ti": TaskInstance()})  # type: ignore[typeddict-item]
        assert "0123456789abcdef" not in str(caught.value)
    assert vi.store.flow_ids() == ["f"]


def test_connection_id_in_a_url_is_not_a_secret(tmp_path: Path) -> None:
    for url in ("s3://my_conn@bucket/key", "file:///a:b@c", "/a/b?c=d", "s3://bucket/key?versionId=5", str(tmp_path)):
        assert url_secrets(url) == []


# --- files ---------------------------------------------------------------------------------------------------------

LEAVES: Final = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10)
JSON: Final = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
LINES: Final = (
    st.binary(max_size=80)
    | JSON.map(lambda value: json.dumps(value).encode() + b"\n")
    | st.sampled_from([b"", b"\n", wire_bytes(wire_flow()) + b"\n", b"[" * 10_000, b"\xef\xbb\xbf{}\n"])
)
BROKEN: Final = st.sampled_from(
    ["count", "sha256", "kind", "version", "file", "format", "size", "created_at", "organization_id", "replaces"]
)


def manifest_of(content: bytes, own_kind: str, **changes: Any) -> bytes:
    facts = {
        "kind": own_kind,
        "version": 1,
        "file": "x",
        "format": "jsonl",
        "count": content.count(b"\n"),
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "created_at": "2026-01-01T00:00:00+00:00",
        "organization_id": "o",
        "provider_version": "0",
        "filters": {},
        "replaces": None,
        "flows": {},
    }
    return json.dumps({**facts, **changes}).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


def manifests(content: bytes, kind: str) -> st.SearchStrategy[bytes]:
    one_invalid = st.tuples(BROKEN, JSON).map(lambda change: manifest_of(content, kind, **{change[0]: change[1]}))
    return st.just(manifest_of(content, kind)) | one_invalid | LINES


def assert_read_or_rejected(read: Callable[[], Any], kind: type[Exception]) -> None:
    """Assert that the content is read, or that the error is of this kind and one line."""
    message = ""
    try:
        read()
    except kind as error:
        message = str(error)
    assert message.isprintable()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data(), content=st.lists(LINES, max_size=3).map(b"".join))
def test_any_archive_is_read_or_rejected(folder: Path, data: st.DataObject, content: bytes) -> None:
    (folder / "a.flows.jsonl").write_bytes(content)
    (folder / "a.flows.manifest.json").write_bytes(data.draw(manifests(content, "vi-flow-archive")))
    assert_read_or_rejected(lambda: list(read_archive(str(folder / "a.flows.jsonl"))), ArchiveError)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data(), content=st.lists(LINES, max_size=3).map(b"".join))
def test_any_archive_of_runs_is_read_or_rejected(folder: Path, data: st.DataObject, content: bytes) -> None:
    (folder / "a.runs.jsonl").write_bytes(content)
    (folder / "a.runs.manifest.json").write_bytes(data.draw(manifests(content, "vi-run-archive")))
    assert_read_or_rejected(lambda: list(read_run_archive(str(folder / "a.runs.jsonl"))), ArchiveError)


def read_all(path: Path, name: str) -> Iterator[Callable[[], Any]]:
    """Yield every way to read an export."""
    yield lambda: verification.verify(str(path / name))
    yield lambda: verification.verify(str(path / name), every_document=True)
    yield lambda: read_manifest(files_of(str(path / name)).manifest)
    yield lambda: list(reader.read_export(str(path / name)))
    target = ObjectStoragePath(str(path / "next.jsonl"))
    yield lambda: newest.newest_export(target.parent, "o", exclude=target)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data(), content=st.lists(LINES, max_size=3).map(b"".join), name=st.sampled_from(["e.jsonl", "e.gz"]))
@example(data=None, content=gzip.compress(b"x" * 100)[:-5], name="e.gz")
def test_any_export_is_read_or_rejected(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject | None, content: bytes, name: str
) -> None:
    path = tmp_path_factory.mktemp("exports")
    manifest = data.draw(manifests(content, "vi-flow-export")) if data else manifest_of(content, "vi-flow-export")
    (path / name).write_bytes(content)
    (path / f"{name}.manifest.json").write_bytes(manifest)
    for read in read_all(path, name):
        assert_read_or_rejected(read, ExportError)
