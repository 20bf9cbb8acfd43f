"""RestoreFlowsOperator against the emulator: deleted flows are restored as they were, and no others are written."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from tests.documents import wire_flow
from tests.unit.cleanup.support import Vi, run
from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.errors import ViServerError
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.api.verbs import ViProtocol
from vi_airflow_provider.cleanup.archive import ArchiveError, write_archive
from vi_airflow_provider.cleanup.restore import RestoreError, RestoreGuard
from vi_airflow_provider.operators.flows import PruneFlowsOperator, RestoreFlowsOperator


def content(flow: dict[str, Any]) -> dict[str, Any]:
    """What a restore brings back of a flow."""
    return {"flowId": flow["flowId"], "spec": flow["spec"], "attributes": flow["metadata"]["attributes"]}


def contents(vi: Vi) -> dict[str, bytes]:
    """The same of all flows, as bytes, which tell 1 from 1.0."""
    return {flow_id: canonical_json(content(flow)) for flow_id, flow in vi.flows.items()}


@pytest.fixture
def before(vi: Vi) -> dict[str, bytes]:
    """All flows, before any was deleted."""
    return contents(vi)


@pytest.fixture
def archive(vi: Vi, before: dict[str, bytes], tmp_path: Path) -> str:
    """An archive of all stale flows, which no longer exist."""
    prune = PruneFlowsOperator(task_id="prune", older_than="P90D", dry_run=False, archive_to=tmp_path.as_uri())
    uri = run(prune)["archive"]
    vi.emulator.clear_requests()
    return str(uri)


def restore(archive: str, **arguments: Any) -> list[str]:
    restored: list[str] = run(RestoreFlowsOperator(task_id="restore", archive=archive, **arguments))
    return restored


def gone(vi: Vi, before: dict[str, bytes]) -> list[str]:
    return sorted(set(before) - set(vi.flows))


def test_all_flows_of_an_archive_are_restored_as_they_were(vi: Vi, before: dict[str, bytes], archive: str) -> None:
    missing = gone(vi, before)
    assert missing
    assert sorted(restore(archive)) == missing
    assert contents(vi) == before
    assert vi.sent("PUT", "PATCH", "DELETE") == [f"PUT {flow_id}" for flow_id in missing]


def test_only_the_given_flows_are_restored(vi: Vi, before: dict[str, bytes], archive: str) -> None:
    some = gone(vi, before)[1:3]
    assert restore(archive, flow_ids=[*some, some[0]]) == some
    assert set(some) <= set(vi.flows)
    assert vi.sent("PUT") == [f"PUT {flow_id}" for flow_id in some]


def test_empty_list_of_ids_restores_nothing(archive: str, vi: Vi) -> None:
    assert restore(archive, flow_ids=[]) == []
    assert vi.sent() == []


def test_second_restore_writes_nothing(vi: Vi, before: dict[str, bytes], archive: str) -> None:
    restore(archive)
    vi.emulator.clear_requests()
    assert restore(archive) == []
    assert vi.sent("PUT") == []
    assert contents(vi) == before


def test_retry_continues_where_the_first_try_failed(vi: Vi, before: dict[str, bytes], archive: str) -> None:
    missing = gone(vi, before)
    vi.faults.add(method="PUT", skip=2, status=503)
    with pytest.raises(ViServerError):
        restore(archive)
    assert restore(archive) == missing[2:]
    assert contents(vi) == before


def test_unknown_fields_are_restored_as_they_were(vi: Vi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = {"ünknown": [1, 1.0, True, None, {"b": 1e-05, "a": ""}]}
    wire = wire_flow(
        flowId="strange",
        spec__settings=unknown,
        spec__future=unknown,
        spec__trainingProject=None,
        spec__blocks__0__future=unknown,
        metadata__attributes={"team": "größe"},
        metadata__future=unknown,
        future=unknown,
    )
    document = canonical_json(Flow.model_validate(wire).to_wire())
    uri = write_archive(tmp_path.as_uri(), "archive", {"strange": document}, "org", {}).uri
    bodies: list[bytes] = []
    request = ViProtocol._request

    def noted(protocol: ViProtocol, method: str, path: str, body: Any = None) -> Any:
        made = request(protocol, method, path, body)
        if method == "PUT":
            assert made.body is not None
            bodies.append(made.body)
        return made

    monkeypatch.setattr(ViProtocol, "_request", noted)
    assert restore(uri) == ["strange"]

    metadata = {key: wire["metadata"][key] for key in ("attributes", "future")}
    (body,) = bodies
    assert canonical_json(json.loads(body)) == canonical_json({"spec": wire["spec"], "metadata": metadata})
    assert canonical_json(vi.store.get_flow("strange")["spec"]) == canonical_json(wire["spec"])
    assert vi.store.get_flow("strange")["metadata"]["attributes"] == {"team": "größe"}


# --- a flow of this id is there ------------------------------------------------------------------------------------


def rename(vi: Vi, flow_id: str, spec: dict[str, Any], attributes: dict[str, str]) -> None:
    vi.store.put_flow(flow_id, {"spec": {**spec, "name": "Other"}, "metadata": {"attributes": attributes}})


def mark(vi: Vi, flow_id: str, spec: dict[str, Any], attributes: dict[str, str]) -> None:
    vi.store.put_flow(flow_id, {"spec": spec, "metadata": {"attributes": {**attributes, "new": "yes"}}})


def retype(vi: Vi, flow_id: str, spec: dict[str, Any], attributes: dict[str, str]) -> None:
    """For Python, this is equal: ``True == 1 == 1.0``."""
    changed = copy.deepcopy(spec)
    changed["blocks"][1]["settings"]["shuffle"] = int(changed["blocks"][1]["settings"]["shuffle"])
    vi.store.put_flow(flow_id, {"spec": changed, "metadata": {"attributes": attributes}})


DIFFERENT: Final = {"another name": rename, "another attribute": mark, "1 for true": retype}


@pytest.fixture(params=DIFFERENT)
def different(request: pytest.FixtureRequest, vi: Vi, before: dict[str, bytes], archive: str) -> str:
    """Id of a flow that was created again, with other content."""
    flow_id = gone(vi, before)[2]
    old = json.loads(before[flow_id])
    DIFFERENT[request.param](vi, flow_id, old["spec"], old["attributes"])
    return flow_id


def test_flow_with_other_content_fails_the_restore_before_any_write(
    different: str, vi: Vi, before: dict[str, bytes], archive: str
) -> None:
    now = contents(vi)
    with pytest.raises(AirflowFailException, match=f"1 flows exist with another spec .*, {different} among them"):
        restore(archive)
    assert contents(vi) == now
    assert vi.sent("PUT") == []


def test_flow_with_other_content_can_be_skipped(different: str, vi: Vi, before: dict[str, bytes], archive: str) -> None:
    as_it_is, missing = contents(vi)[different], gone(vi, before)
    assert restore(archive, if_exists="skip") == missing
    assert contents(vi) == {**before, different: as_it_is}


def test_flow_with_other_content_can_be_replaced(
    different: str, vi: Vi, before: dict[str, bytes], archive: str
) -> None:
    missing = gone(vi, before)
    assert restore(archive, if_exists="replace") == sorted([*missing, different])
    assert contents(vi) == before


# --- what is refused -----------------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def tamper(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"schema":"v1"', b'"schema":"v2"', 1))


def forget_the_manifest(path: Path) -> None:
    Path(str(path).replace(".jsonl", ".manifest.json")).unlink()


@pytest.mark.parametrize("damage", [cut, tamper, forget_the_manifest, Path.unlink])
def test_incomplete_archive_is_refused_before_any_request(damage: Any, vi: Vi, archive: str) -> None:
    damage(Path(archive.removeprefix("file://")))
    with pytest.raises(ArchiveError):
        restore(archive)
    assert vi.sent() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"flow_ids": ["absent"]}, "not in the archive: 'absent'\\."),
        ({"flow_ids": ["absent", "also", "neither"]}, "not in the archive: 'absent' and 2 more"),
        ({"flow_ids": "abc"}, "is not a list of strings"),
        ({"if_exists": "overwrite"}, "if_exists: 'overwrite' is not one of"),
    ],
    ids=str,
)
def test_unusable_value_fails_without_retries_or_requests(
    arguments: dict[str, Any], words: str, vi: Vi, archive: str
) -> None:
    with pytest.raises(AirflowFailException, match=words):
        restore(archive, **arguments)
    assert vi.sent() == []


def test_unknown_id_prevents_the_restore_of_known_ones(vi: Vi, before: dict[str, bytes], archive: str) -> None:
    with pytest.raises(AirflowFailException, match="absent"):
        restore(archive, flow_ids=[gone(vi, before)[0], "absent"])
    assert vi.sent() == []


def test_permanent_error_fails_the_task_without_retries(vi: Vi, archive: str) -> None:
    vi.faults.add(status=403)
    with pytest.raises(AirflowFailException, match="ViPermissionError"):
        restore(archive)


def test_copied_archive_can_be_restored(vi: Vi, before: dict[str, bytes], archive: str, tmp_path: Path) -> None:
    copied = tmp_path / "copy"
    shutil.copytree(archive.removeprefix("file://").rpartition("/")[0], copied)
    restore((copied / archive.rpartition("/")[2]).as_uri())
    assert contents(vi) == before


@pytest.mark.parametrize("slash", ["", "/"])
def test_folder_given_as_an_archive_is_refused_with_the_name_of_one(
    slash: str, vi: Vi, archive: str, tmp_path: Path
) -> None:
    name = archive.rpartition("/")[2]
    with pytest.raises(ArchiveError, match=f"is a folder with 1 archives: name one, like {re.escape(name)}$"):
        restore(tmp_path.as_uri() + slash)
    assert vi.sent() == []


def test_exports_in_a_folder_are_not_counted_as_archives(vi: Vi, archive: str, tmp_path: Path) -> None:
    for name in ("flows.jsonl", "flows.jsonl.manifest.json"):
        (tmp_path / name).touch()
    with pytest.raises(
        ArchiveError, match=f"is a folder with 1 archives: name one, like {re.escape(Path(archive).name)}$"
    ):
        restore(tmp_path.as_uri())


def test_folder_without_archives_is_refused_as_a_folder(vi: Vi, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"is a folder with 0 archives: name one$"):
        restore(tmp_path.as_uri())


def test_archive_without_a_manifest_is_not_called_a_folder(archive: str) -> None:
    forget_the_manifest(Path(archive.removeprefix("file://")))
    with pytest.raises(ArchiveError, match="manifest"):
        restore(archive)


# --- a colleague meanwhile -----------------------------------------------------------------------------------------


def before_the_write(flow_id: str, do: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a colleague act after the comparison, just before the flow is read again and written."""
    restore_flow_if = ViClient.restore_flow_if

    def restored(client: ViClient, document: Any, matches: Any) -> Any:
        if document["flowId"] == flow_id:
            do()
        return restore_flow_if(client, document, matches)

    monkeypatch.setattr(ViClient, "restore_flow_if", restored)


