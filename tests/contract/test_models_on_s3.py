"""Models on S3: uploaded whole or not at all, and not downloaded again after a failed upload."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any, Final

import pytest

pytest.importorskip("airflow.providers.amazon.aws.fs.s3", reason="needs apache-airflow-providers-amazon[s3fs]")

from tests.contract.object_store import BUCKET, STORE, keys
from tests.documents import wire_spec
from tests.tasks import TaskInstance
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.operators.runs import ExportModelOperator

S3File: Final[Any] = pytest.importorskip("s3fs.core").S3File
SIZE: Final = 20_000_000


@pytest.fixture
def vi(vi_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """Have a run that has succeeded, with checkpoints that S3 gets in several parts."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    vi_emulator.configure(run_seconds=1, download_bytes=SIZE)
    vi_emulator.store.put_run("trained", {"spec": {"flow": wire_spec()}})
    vi_emulator.advance(1)
    return vi_emulator


def export() -> Any:
    task = ExportModelOperator(task_id="model", run_id="trained", destination=f"{STORE}/models/trained.bin")
    return task.execute({"ti": TaskInstance()})  # type: ignore[typeddict-item]


def downloads(vi: Emulator) -> int:
    return sum(request.path.startswith("/downloads/") for request in vi.requests)


def parts_in(folder: Path) -> list[int]:
    return [path.stat().st_size for path in folder.glob("vi-airflow-*/*.part")]


def test_model_on_s3_is_found_by_a_retry(vi: Emulator, s3: Any, tmp_path: Path) -> None:
    result = export()
    assert result["uri"] == f"{STORE}/models/trained.bin"
    assert keys(s3) == ["models/trained.bin", "models/trained.bin.manifest.json"]
    content = s3.get_object(Bucket=BUCKET, Key="models/trained.bin")["Body"].read()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (SIZE, result["sha256"])
    assert export() == result
    assert downloads(vi) == 1
    assert parts_in(tmp_path) == []


def test_failed_upload_is_repeated_without_a_download(
    vi: Emulator, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = S3File._call_s3

    def fail_second(self: Any, method: str, *arguments: Any, **given: Any) -> Any:
        if method == "upload_part" and given["PartNumber"] > 1:
            raise TimeoutError("the line is dead")
        return call(self, method, *arguments, **given)

    with monkeypatch.context() as patch:
        patch.setattr(S3File, "_call_s3", fail_second)
        with pytest.raises(TimeoutError, match="the line is dead"):
            export()
    assert "models/trained.bin" not in keys(s3)
    assert s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []
    assert parts_in(tmp_path) == [SIZE]
    assert export()["size"] == SIZE
    assert downloads(vi) == 1
    assert parts_in(tmp_path) == []
