"""What keeps PruneFlowsOperator from deleting: guards, incomplete listings, unusable archives, flows that change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from tests.tasks import TaskInstance
from tests.unit.cleanup.support import (
    Vi,
    archived,
    archives,
    before_the_deletes,
    counts,
    operator,
    outcomes,
    run,
)
from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.cleanup import archive
from vi_airflow_provider.cleanup import report as report_module
from vi_airflow_provider.cleanup.archive import ArchiveError
from vi_airflow_provider.cleanup.report import PruneError
from vi_airflow_provider.storage import files

# --- guards --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("guard", "message"),
    [
        ({"max_delete": 5}, "{n} of 40 flows are selected, more than max_delete (5). Nothing was deleted."),
        ({"max_delete": 0}, "{n} of 40 flows are selected, more than max_delete (0). Nothing was deleted."),
        (
            {"max_delete_fraction": 0.125},
            "{n} of 40 flows are selected, a larger fraction than max_delete_fraction (0.125) allows. "
            "Nothing was deleted.",
        ),
        (
            {"older_than": "PT0S"},
            "40 of 40 flows are selected, a larger fraction than max_delete_fraction (0.5) allows. "
            "Nothing was deleted.",
        ),
    ],
    ids=["max_delete", "max_delete 0", "fraction", "default fraction"],
)
def test_guard_fails_the_task_with_the_numbers_before_the_archive(
    guard: dict[str, Any], message: str, vi: Vi, for_real: dict[str, Any], folder: Path
) -> None:
    with pytest.raises(AirflowFailException) as raised:
        run(operator(**{**for_real, **guard}))
    assert str(raised.value) == message.format(n=len(vi.stale()))
    assert not folder.exists()
    assert vi.sent() == ["GET *"] * 4


@pytest.mark.vi_emulator(flows=200)
def test_more_than_fifty_flows_are_refused_by_default(vi: Vi, for_real: dict[str, Any]) -> None:
    stale = len(vi.stale())
    assert stale > 50
    with pytest.raises(AirflowFailException, match=rf"{stale} of 200 .* max_delete \(50\)"):
        run(operator(**for_real))
    assert run(operator(**for_real, max_delete=stale))["deleted"] == stale


def test_guard_at_its_limit_accepts_the_plan(vi: Vi, for_real: dict[str, Any]) -> None:
    n = len(vi.stale())
    report = run(operator(**for_real, max_delete=n, max_delete_fraction=n / 40))
    assert report["deleted"] == n


@pytest.mark.vi_emulator(flows=100)
def test_fraction_is_compared_exactly(vi: Vi, for_real: dict[str, Any]) -> None:
    """As floats, 0.29 * 100 is less than 29."""
    ids = sorted(vi.flows)
    arguments = {**for_real, "older_than": "PT0S", "max_delete_fraction": 0.29, "concurrency": 1}
    report = run(operator(**{**arguments, "dry_run": True}, protect_ids=ids[29:]))
    assert (report["selected"], report["guard"]) == (29, None)
    assert run(operator(**{**arguments, "dry_run": True}, protect_ids=ids[30:]))["guard"]


# --- a listing that cannot be trusted ------------------------------------------------------------------------------

BROKEN_LISTINGS: Final[dict[str, dict[str, Any]]] = {
    "an error page": {"status": 200, "body": "<html>Sign in</html>", "content_type": "text/html"},
    "JSON without flows": {"status": 200, "body": '{"error": "x"}'},
    "an overloaded server": {"status": 503},
    "a permission that is missing": {"status": 403},
    "a cursor that is gone": {"status": 400},
    "a repeated cursor": {"repeat_cursor": True},
    "a dropped connection": {"drop": True},
    "half a page": {"truncate": True},
    "an empty answer": {"status": 200, "body": ""},
    "null for items": {"status": 200, "body": '{"items": null, "nextPage": null}'},
    "an item that is no flow": {"status": 200, "body": '{"items": [{}], "nextPage": null}'},
}


@pytest.mark.parametrize(
    ("fault", "page"),
    # A first page has no cursor to repeat.
    [(fault, page) for fault in BROKEN_LISTINGS for page in (1, 2, 4) if (fault, page) != ("a repeated cursor", 1)],
)
def test_incomplete_listing_deletes_nothing(
    fault: str, page: int, vi: Vi, for_real: dict[str, Any], folder: Path
) -> None:
    before = vi.flows
    rule = vi.faults.add(path="/flows$", skip=page - 1 - (fault == "a repeated cursor"), **BROKEN_LISTINGS[fault])
    # All flows on the earlier pages are old enough.
    with pytest.raises((ViError, AirflowFailException)):
        run(operator(**{**for_real, "older_than": "PT0S", "max_delete_fraction": 1}))
    assert rule.fired == 1
    assert vi.flows == before
    assert not folder.exists()
    assert set(vi.sent()) == {"GET *"}


def test_flows_deleted_during_the_listing_do_no_harm(vi: Vi, for_real: dict[str, Any]) -> None:
    stale = vi.stale()
    vi.faults.add(path="/flows$", skip=1, times=2, delete_flows=3)
    run(operator(**for_real))
    assert vi.stale() == set()
    assert len(vi.flows) >= 40 - len(stale) - 6


# --- an archive that cannot be trusted -----------------------------------------------------------------------------


def test_archive_that_cannot_be_written_deletes_nothing(vi: Vi, tmp_path: Path) -> None:
    before = vi.flows
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ArchiveError, match="cannot be written"):
        run(operator(dry_run=False, archive_to=(tmp_path / "file" / "archive").as_uri()))
    assert vi.flows == before
    assert vi.sent("DELETE") == []


def test_folder_that_rendered_to_none_deletes_nothing(vi: Vi) -> None:
    """A template that rendered to None would be a folder of that name, wherever the worker runs."""
    with pytest.raises(AirflowFailException, match="archive_to: 'None' is given, or the template rendered to None"):
        run(operator(dry_run=False, archive_to="None"))
    assert vi.sent("DELETE") == []
    assert not Path("None").exists()


@pytest.mark.parametrize("damage", [b"", b"{}\n", b"\xff"], ids=["cut off", "other content", "garbage"])
def test_archive_that_reads_back_differently_deletes_nothing(
    damage: bytes, vi: Vi, for_real: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = vi.flows
    write = files.write_atomically

    def lose(path: Any, content: bytes) -> None:
        write(path, damage if path.name.endswith(".jsonl") else content)

    monkeypatch.setattr(archive, "write_atomically", lose)
    with pytest.raises(ArchiveError, match="does not match its manifest"):
        run(operator(**for_real))
    assert vi.flows == before
    assert archives(folder) == []


# --- between plan and delete ---------------------------------------------------------------------------------------


def test_flow_that_changed_since_the_plan_is_spared(
    vi: Vi, for_real: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = vi.stale()
    touched, respecified = sorted(stale)[:2]

    def colleague() -> None:
        vi.touch(touched)
        vi.store.patch_flow(respecified, {"spec": {"name": "In use again"}})

    before_the_deletes(monkeypatch, colleague)
    report = run(operator(**for_real))
    assert counts(report) == {"deleted": len(stale) - 2, "changed": 2}
    assert {flow_id for flow_id, outcome in outcomes(report).items() if outcome == "changed"} == {touched, respecified}
    assert {touched, respecified} <= set(vi.flows)
    assert not {f"DELETE {touched}", f"DELETE {respecified}"} & set(vi.sent())


def test_busy_flow_is_left_alone_and_not_a_failure(vi: Vi, for_real: dict[str, Any]) -> None:
    stale = vi.stale()
    busy = min(stale)
    vi.occupy(busy)
    report = run(operator(**for_real))
    assert counts(report) == {"deleted": len(stale) - 1, "busy": 1}
    assert outcomes(report)[busy] == "busy"
    assert vi.stale() == {busy}


def test_flow_deleted_since_the_plan_is_counted_as_absent(
    vi: Vi, for_real: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = vi.stale()
    gone = min(stale)
    before_the_deletes(monkeypatch, lambda: vi.store.delete_flow(gone))
    report = run(operator(**for_real))
    assert counts(report) == {"deleted": len(stale) - 1, "already_absent": 1}
    assert f"DELETE {gone}" not in vi.sent()


def test_flow_deleted_between_read_and_delete_is_absent(vi: Vi, for_real: dict[str, Any]) -> None:
    gone = min(vi.stale())
    vi.faults.add(method="DELETE", path=gone, status=404)
    assert outcomes(run(operator(**for_real)))[gone] == "already_absent"


@pytest.mark.parametrize(
    "fault",
    [{"status": 500}, {"status": 403}, {"drop": True}, {"status": 200, "body": "<html>", "method": "GET"}],
    ids=["500", "403", "dropped", "a web page"],
)
def test_failed_flow_is_named_and_does_not_stop_the_others(
    fault: dict[str, Any], vi: Vi, for_real: dict[str, Any], folder: Path
) -> None:
    stale = vi.stale()
    failing = min(stale)
    vi.faults.add(path=f"/flows/{failing}", **{"method": "DELETE", **fault})
    ti = TaskInstance()

    with pytest.raises(PruneError, match=f"1 flows could not be deleted: {failing}: Vi"):
        run(operator(**for_real), ti)

    assert vi.stale() == {failing}
    report = ti.pushed["report"]
    assert counts(report) == {"deleted": len(stale) - 1, "failed": 1}
    assert outcomes(report)[failing] == "failed"
    assert json.loads(next(folder.glob("*.report.json")).read_bytes())["failed"] == 1


def test_many_failures_are_counted_and_the_first_five_named(vi: Vi, for_real: dict[str, Any]) -> None:
    stale = len(vi.stale())
    vi.faults.add(method="DELETE", status=500, times=None)
    with pytest.raises(PruneError, match=rf"{stale} flows could not be deleted: .*; and {stale - 5} more$"):
        run(operator(**for_real))


def test_second_run_deletes_what_failed_in_the_first(vi: Vi, for_real: dict[str, Any], folder: Path) -> None:
    stale = vi.stale()
    vi.faults.add(method="DELETE", status=500, times=3)
    with pytest.raises(PruneError):
        run(operator(**for_real))
    assert len(vi.stale()) == 3
    assert counts(run(operator(**for_real))) == {"deleted": 3}
    assert run(operator(**for_real))["selected"] == 0
    assert set(archived(folder)) == stale


def test_xcom_is_bounded_and_the_file_is_complete(
    vi: Vi, for_real: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_module, "MAX_LISTED", 5)
    stale = len(vi.stale())
    report = run(operator(**for_real))
    assert (len(report["outcomes"]), report["outcomes_omitted"]) == (5, stale - 5)
    assert report["deleted"] == stale
    assert len(json.loads(next(folder.glob("*.report.json")).read_bytes())["outcomes"]) == stale


def test_retried_delete_spares_an_edit_made_meanwhile(
    vi: Vi, for_real: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = {"max_retries": 3, "max_retry_delay": 0.01}
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", json.dumps({**vi.emulator.connection, "extra": patient}))
    edited, stale = min(vi.stale()), vi.stale()
    vi.faults.add(method="DELETE", path=edited, status=503)
    request_log = vi.emulator._backend.request_log
    record = request_log.record

    def noticed(*arguments: Any) -> Any:
        recorded = record(*arguments)
        if recorded.method == "DELETE" and recorded.path.endswith(edited):
            vi.touch(edited)
        return recorded

    monkeypatch.setattr(request_log, "record", noticed)
    report = run(operator(**for_real))
    assert outcomes(report)[edited] == "changed"
    assert counts(report) == {"deleted": len(stale) - 1, "changed": 1}
    assert vi.sent("DELETE").count(f"DELETE {edited}") == 1