def test_flow_made_between_the_comparison_and_the_write_is_left_alone(
    vi: Vi, before: dict[str, bytes], archive: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = gone(vi, before)
    old = json.loads(before[missing[1]])
    make = lambda: rename(vi, missing[1], old["spec"], old["attributes"])  # noqa: E731
    before_the_write(missing[1], make, monkeypatch)
    with pytest.raises(RestoreError, match=rf"1 flows were changed during the restore and left alone, {missing[1]}"):
        restore(archive)
    assert vi.flows[missing[1]]["spec"]["name"] == "Other"
    assert gone(vi, before) == []


@pytest.mark.parametrize("if_exists", ["skip", "replace"])
def test_retried_write_does_not_overwrite_an_edit_made_meanwhile(
    if_exists: str, vi: Vi, before: dict[str, bytes], archive: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The PUT fails, a colleague makes the flow, and the retry sees it."""
    patient = {"max_retries": 3, "max_retry_delay": 0.01}
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", json.dumps({**vi.emulator.connection, "extra": patient}))
    flow_id = gone(vi, before)[0]
    old = json.loads(before[flow_id])
    if if_exists == "replace":
        mark(vi, flow_id, old["spec"], old["attributes"])
    vi.faults.add(method="PUT", path=flow_id, status=503)
    request_log = vi.emulator._backend.request_log
    record = request_log.record

    def noticed(*arguments: Any) -> Any:
        recorded = record(*arguments)
        if vi.sent("PUT") == [f"PUT {flow_id}"] and vi.sent()[-1] == f"PUT {flow_id}":
            rename(vi, flow_id, old["spec"], old["attributes"])
        return recorded

    monkeypatch.setattr(request_log, "record", noticed)
    with pytest.raises(RestoreError) if if_exists == "replace" else nullcontext():
        assert flow_id not in restore(archive, flow_ids=[flow_id], if_exists=if_exists)
    assert vi.flows[flow_id]["spec"]["name"] == "Other"
    assert vi.sent("PUT") == [f"PUT {flow_id}"]


def test_flow_deleted_while_it_is_replaced_stays_deleted(
    vi: Vi, before: dict[str, bytes], archive: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = {"max_retries": 3, "max_retry_delay": 0.01}
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", json.dumps({**vi.emulator.connection, "extra": patient}))
    flow_id = gone(vi, before)[0]
    old = json.loads(before[flow_id])
    rename(vi, flow_id, old["spec"], old["attributes"])
    vi.faults.add(method="PUT", path=flow_id, status=503)
    may_be_written = RestoreGuard.__call__

    def judged(guard: RestoreGuard, flow: Flow | None) -> bool:
        allowed = may_be_written(guard, flow)
        if allowed:
            vi.store.delete_flow(flow_id)
        return allowed

    monkeypatch.setattr(RestoreGuard, "__call__", judged)
    with pytest.raises(RestoreError):
        restore(archive, flow_ids=[flow_id], if_exists="replace")
    assert flow_id not in vi.flows
