"""Exports on S3: the real driver of the Amazon provider, against a moto server on loopback."""

from __future__ import annotations

from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

pytest.importorskip("airflow.providers.amazon.aws.fs.s3", reason="needs apache-airflow-providers-amazon[s3fs]")

from tests.contract.object_store import BUCKET, STORE, keys
from vi_airflow_provider.audit.__main__ import main
from vi_airflow_provider.audit.reader import read_export
from vi_airflow_provider.audit.verification import verify
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.hooks.vi import ViHook
from vi_airflow_provider.operators.flows import ExportFlowsOperator
from vi_airflow_provider.storage.datasets import dataset_name

FOLDER: Final = f"{STORE}/audit"
S3File: Final[Any] = pytest.importorskip("s3fs.core").S3File


def export(name: str, **arguments: Any) -> dict[str, Any]:
    defaults = {"compare_to": "previous", "html_report": True}
    task = ExportFlowsOperator(task_id="export", destination=f"{FOLDER}/{name}", **{**defaults, **arguments})
    result: dict[str, Any] = task.execute({})
    return result


def contents(s3: Any) -> dict[str, bytes]:
    return {key: s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys(s3)}


def change_flows() -> dict[str, int]:
    """Add none, remove one, change one."""
    hook = ViHook()
    kept, gone, *_ = hook.list_flows(limit=2)
    hook.update_flow(kept.flow_id, spec={"name": "Renamed"})
    hook.delete_flow(gone.flow_id)
    return {"added": 0, "removed": 1, "changed": 1}


def drift(result: dict[str, Any]) -> dict[str, Any]:
    return {kind: result[kind] for kind in ("added", "removed", "changed")}


def test_export_on_s3_is_verified_and_compared(
    vi_emulator: Emulator, s3: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    first = export("2026-09-30.jsonl.gz")
    assert drift(first) == {"added": None, "removed": None, "changed": None}
    expected = change_flows()
    second = export("2026-10-01.jsonl.gz")
    assert drift(second) == expected

    names = {f"audit/{day}.jsonl.gz{end}" for day in ("2026-09-30", "2026-10-01") for end in ("", *COMPANIONS)}
    assert set(keys(s3)) == names
    assert main(["index", FOLDER]) == 0
    page = s3.get_object(Bucket=BUCKET, Key="audit/index.html")["Body"].read().decode()
    assert page.count('href="./2026-10-01.jsonl.gz') == 3
    capsys.readouterr()
    for result in (first, second):
        assert verify(result["uri"], every_document=True).sha256 == result["sha256"]
        assert sum(1 for _ in read_export(result["uri"])) == result["count"]
    assert b"Renamed" in contents(s3)["audit/2026-10-01.jsonl.gz.report.html"]
    assert dataset_name(ObjectStoragePath(first["uri"])) == (f"s3://{BUCKET}", "audit/2026-09-30.jsonl.gz")

    assert main(["verify", second["uri"]]) == 0
    assert main(["diff", first["uri"], second["uri"]]) == 1
    assert "0 added, 1 removed, 1 changed" in capsys.readouterr().out


def test_double_slash_before_the_file_name_is_refused(vi_emulator: Emulator, s3: Any) -> None:
    with pytest.raises(AirflowFailException, match="has an empty part before the name of the file; write one slash"):
        export("/flows.jsonl")
    assert keys(s3) == []


COMPANIONS: Final = (".manifest.json", ".report.html")


def test_exports_in_dated_folders_are_found_through_their_parent(vi_emulator: Emulator, s3: Any) -> None:
    export("acme/2026-09-30/flows.jsonl")
    expected = change_flows()
    assert drift(export("acme/2026-10-01/flows.jsonl")) == dict.fromkeys(expected)
    assert drift(export("acme/2026-10-02/flows.jsonl", compare_to=f"{FOLDER}/acme/")) == dict.fromkeys(expected, 0)
    assert drift(export("acme/2026-10-01/flows.jsonl", compare_to=f"{FOLDER}/acme/2026-09-30/")) == expected


@pytest.mark.parametrize("before", [False, True], ids=["new", "replaced"])
@pytest.mark.parametrize("broken", ["flows.jsonl", *(f"flows.jsonl{end}" for end in COMPANIONS)])
@pytest.mark.parametrize("step", ["upload_part", "complete_multipart_upload"])
def test_failed_upload_leaves_what_was_there(
    step: str, broken: str, before: bool, vi_emulator: Emulator, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if before:
        export("flows.jsonl")
        change_flows()
    found = contents(s3)
    call = S3File._call_s3
    failures: list[str] = []

    def fail_once(self: Any, method: str, *arguments: Any, **given: Any) -> Any:
        if method == step and self.key == f"audit/{broken}" and not failures:
            failures.append(method)
            raise PermissionError("AccessDenied")
        return call(self, method, *arguments, **given)

    monkeypatch.setattr(S3File, "_call_s3", fail_once)
    with pytest.raises(PermissionError, match="AccessDenied"):
        export("flows.jsonl")
    assert failures
    assert contents(s3) == found


@pytest.mark.parametrize("before", [False, True], ids=["new", "replaced"])
def test_failed_multipart_upload_leaves_what_was_there(
    before: bool, vi_emulator: Emulator, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond 8 MB the driver uploads in parts, which S3 keeps until the upload is completed."""
    if before:
        export("flows.jsonl", html_report=False)
    found = contents(s3)
    flow_id = vi_emulator.store.flow_ids()[0]
    document = vi_emulator.store.get_flow(flow_id)
    settings = {"prompt": "larger than 1 mm " * 800_000}
    vi_emulator.store.put_flow(flow_id, {"spec": {**document["spec"], "settings": settings}})
    call = S3File._call_s3
    parts = []

    def fail_second(self: Any, method: str, *arguments: Any, **given: Any) -> Any:
        if method == "upload_part" and self.key == "audit/flows.jsonl":
            parts.append(given["PartNumber"])
            if len(parts) > 1:
                raise TimeoutError("the line is dead")
        return call(self, method, *arguments, **given)

    monkeypatch.setattr(S3File, "_call_s3", fail_second)
    with pytest.raises(TimeoutError, match="the line is dead"):
        export("flows.jsonl", html_report=False)
    assert contents(s3) == found
    assert s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []


def test_broken_listing_leaves_nothing_on_s3(vi_emulator: Emulator, s3: Any) -> None:
    vi_emulator.faults.add(method="GET", path="/flows", status=403)
    with pytest.raises(Exception, match="ViPermissionError"):
        export("flows.jsonl", page_size=10)
    assert keys(s3) == []
