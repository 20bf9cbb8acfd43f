"""Archives on S3: the real driver of the Amazon provider, against a moto server on loopback."""

from __future__ import annotations

from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

pytest.importorskip("airflow.providers.amazon.aws.fs.s3", reason="needs apache-airflow-providers-amazon[s3fs]")

from tests.contract.object_store import BUCKET, STORE, keys
from tests.tasks import TaskInstance
from vi_airflow_provider.cleanup.archive import ArchiveError, read_archive
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.operators.flows import DeleteFlowOperator, PruneFlowsOperator, RestoreFlowsOperator

FOLDER: Final = f"{STORE}/vi/flows"


def prune(**arguments: Any) -> dict[str, Any]:
    defaults = {"older_than": "P90D", "dry_run": False, "archive_to": FOLDER}
    report: dict[str, Any] = PruneFlowsOperator(task_id="prune", **{**defaults, **arguments}).execute({})
    return report


def specs(emulator: Emulator) -> dict[str, Any]:
    return {flow_id: emulator.store.get_flow(flow_id)["spec"] for flow_id in emulator.store.flow_ids()}


def test_deleted_flows_are_restored_from_s3(vi_emulator: Emulator, s3: Any) -> None:
    before = specs(vi_emulator)
    report = prune()

    assert report["archive"].startswith(f"{FOLDER}/")
    assert report["report"].startswith(f"{FOLDER}/")
    names = sorted(key.partition(".")[2] for key in keys(s3))
    assert names == ["flows.jsonl", "flows.manifest.json", "report.json"]
    assert len(specs(vi_emulator)) == 40 - report["deleted"] < 40

    restored = RestoreFlowsOperator(task_id="restore", archive=report["archive"]).execute({})
    assert len(restored) == report["deleted"]
    assert specs(vi_emulator) == before


def test_single_flow_is_archived_on_s3_before_its_deletion(vi_emulator: Emulator, s3: Any) -> None:
    flow_id = vi_emulator.store.flow_ids()[-1]
    wire = vi_emulator.store.get_flow(flow_id)
    result = DeleteFlowOperator(task_id="delete", flow_id=flow_id, archive_to=FOLDER).execute({})
    assert result["outcome"] == "deleted"
    assert [flow.to_wire() for flow in read_archive(result["archive"])] == [wire]


def test_retry_finds_the_archive_of_the_first_try_on_s3(vi_emulator: Emulator, s3: Any) -> None:
    flow_id = vi_emulator.store.flow_ids()[-1]
    delete = DeleteFlowOperator(task_id="delete", flow_id=flow_id, archive_to=FOLDER)

    def execute(**facts: Any) -> Any:
        context: Any = {"ti": TaskInstance(**facts)}
        return delete.execute(context)

    first = execute()["archive"]
    again = execute(try_number=2)
    assert again == {"flow_id": flow_id, "outcome": "already_absent", "archive": first}
    assert execute(run_id="another", try_number=2)["archive"] is None


def test_missing_bucket_prevents_deletion(vi_emulator: Emulator, s3: Any) -> None:
    before = specs(vi_emulator)
    with pytest.raises(ArchiveError, match="cannot be written to s3://archive_store@nowhere-"):
        prune(archive_to="s3://archive_store@nowhere-at-all/vi")
    assert specs(vi_emulator) == before
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == [BUCKET]


def test_truncated_object_is_not_restored(vi_emulator: Emulator, s3: Any) -> None:
    report = prune()
    (key,) = (key for key in keys(s3) if key.endswith(".jsonl"))
    content = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    s3.put_object(Bucket=BUCKET, Key=key, Body=content[:-100])
    left = specs(vi_emulator)
    with pytest.raises(ArchiveError, match="does not match its manifest"):
        RestoreFlowsOperator(task_id="restore", archive=report["archive"]).execute({})
    assert specs(vi_emulator) == left


def test_multipart_archive_is_complete(vi_emulator: Emulator, s3: Any) -> None:
    """Beyond 5 MB the driver uploads in parts."""
    keep = vi_emulator.store.flow_ids()[2:]
    for flow_id in vi_emulator.store.flow_ids()[:2]:
        document = vi_emulator.store.get_flow(flow_id)
        settings = {"prompt": "größer als 1 mm " * 400_000}
        vi_emulator.store.put_flow("large-" + flow_id, {"spec": {**document["spec"], "settings": settings}})
    report = prune(older_than="PT0S", name_pattern="*", protect_ids=keep, max_delete_fraction=1)
    assert any(s3.head_object(Bucket=BUCKET, Key=key)["ContentLength"] > 12_000_000 for key in keys(s3))
    assert report["deleted"] >= 2


@pytest.mark.parametrize("folder", ["[team] a", "a*", "a//b", "{x,y}"])
def test_retry_finds_its_archive_in_a_folder_of_any_name(folder: str, vi_emulator: Emulator, s3: Any) -> None:
    flow_id = vi_emulator.store.flow_ids()[-1]
    delete = DeleteFlowOperator(task_id="delete", flow_id=flow_id, archive_to=f"{STORE}/{folder}")
    contexts: list[Any] = [{"ti": TaskInstance(try_number=number)} for number in (1, 2)]
    first, again = (delete.execute(context)["archive"] for context in contexts)
    assert first == again
    assert all(key.startswith(f"{folder}/") for key in keys(s3))
    assert [flow.flow_id for flow in read_archive(first)] == [flow_id]


def test_folder_in_the_place_of_an_archive_is_named_as_such(vi_emulator: Emulator, s3: Any) -> None:
    prune()
    for uri in (FOLDER, f"{FOLDER}/"):
        with pytest.raises(ArchiveError, match="is a folder; name the file in it"):
            list(read_archive(uri))


def test_folder_that_ends_with_an_empty_part_is_refused(vi_emulator: Emulator, s3: Any) -> None:
    with pytest.raises(AirflowFailException, match="ends with an empty part: write one slash"):
        prune(archive_to=f"{FOLDER}//")
    assert keys(s3) == []
