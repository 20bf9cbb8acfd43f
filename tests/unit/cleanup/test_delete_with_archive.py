"""DeleteFlowOperator as a part of a cleanup: only the version that was there, and only with an archive of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from tests.tasks import TaskInstance
from tests.unit.cleanup.support import Vi, archived, run, when
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.errors import ViConflictError, ViNotFoundError
from vi_airflow_provider.cleanup import destination
from vi_airflow_provider.cleanup.archive import ArchiveError, write_archive
from vi_airflow_provider.operators.flows import DeleteFlowOperator

ENDS = {"fail": AirflowFailException, "skip": AirflowSkipException}


@pytest.fixture
def flow_id(vi: Vi) -> str:
    """A flow that may be deleted."""
    return min(vi.stale())


def delete(flow_id: str, **arguments: Any) -> dict[str, Any]:
    result: dict[str, Any] = run(DeleteFlowOperator(task_id="delete", flow_id=flow_id, **arguments))
    return result


def etag(vi: Vi, flow_id: str) -> str:
    return str(vi.store.get_flow(flow_id)["etag"])


# --- expected_etag -------------------------------------------------------------------------------------------------


def test_flow_with_the_expected_etag_is_deleted(vi: Vi, flow_id: str) -> None:
    assert delete(flow_id, expected_etag=etag(vi, flow_id))["outcome"] == "deleted"
    assert vi.sent() == [f"GET {flow_id}", f"DELETE {flow_id}"]


def test_expected_etag_may_lack_its_quotes(vi: Vi, flow_id: str) -> None:
    """It does in a DAG with ``render_template_as_native_obj``."""
    assert delete(flow_id, expected_etag=etag(vi, flow_id).strip('"'))["outcome"] == "deleted"


@pytest.mark.parametrize("if_changed", ENDS)
@pytest.mark.parametrize("dry_run", [True, False])
def test_flow_with_another_etag_is_left_alone(if_changed: str, dry_run: bool, vi: Vi, flow_id: str) -> None:
    seen = etag(vi, flow_id)
    vi.touch(flow_id)
    with pytest.raises(ENDS[if_changed], match=f"Flow {flow_id} was changed since it was selected"):
        delete(flow_id, expected_etag=seen, if_changed=if_changed, dry_run=dry_run)
    assert vi.sent() == [f"GET {flow_id}"]
    assert flow_id in vi.flows


def test_flow_restored_after_a_delete_whose_response_was_lost_is_left_alone(
    vi: Vi, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"max_retries": 3, "max_retry_delay": 0}
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", json.dumps({**vi.emulator.connection, "extra": extra}))
    vi.faults.add(method="DELETE", when="after", drop=True, times=1)
    vi.emulator.colleague.restore(flow_id, method="DELETE", moment="after", times=1)
    with pytest.raises(AirflowFailException, match="was changed since it was selected"):
        delete(flow_id)
    assert vi.sent() == [f"GET {flow_id}", f"DELETE {flow_id}", f"GET {flow_id}"]
    assert flow_id in vi.flows


def test_absent_flow_is_absent_with_any_expected_etag(vi: Vi, flow_id: str) -> None:
    vi.store.delete_flow(flow_id)
    assert delete(flow_id, expected_etag='"1"')["outcome"] == "already_absent"
    assert vi.sent() == [f"GET {flow_id}"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"expected_etag": ""}, "expected_etag: ''"),
        ({"expected_etag": 7}, "expected_etag: 7"),
        ({"archive_to": ""}, "archive_to: ''"),
        ({"if_changed": "ignore"}, "if_changed: 'ignore'"),
    ],
    ids=str,
)
def test_template_that_rendered_to_nothing_deletes_nothing(
    arguments: dict[str, Any], words: str, vi: Vi, flow_id: str
) -> None:
    with pytest.raises(AirflowFailException, match=words):
        delete(flow_id, **arguments)
    assert vi.sent() == []


def test_expected_etag_that_rendered_to_none_is_refused(vi: Vi, flow_id: str) -> None:
    with pytest.raises(AirflowFailException, match="expected_etag: 'None' is given, or the template rendered to None"):
        delete(flow_id, expected_etag="None")
    assert flow_id in vi.flows


# --- archive_to ----------------------------------------------------------------------------------------------------


def test_flow_is_archived_and_read_again_before_it_is_deleted(vi: Vi, flow_id: str, tmp_path: Path) -> None:
    wire = vi.store.get_flow(flow_id)
    result = delete(flow_id, archive_to=tmp_path.as_uri())
    assert (result["flow_id"], result["outcome"]) == (flow_id, "deleted")
    assert archived(tmp_path)[flow_id].to_wire() == wire
    assert result["archive"].startswith(tmp_path.as_uri())
    assert flow_id in result["archive"]
    assert vi.sent() == [f"GET {flow_id}", f"GET {flow_id}", f"DELETE {flow_id}"]


def test_archive_is_verified_before_the_delete(
    vi: Vi, flow_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Any] = []
    look = when(ViClient.delete_flow_if, lambda: found.append(set(archived(tmp_path))))
    monkeypatch.setattr(ViClient, "delete_flow_if", look)
    delete(flow_id, archive_to=tmp_path.as_uri())
    assert found == [{flow_id}]


@pytest.mark.parametrize("if_changed", ENDS)
def test_flow_that_changes_while_it_is_archived_is_left_alone(
    if_changed: str, vi: Vi, flow_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destination, "write_archive", when(write_archive, lambda: vi.touch(flow_id)))
    with pytest.raises(ENDS[if_changed], match="was changed"):
        delete(flow_id, archive_to=tmp_path.as_uri(), if_changed=if_changed)
    assert flow_id in vi.flows


def test_flow_deleted_while_it_is_archived_is_absent(
    vi: Vi, flow_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destination, "write_archive", when(write_archive, lambda: vi.store.delete_flow(flow_id)))
    result = delete(flow_id, archive_to=tmp_path.as_uri())
    assert result["outcome"] == "already_absent"
    assert set(archived(tmp_path)) == {flow_id}


@pytest.mark.parametrize("arguments", [{"dry_run": True}, {"dry_run": "True"}], ids=str)
def test_dry_run_writes_no_archive(arguments: dict[str, Any], vi: Vi, flow_id: str, tmp_path: Path) -> None:
    result = delete(flow_id, archive_to=tmp_path.as_uri(), **arguments)
    assert result == {"flow_id": flow_id, "outcome": "would_delete", "archive": None}
    assert list(tmp_path.iterdir()) == []
    assert vi.sent() == [f"GET {flow_id}"]


def test_absent_flow_is_not_archived(vi: Vi, tmp_path: Path) -> None:
    result = delete("absent", archive_to=tmp_path.as_uri())
    assert result == {"flow_id": "absent", "outcome": "already_absent", "archive": None}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("if_missing", ["success", "skip", "fail"])
def test_retry_returns_the_archive_of_the_killed_try(if_missing: Any, vi: Vi, flow_id: str, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"flow_id": flow_id, "archive_to": tmp_path.as_uri()}
    operator = DeleteFlowOperator(task_id="delete", if_missing=if_missing, **arguments)
    first = run(operator)["archive"]  # which is lost
    assert run(operator, TaskInstance(try_number=2)) == {
        "flow_id": flow_id,
        "outcome": "already_absent",
        "archive": first,
    }


@pytest.mark.parametrize(("if_missing", "end"), [("skip", AirflowSkipException), ("fail", ViNotFoundError)])
def test_flow_archived_by_another_task_is_missing(
    if_missing: Any, end: type[Exception], vi: Vi, flow_id: str, tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {"flow_id": flow_id, "archive_to": tmp_path.as_uri()}
    run(DeleteFlowOperator(task_id="delete", **arguments))
    other = TaskInstance(try_number=2, map_index=1)
    assert run(DeleteFlowOperator(task_id="delete", **arguments), other)["archive"] is None
    with pytest.raises(end):
        run(DeleteFlowOperator(task_id="delete", if_missing=if_missing, **arguments), other)


def test_archive_that_cannot_be_written_keeps_the_flow(vi: Vi, flow_id: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ArchiveError):
        delete(flow_id, archive_to=(tmp_path / "file" / "archive").as_uri())
    assert flow_id in vi.flows


def test_busy_flow_is_archived_and_left_alone(vi: Vi, flow_id: str, tmp_path: Path) -> None:
    vi.occupy(flow_id)
    with pytest.raises(ViConflictError):
        delete(flow_id, archive_to=tmp_path.as_uri())
    assert flow_id in vi.flows
    assert set(archived(tmp_path)) == {flow_id}
