"""``ExportModelOperator`` against the emulator: whole or not at all, fetched once, and without a trace of the URL."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import traceback
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator, ObjectStoragePath

from tests.tasks import TaskInstance, plain
from tests.tries import Try, execute
from tests.unit.audit.support import attached_memory
from vi_airflow_provider.api.errors import ViError, ViNetworkError, ViNotFoundError
from vi_airflow_provider.api.transport import download
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.emulator.request_log import RecordedRequest
from vi_airflow_provider.emulator.store.weights import Weights
from vi_airflow_provider.operators.runs import ExportModelOperator
from vi_airflow_provider.storage.spool import ContentSpool
from vi_airflow_provider.training.model_export import read_manifest

pytestmark = pytest.mark.vi_emulator(flows=3, run_seconds=1000, runs=0)

SIZE = 3_000_000


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults: Any = download.Downloader.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "sleep", lambda seconds: None)


@pytest.fixture
def run_id(vi_emulator: Emulator) -> str:
    """A run that has succeeded, with checkpoints of 3 MB."""
    vi_emulator.configure(download_bytes=SIZE)
    vi_emulator.plans.add(checkpoints=4)
    run_id = execute(vi_emulator.store.flow_ids()[0], Try(), wait_for_completion=False)["run_id"]
    vi_emulator.advance(1001)
    vi_emulator.clear_requests()
    return str(run_id)


def export(run_id: str, destination: object, **arguments: Any) -> Any:
    operator = ExportModelOperator(task_id="task", run_id=run_id, destination=str(destination), **arguments)
    return plain(operator.execute({"ti": TaskInstance()}))  # type: ignore[typeddict-item]


def content_of(vi: Emulator, run_id: str, output_id: str | None = None) -> bytes:
    output_id = output_id or vi.store.outputs.of(run_id)[-1]["runOutputId"]
    return b"".join(Weights(f"{run_id}/{output_id}", SIZE).read(0, SIZE))


def downloads(vi: Emulator) -> list[RecordedRequest]:
    return [request for request in vi.requests if request.path.startswith("/downloads/")]


def test_latest_model_is_stored_with_a_manifest(vi_emulator: Emulator, run_id: str, tmp_path: Path) -> None:
    target = tmp_path / "new" / "model.bin"
    result = export(run_id, target)
    content, output = content_of(vi_emulator, run_id), vi_emulator.store.outputs.of(run_id)[-1]
    assert target.read_bytes() == content
    assert result == {
        "uri": str(target),
        "manifest_uri": f"{target}.manifest.json",
        "run_id": run_id,
        "size": SIZE,
        "sha256": hashlib.sha256(content).hexdigest(),
        "run_output_id": output["runOutputId"],
        "epoch": output["spec"]["epoch"],
        "kind": "Checkpoint",
        "metrics": output["spec"]["evaluationMetrics"],
        "storage_object": output["status"]["storageObject"],
    }
    (version,) = read_manifest(str(target))
    assert (version.sha256, version.size, version.run_id) == (result["sha256"], SIZE, run_id)
    assert {path.name for path in target.parent.iterdir()} == {"model.bin", "model.bin.manifest.json"}
    (request,) = downloads(vi_emulator)
    assert request.headers["accept-encoding"] == "identity"


def test_model_is_selected_by_metric_or_id(vi_emulator: Emulator, run_id: str, tmp_path: Path) -> None:
    outputs = vi_emulator.store.outputs.of(run_id)
    worst = max(outputs, key=lambda output: output["spec"]["evaluationMetrics"]["validationLoss"])["runOutputId"]
    for arguments in ({"best_metric": ["validationLoss", "max"]}, {"select": worst}):
        assert export(run_id, tmp_path / "model.bin", **arguments)["run_output_id"] == worst
    assert (tmp_path / "model.bin").read_bytes() == content_of(vi_emulator, run_id, worst)


def test_model_that_is_stored_is_not_fetched_again(vi_emulator: Emulator, run_id: str, tmp_path: Path) -> None:
    first = export(run_id, tmp_path / "model.bin")
    stamp = (tmp_path / "model.bin").stat().st_mtime_ns
    assert export(run_id, tmp_path / "model.bin") == first
    assert len(downloads(vi_emulator)) == 1
    assert (tmp_path / "model.bin").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("damage", ["content", "size", "file", "manifest"])
def test_damaged_export_is_replaced(vi_emulator: Emulator, run_id: str, tmp_path: Path, damage: str) -> None:
    target = tmp_path / "model.bin"
    first = export(run_id, target)
    content = target.read_bytes()
    match damage:
        case "content":
            target.write_bytes(content[:-1] + b"?")
        case "size":
            target.write_bytes(content[:-1])
        case "file":
            target.unlink()
        case "manifest":
            (tmp_path / "model.bin.manifest.json").write_text("{}")
    assert export(run_id, target) == first
    assert target.read_bytes() == content
    assert len(downloads(vi_emulator)) == 2


def test_other_model_replaces_the_file(vi_emulator: Emulator, run_id: str, tmp_path: Path) -> None:
    target = tmp_path / "model.bin"
    old = vi_emulator.store.outputs.of(run_id)[0]["runOutputId"]
    export(run_id, target, select=old)
    target.chmod(0o640)
    export(run_id, target)
    assert target.read_bytes() == content_of(vi_emulator, run_id)
    assert target.stat().st_mode & 0o777 == 0o640
    assert [version.run_output_id for version in read_manifest(str(target))][1:] == [old]


def test_object_store_gets_the_model_whole(
    vi_emulator: Emulator, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with attached_memory():
        target = f"memory://models/{run_id}.bin"
        vi_emulator.configure(download_break=2_000_000)
        vi_emulator.faults.add(path="/downloads/", skip=1, status=400, times=3)
        with pytest.raises(ViNetworkError):
            export(run_id, target)
        assert not ObjectStoragePath(target).exists()
        result = export(run_id, target)
        assert ObjectStoragePath(target).read_bytes() == content_of(vi_emulator, run_id)
        assert result["uri"] == str(ObjectStoragePath(target))  # older drivers write three slashes
        assert export(run_id, target) == result
    assert [request.headers.get("range") for request in downloads(vi_emulator)][-1] == "bytes=2000000-"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_openlineage_gets_the_checkpoint_and_the_file(
    vi_emulator: Emulator, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = ExportModelOperator(task_id="task", run_id=run_id, destination=f"{tmp_path}/model.bin")
    assert task.get_openlineage_facets_on_complete(None) is None
    result = task.execute({"ti": TaskInstance()})  # type: ignore[typeddict-item]
    monkeypatch.setattr("socket.socket.connect", None)  # it makes no request
    lineage = task.get_openlineage_facets_on_complete(None)
    (read,), (written,) = lineage.inputs, lineage.outputs
    flow_id = vi_emulator.store.flow_ids()[0]
    assert (read.namespace, read.name) == (f"vi://{vi_emulator.organization_id}", f"flows/{flow_id}/models")
    assert read.facets["version"].datasetVersion == result["run_output_id"]
    assert (written.namespace, written.name) == ("file", f"{tmp_path}/model.bin")
    assert written.facets["version"].datasetVersion == result["sha256"]
    assert written.outputFacets["outputStatistics"].size == SIZE


# --- interruptions -------------------------------------------------------------------------------------------------


def test_broken_download_is_continued(vi_emulator: Emulator, run_id: str, tmp_path: Path) -> None:
    vi_emulator.configure(download_break=1_100_000)
    export(run_id, tmp_path / "model.bin")
    assert (tmp_path / "model.bin").read_bytes() == content_of(vi_emulator, run_id)
    sent = [(request.headers.get("range"), "if-range" in request.headers) for request in downloads(vi_emulator)]
    assert sent == [(None, False), ("bytes=1100000-", True), ("bytes=2200000-", True)]


@pytest.mark.parametrize("ranges", ["no_etag", "none"])
def test_download_that_cannot_be_continued_starts_over(
    vi_emulator: Emulator, run_id: str, tmp_path: Path, ranges: Any
) -> None:
    vi_emulator.configure(download_ranges=ranges)
    vi_emulator.faults.add(path="/downloads/", truncate=True, times=2)
    export(run_id, tmp_path / "model.bin")
    assert (tmp_path / "model.bin").read_bytes() == content_of(vi_emulator, run_id)
    assert [request.headers.get("range") for request in downloads(vi_emulator)] == [None] * 3


def test_host_that_always_breaks_ends_the_download(vi_emulator: Emulator, run_id: str, tmp_path: Path) -> None:
    vi_emulator.configure(download_ranges="none", download_break=1000)
    with pytest.raises(ViNetworkError, match="the connection broke"):
        export(run_id, tmp_path / "model.bin")
    assert not (tmp_path / "model.bin").exists()
    assert not (tmp_path / "model.bin.manifest.json").exists()
    assert len(downloads(vi_emulator)) == 4  # of which only the first made progress


def test_next_try_fetches_only_the_rest(vi_emulator: Emulator, run_id: str, tmp_path: Path) -> None:
    vi_emulator.configure(download_break=2_000_000)
    vi_emulator.faults.add(path="/downloads/", skip=1, status=503, times=None)
    with pytest.raises(ViError, match="503"):
        export(run_id, tmp_path / "model.bin")
    assert not (tmp_path / "model.bin").exists()
    vi_emulator.faults.clear()
    vi_emulator.clear_requests()
    export(run_id, tmp_path / "model.bin")
    assert (tmp_path / "model.bin").read_bytes() == content_of(vi_emulator, run_id)
    assert [request.headers["range"] for request in downloads(vi_emulator)] == ["bytes=2000000-"]


def test_content_that_changed_between_tries_is_fetched_again(
    vi_emulator: Emulator, run_id: str, tmp_path: Path
) -> None:
    vi_emulator.configure(download_break=2_000_000, download_bytes=SIZE + 500_000)
    vi_emulator.faults.add(path="/downloads/", skip=1, status=503, times=None)
    with pytest.raises(ViError, match="503"):
        export(run_id, tmp_path / "model.bin")
    vi_emulator.faults.clear()
    vi_emulator.configure(download_bytes=SIZE)
    export(run_id, tmp_path / "model.bin")
    assert (tmp_path / "model.bin").read_bytes() == content_of(vi_emulator, run_id)


def test_expired_url_is_renewed_and_the_download_continued(vi_emulator: Emulator, run_id: str, tmp_path: Path) -> None:
    vi_emulator.configure(download_break=2_000_000)
    vi_emulator.faults.add(path="/downloads/", skip=1, status=403, body="<Error>expired</Error>")
    export(run_id, tmp_path / "model.bin")
    assert (tmp_path / "model.bin").read_bytes() == content_of(vi_emulator, run_id)
    sent = [request.path.partition("/outputs/")[0][:11] for request in vi_emulator.requests][-4:]
    assert sent == ["/downloads/", "/downloads/", "/workspaces", "/downloads/"]


def test_host_that_rejects_every_url_ends_the_download(vi_emulator: Emulator, run_id: str, tmp_path: Path) -> None:
    vi_emulator.faults.add(path="/downloads/", status=400, times=None)
    with pytest.raises(ViNetworkError, match="rejects new URLs: 400"):
        export(run_id, tmp_path / "model.bin")
    assert len(downloads(vi_emulator)) == 3


def test_killed_between_manifest_and_file_both_models_are_accepted(
    vi_emulator: Emulator, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "model.bin"
    old = vi_emulator.store.outputs.of(run_id)[0]["runOutputId"]
    first = export(run_id, target, select=old)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ContentSpool, "move_to", killed)
        with pytest.raises(KeyboardInterrupt):
            export(run_id, target)
    described, replaced = read_manifest(str(target))
    assert hashlib.sha256(target.read_bytes()).hexdigest() == replaced.sha256 == first["sha256"]
    vi_emulator.clear_requests()
    assert export(run_id, target)["sha256"] == described.sha256
    assert target.read_bytes() == content_of(vi_emulator, run_id)
    assert downloads(vi_emulator) == []


# --- what is refused, and what is shown ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"select": "../x"}, "run output id"),
        ({"select": "best"}, "best_metric: needed"),
        ({"best_metric": ["f1"]}, "best_metric"),
        ({"destination": "model.bin"}, "destination"),
        ({"destination": "s3://me:secretsecret@bucket/x"}, "password"),
        ({"destination": "/"}, "folder"),
        ({"destination": "/dev/null"}, "device"),
    ],
)
def test_unusable_argument_is_refused_before_a_download(
    vi_emulator: Emulator, run_id: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(AirflowFailException, match=message):
        export(run_id, **{"destination": "/no-such-folder/x", **arguments})
    assert downloads(vi_emulator) == []


def test_run_without_a_model_fails(vi_emulator: Emulator, tmp_path: Path) -> None:
    vi_emulator.plans.add(scenario="no_model")
    run_id = execute(vi_emulator.store.flow_ids()[0], wait_for_completion=False)["run_id"]
    with pytest.raises(ViNotFoundError, match="no checkpoint"):
        export(run_id, tmp_path / "model.bin")


def test_checkpoint_without_the_metric_is_not_the_best(run_id: str, tmp_path: Path) -> None:
    with pytest.raises(ViNotFoundError, match="no checkpoint with 'recall'"):
        export(run_id, tmp_path / "model.bin", best_metric=("recall", "max"))


FAULTS: list[dict[str, Any]] = [
    {},
    {"status": 503, "times": None},
    {"status": 403, "times": None},
    {"status": 418, "times": None},
    {"drop": True, "times": None},
    {"truncate": True, "times": None},
    {"redirect": "/downloads/x?signature=s3cr3ts3cr3t", "times": None},
    {"redirect": "http://vi.invalid/x?signature=s3cr3ts3cr3t", "times": None},
    {"status": 200, "headers": {"content-encoding": "gzip"}, "body": "x"},
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_url_is_in_no_log_and_no_error(
    vi_emulator: Emulator,
    run_id: str,
    tmp_path: Path,
    fault: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(BaseOperator, "log", logging.getLogger("vi_task"))
    signatures: list[str] = []
    sign = vi_emulator.store.outputs._signature

    def remembered(path: str, expires: int) -> str:
        signatures.append(sign(path, expires))
        return signatures[-1]

    monkeypatch.setattr(vi_emulator.store.outputs, "_signature", remembered)
    if fault:
        vi_emulator.faults.add(path="/downloads/", **fault)
    shown = ""
    try:
        shown = json.dumps(export(run_id, tmp_path / "model.bin"))
    except Exception as error:
        own_frame = error.__traceback__
        assert own_frame is not None
        error.with_traceback(own_frame.tb_next)
        frames = traceback.TracebackException.from_exception(error, capture_locals=True)
        shown = f"{error!r} {''.join(frames.format())}"
    assert signatures
    logged = "\n".join(r.getMessage() for r in caplog.records if not r.name.startswith("uvicorn"))
    files = "".join(path.read_text("latin-1") for path in tmp_path.rglob("*") if path.is_file())
    for secret in (*signatures, "s3cr3ts3cr3t", vi_emulator.secret_key):
        assert secret not in shown
        assert secret not in logged
        assert secret not in files
    assert "urllib3.connectionpool" in {record.name for record in caplog.records}


def test_progress_is_logged_in_few_lines(run_id: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    export(run_id, tmp_path / "model.bin")
    lines = [record.getMessage() for record in caplog.records if "downloaded" in record.getMessage()]
    assert 0 < len(lines) <= 10
