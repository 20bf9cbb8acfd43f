"""PruneFlowsOperator against the emulator: it deletes only what was selected, and archives it first."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from tests.tasks import TaskInstance
from tests.unit.cleanup.support import OLD, Vi, archived, archives, outcomes, run, when
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.cleanup import archive, destination
from vi_airflow_provider.cleanup import report as report_module
from vi_airflow_provider.cleanup.archive import ArchiveError, read_archive, write_archive
from vi_airflow_provider.cleanup.report import PruneError
from vi_airflow_provider.operators.flows import PruneFlowsOperator, RestoreFlowsOperator
from vi_airflow_provider.storage import files

COUNTS: Final = ("deleted", "changed", "busy", "already_absent", "failed")


def operator(**arguments: Any) -> PruneFlowsOperator:
    """A task with a policy of 90 days, unless the arguments differ."""
    defaults = {"task_id": "prune", "older_than": OLD} if "plan" not in arguments else {"task_id": "prune"}
    return PruneFlowsOperator(**{**defaults, **arguments})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the archives."""
    return tmp_path / "archive"


@pytest.fixture
def for_real(folder: Path) -> dict[str, Any]:
    """The arguments of a task that deletes."""
    return {"dry_run": False, "archive_to": folder.as_uri()}


def counts(report: dict[str, Any]) -> dict[str, int]:
    """The counts that are not zero."""
    return {name: report[name] for name in COUNTS if report[name]}


def listing(requests: list[str]) -> list[str]:
    return [request for request in requests if request == "GET *"]


# --- dry run -------------------------------------------------------------------------------------------------------


def test_dry_run_is_the_default_and_only_reads(vi: Vi, folder: Path) -> None:
    before = vi.flows
    report = run(operator(archive_to=folder.as_uri()))

    assert vi.sent() == ["GET *"] * 4
    assert vi.flows == before
    assert not folder.exists()
    assert outcomes(report) == dict.fromkeys(vi.stale(), "would_delete")
    assert (report["dry_run"], report["archive"], report["report"], report["guard"]) == (True, None, None, None)
    assert (report["total"], report["selected"], counts(report)) == (40, len(vi.stale()), {})


def test_dry_run_reports_that_a_guard_would_refuse_it(vi: Vi) -> None:
    selected = len(vi.stale())
    report = run(operator(max_delete=1))
    assert report["guard"] == f"{selected} of 40 flows are selected, more than max_delete (1)."
    assert len(report["outcomes"]) == selected


def test_report_lists_versions_of_flows_oldest_first(vi: Vi) -> None:
    listed = run(operator())["outcomes"]
    assert [outcome["last_updated"] for outcome in listed] == sorted(outcome["last_updated"] for outcome in listed)
    wire = vi.store.get_flow(listed[0]["flow_id"])
    assert listed[0] == {
        "flow_id": wire["flowId"],
        "name": wire["spec"]["name"],
        "etag": wire["etag"],
        "last_updated": wire["metadata"]["lastUpdated"],
        "outcome": "would_delete",
        "reason": "last_updated longer ago than 90 days",
    }


@pytest.fixture
def task_log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The log records of the task."""
    caplog.set_level(logging.INFO, "vi_airflow_provider.cleanup")
    return caplog


def test_log_has_a_line_for_each_selected_flow(vi: Vi, task_log: pytest.LogCaptureFixture) -> None:
    vi.store.patch_flow(min(vi.stale()), {"spec": {"name": "Two\nlines"}})
    run(operator(older_than="PT0S"))
    lines = [line for line in task_log.text.splitlines() if line.startswith("would_delete")]
    assert len(lines) == 40
    for flow_id, wire in vi.flows.items():
        name = " ".join(wire["spec"]["name"].split())[:40]
        assert sum(flow_id in line and name in line for line in lines) == 1


def test_first_line_of_a_dry_run_has_all_numbers(vi: Vi, task_log: pytest.LogCaptureFixture) -> None:
    kept = sorted(vi.stale())[:2]
    run(operator(protect_ids=kept, name_pattern="*[!3]"))
    decided = [flow for flow in vi.flows.values() if not flow["spec"]["name"].endswith("3")]
    stale = [flow for flow in decided if flow["flowId"] in vi.stale()]
    first = next(record for record in task_log.records if record.name.startswith("vi_airflow_provider")).getMessage()
    spared = sum(flow["flowId"] in kept for flow in stale)
    assert first == (
        f"Dry run: nothing is deleted. 40 flows: {len(stale) - spared} selected, {spared} spared "
        f"({spared} protected by its id), {len(decided) - len(stale)} not old enough, "
        f"{40 - len(decided)} out of scope."
    )


def test_dry_run_warns_of_what_a_guard_would_refuse(vi: Vi, task_log: pytest.LogCaptureFixture) -> None:
    run(operator(max_delete=1))
    (warning,) = [record for record in task_log.records if record.levelname == "WARNING"]
    assert "a guard would refuse this" in warning.getMessage()
    assert "more than max_delete (1)" in warning.getMessage()


def test_spared_flows_are_listed_with_their_rule(vi: Vi, task_log: pytest.LogCaptureFixture) -> None:
    flow_id = min(vi.stale())
    name = vi.flows[flow_id]["spec"]["name"]
    report = run(operator(protect_ids=[flow_id]))
    assert report["spared_flows"] == [{"flow_id": flow_id, "name": name, "reason": "protected by its id"}]
    assert (report["spared"], report["spared_omitted"]) == (1, 0)
    (line,) = [line for line in task_log.text.splitlines() if line.startswith("spared ")]
    assert line.index(flow_id) < line.index("protected by its id") < line.index(name)


def test_table_has_the_reason_before_the_name(vi: Vi, task_log: pytest.LogCaptureFixture) -> None:
    run(operator())
    lines = [line for line in task_log.text.splitlines() if line.startswith("would_delete")]
    assert all("  last_updated longer ago than 90 days  " in line for line in lines)


def test_rule_that_matches_no_flow_is_logged_and_reported(
    vi: Vi, for_real: dict[str, Any], task_log: pytest.LogCaptureFixture
) -> None:
    report = run(operator(**for_real, protect_names=["prod-?"]))
    assert report["unmatched"] == ["protect_names: prod-?"]
    assert report["deleted"] == report["selected"] > 0
    assert "No flow matches protect_names: prod-?." in task_log.text


def test_rule_that_matches_no_flow_fails_the_task_if_asked_to(vi: Vi, for_real: dict[str, Any]) -> None:
    arguments = {"protect_attributes": {"keep": "yess"}, "protect_unmatched": "fail"}
    with pytest.raises(AirflowFailException, match=r"1 rules match no flow \(protect_attributes: keep=yess\)"):
        run(operator(**for_real, **arguments))
    assert vi.sent("DELETE") == []
    assert "1 rules match no flow" in run(operator(**arguments))["guard"]


def test_policy_that_selects_nothing_succeeds_and_writes_nothing(
    vi: Vi, for_real: dict[str, Any], folder: Path
) -> None:
    report = run(operator(**{**for_real, "older_than": "P9000D"}))
    assert (report["selected"], report["archive"], counts(report)) == (0, None, {})
    assert not folder.exists()
    assert vi.sent("DELETE") == []


# --- for real ------------------------------------------------------------------------------------------------------


def test_exactly_the_selected_flows_are_deleted(vi: Vi, for_real: dict[str, Any]) -> None:
    before, stale = vi.flows, vi.stale()
    report = run(operator(**for_real))
    assert vi.flows == {flow_id: flow for flow_id, flow in before.items() if flow_id not in stale}
    assert outcomes(report) == dict.fromkeys(stale, "deleted")
    assert counts(report) == {"deleted": len(stale)}
    assert report["selected"] == len(stale)


def test_flows_spared_by_a_rule_are_counted(vi: Vi, for_real: dict[str, Any]) -> None:
    kept = sorted(vi.stale())[:3]
    report = run(operator(**for_real, protect_ids=kept))
    assert report["spared"] == 3
    assert set(kept) <= set(vi.flows)


def test_archive_is_verified_before_the_first_delete(
    vi: Vi, for_real: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, stale = vi.flows, vi.stale()
    found: dict[str, Any] = {}
    look = lambda: found.update(files=archived(folder), deletes=vi.sent("DELETE"))  # noqa: E731
    monkeypatch.setattr(AsyncViClient, "delete_flow_if", when(AsyncViClient.delete_flow_if, look))

    report = run(operator(**for_real))

    assert found["deletes"] == []
    assert {flow_id: flow.to_wire() for flow_id, flow in found["files"].items()} == {i: before[i] for i in stale}
    assert [Path(uri).name for uri in archives(folder)] == [Path(report["archive"]).name]


def test_every_flow_is_read_again_before_it_is_deleted(vi: Vi, for_real: dict[str, Any]) -> None:
    run(operator(**for_real))
    sent = vi.sent()
    deletes = [request for request in sent if request.startswith("DELETE")]
    assert deletes
    for delete in deletes:
        assert sent.index(delete.replace("DELETE", "GET")) < sent.index(delete)
    assert sent[:4] == listing(sent) == ["GET *"] * 4


def test_manifest_contains_count_organization_and_policy(vi: Vi, for_real: dict[str, Any], folder: Path) -> None:
    run(operator(**for_real, protect_names=["keep-*"]))
    (path,) = folder.glob("*.manifest.json")
    manifest = json.loads(path.read_bytes())
    assert manifest["count"] == len((folder / manifest["file"]).read_bytes().splitlines())
    assert manifest["organization_id"] == vi.emulator.organization_id
    assert (manifest["policy"]["older_than"], manifest["policy"]["protect_names"]) == (OLD, ["keep-*"])


def test_report_is_also_a_file_beside_the_archive(vi: Vi, for_real: dict[str, Any], folder: Path) -> None:
    report = run(operator(**for_real))
    (path,) = folder.glob("*.report.json")
    assert report["report"] == path.as_uri()
    assert report["report"] == report["archive"].replace(".flows.jsonl", ".report.json")
    written = json.loads(path.read_bytes())
    assert written == {name: report[name] for name in written}
    assert written["outcomes"]


def test_report_that_cannot_be_written_does_not_fail_the_task(
    vi: Vi, for_real: dict[str, Any], monkeypatch: pytest.MonkeyPatch, task_log: pytest.LogCaptureFixture
) -> None:
    write = files.write_atomically

    def full(path: Any, content: bytes) -> None:
        if path.name.endswith(".report.json"):
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(report_module, "write_atomically", full)
    stale = vi.stale()
    report = run(operator(**for_real))
    assert (report["deleted"], report["report"]) == (len(stale), None)
    assert "No space left on device" in task_log.text


def test_delete_without_an_archive_must_be_allowed_explicitly(vi: Vi) -> None:
    stale = vi.stale()
    with pytest.raises(AirflowFailException, match="archive_to: give a folder"):
        run(operator(dry_run=False))
    assert vi.sent() == []

    report = run(operator(dry_run=False, allow_unarchived=True))
    assert (report["archive"], report["report"], counts(report)) == (None, None, {"deleted": len(stale)})


@pytest.mark.parametrize("folder", ["", None])
@pytest.mark.parametrize("allow", [False, "True", 1])
def test_only_the_boolean_true_allows_a_delete_without_an_archive(vi: Vi, folder: str | None, allow: Any) -> None:
    with pytest.raises(AirflowFailException, match="archive_to"):
        run(operator(dry_run=False, archive_to=folder, allow_unarchived=allow))
    assert vi.sent() == []


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
    with pytest.raises(AirflowFailException, match="archive_to: the template rendered to None"):
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


def before_the_deletes(monkeypatch: pytest.MonkeyPatch, do: Any) -> None:
    """Let something happen after the plan is made, before anything is archived or deleted."""
    monkeypatch.setattr(destination, "write_archive", when(write_archive, do))


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


# --- a plan that was made before -----------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["report", "outcomes"])
def test_exactly_the_flows_of_a_given_plan_are_deleted(
    part: str, vi: Vi, for_real: dict[str, Any], folder: Path
) -> None:
    before, stale = vi.flows, vi.stale()
    made = run(operator())
    vi.emulator.clear_requests()
    report = run(operator(plan=made if part == "report" else made["outcomes"], **for_real))

    assert set(before) - set(vi.flows) == stale
    assert {flow_id: flow.to_wire() for flow_id, flow in archived(folder).items()} == {i: before[i] for i in stale}
    assert listing(vi.sent()) == []
    assert {outcome["reason"] for outcome in report["outcomes"]} == {"last_updated longer ago than 90 days"}


def test_some_outcomes_of_a_report_are_a_plan(vi: Vi, for_real: dict[str, Any]) -> None:
    some = run(operator())["outcomes"][2:5]
    before = set(vi.flows)
    assert counts(run(operator(plan=some, **for_real))) == {"deleted": 3}
    assert before - set(vi.flows) == {outcome["flow_id"] for outcome in some}


def test_changed_and_absent_flows_of_a_given_plan_are_not_archived(
    vi: Vi, for_real: dict[str, Any], folder: Path, task_log: pytest.LogCaptureFixture
) -> None:
    made = run(operator())
    changed, gone, *rest = sorted(vi.stale())
    vi.touch(changed)
    vi.store.delete_flow(gone)
    report = run(operator(plan=made, **for_real))
    assert f"Given plan: {len(rest)} selected, 0 spared, 2 changed or absent since it was made." in task_log.text
    assert counts(report) == {"deleted": len(rest), "changed": 1, "already_absent": 1}
    assert report["selected"] == made["selected"]
    assert changed in vi.flows
    assert set(archived(folder)) == set(rest)


def test_flow_that_changes_during_a_given_plan_is_spared(
    vi: Vi, for_real: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, touched = run(operator()), min(vi.stale())
    before_the_deletes(monkeypatch, lambda: vi.touch(touched))
    assert outcomes(run(operator(plan=made, **for_real)))[touched] == "changed"
    assert touched in vi.flows


def test_plan_of_another_organization_is_refused(vi: Vi, for_real: dict[str, Any]) -> None:
    made = run(operator())
    made["organization_id"] = "another-organization"
    vi.emulator.clear_requests()
    with pytest.raises(AirflowFailException, match="about the organization 'another-organization', and the connection"):
        run(operator(plan=made, **for_real))
    assert vi.sent() == []


def test_protections_apply_to_a_given_plan(vi: Vi, for_real: dict[str, Any], folder: Path) -> None:
    """They may have been added since it was made."""
    made, kept = run(operator()), min(vi.stale())
    report = run(operator(plan=made, **for_real, protect_ids=[kept]))
    assert report["spared_flows"][0]["flow_id"] == kept
    assert kept in vi.flows
    assert kept not in archived(folder)
    assert report["deleted"] == made["selected"] - 1


def test_given_plan_can_be_tried_in_a_dry_run(vi: Vi) -> None:
    made = run(operator())
    again = run(operator(plan=made))
    assert again["dry_run"] is True
    assert outcomes(again) == outcomes(made)
    assert vi.sent("DELETE") == []


@pytest.mark.parametrize(
    ("guard", "words"),
    [({"max_delete": 2}, r"more than max_delete \(2\)"), ({"max_delete_fraction": 0.1}, r"of 40 .* \(0.1\)")],
    ids=["max_delete", "fraction"],
)
def test_guards_apply_to_a_given_report(guard: dict[str, Any], words: str, vi: Vi, for_real: dict[str, Any]) -> None:
    """A dry run only reports that a guard would refuse it; passing its plan on must not bypass the guard."""
    made = run(operator())
    with pytest.raises(AirflowFailException, match=words):
        run(operator(plan=made, **for_real, **guard))
    assert vi.sent("DELETE") == []


def test_plan_with_omitted_outcomes_is_refused(vi: Vi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_module, "MAX_LISTED", 5)
    made = run(operator())
    vi.emulator.clear_requests()
    with pytest.raises(AirflowFailException, match=f"does not list {len(vi.stale()) - 5} of its flows"):
        run(operator(plan=made, dry_run=False, allow_unarchived=True))
    assert vi.sent() == []


# --- concurrency ---------------------------------------------------------------------------------------------------


@pytest.fixture
def in_flight(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of requests in flight, recorded with each request."""
    seen: list[int] = []
    current = 0
    send = AsyncViClient._send

    async def counted(client: AsyncViClient, step: Any) -> Any:
        nonlocal current
        current += 1
        seen.append(current)
        try:
            return await send(client, step)
        finally:
            current -= 1

    monkeypatch.setattr(AsyncViClient, "_send", counted)
    return seen


@pytest.mark.vi_emulator(flows=40, latency_ms=5)
@pytest.mark.parametrize(("arguments", "most"), [({"concurrency": 1}, 1), ({}, 4), ({"concurrency": "7"}, 7)], ids=str)
def test_concurrency_limits_the_requests_in_flight(
    arguments: dict[str, Any], most: int, vi: Vi, for_real: dict[str, Any], in_flight: list[int]
) -> None:
    stale = len(vi.stale())
    assert run(operator(**for_real, **arguments))["deleted"] == stale
    assert len(in_flight) == 2 * stale
    assert max(in_flight) == most


@pytest.mark.vi_emulator(flows=60, latency_ms=50)
def test_concurrent_deletes_are_faster(vi: Vi, in_flight: list[int]) -> None:
    def seconds(concurrency: int) -> float:
        vi.emulator.reset(flows=60, latency_ms=50)
        spared = sorted(vi.flows, key=lambda flow_id: vi.flows[flow_id]["metadata"]["lastUpdated"])[50:]
        prune = operator(
            **{"older_than": "PT0S", "max_delete_fraction": 1, "protect_ids": spared, "page_size": 60},
            **{"dry_run": False, "allow_unarchived": True, "concurrency": concurrency},
        )
        began = time.perf_counter()
        report = run(prune)
        took = time.perf_counter() - began
        assert report["deleted"] == 50
        return took

    sequential, parallel = seconds(1), seconds(8)
    assert parallel < sequential * 2 / 3
    assert max(in_flight) == 8


# --- values and errors ---------------------------------------------------------------------------------------------


def test_values_may_be_rendered_texts(vi: Vi, folder: Path) -> None:
    stale = vi.stale()
    report = run(
        operator(
            **{"dry_run": "False", "max_delete": "50", "max_delete_fraction": "0.5", "concurrency": "2"},
            **{"keep_last": "0", "page_size": "7", "archive_to": folder.as_uri()},
        )
    )
    assert report["deleted"] == len(stale)
    assert vi.emulator.requests[0].params["s"] == "7"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dry_run": "maybe"}, "dry_run: 'maybe' is not true or false"),
        ({"dry_run": None}, "dry_run"),
        ({"dry_run": "None"}, "dry_run"),
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": "many"}, "concurrency"),
        ({"max_delete": None}, "max_delete"),
        ({"max_delete": -1}, "max_delete"),
        ({"max_delete": "all"}, "max_delete"),
        ({"max_delete_fraction": 1.5}, "max_delete_fraction"),
        ({"max_delete_fraction": "half"}, "max_delete_fraction"),
        ({"max_delete_fraction": "1/0"}, "max_delete_fraction"),
        ({"max_delete_fraction": float("nan")}, "max_delete_fraction"),
        ({"max_delete_fraction": None}, "max_delete_fraction"),
        ({"older_than": "90 days ago"}, "older_than"),
        ({"older_than": None}, "give older_than"),
        ({"keep_last": "-1"}, "keep_last"),
        ({"protect_ids": "abc"}, "protect_ids"),
        ({"plan": "{'outcomes': []}"}, "plan"),
        ({"plan": ""}, "plan"),
        ({"plan": {}}, "plan"),
    ],
    ids=str,
)
def test_unusable_value_fails_without_retries_or_requests(arguments: dict[str, Any], words: str, vi: Vi) -> None:
    with pytest.raises(AirflowFailException, match=words):
        run(operator(**{"dry_run": False, "allow_unarchived": True, **arguments}))
    assert vi.sent() == []


@pytest.mark.parametrize(("status", "name"), [(401, "ViAuthenticationError"), (403, "ViPermissionError")])
def test_permanent_error_fails_the_task_without_retries(status: int, name: str, vi: Vi) -> None:
    vi.faults.add(status=status)
    with pytest.raises(AirflowFailException, match=name):
        run(operator())


# --- SIGKILL, and a retry ------------------------------------------------------------------------------------------

TASK: Final = """
import json
import sys
from tests.tasks import TaskInstance
from vi_airflow_provider.operators.flows import PruneFlowsOperator
PruneFlowsOperator(
    task_id="prune", dry_run=False, archive_to=sys.argv[1], concurrency=2, **json.loads(sys.argv[2])
).execute({"ti": TaskInstance()})
"""


def kill_amid_the_deletes(vi: Vi, folder: Path, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a task in a process, and kill it when it has deleted six flows."""
    # Six deletes are let through; those after them hang, until the client is killed.
    vi.faults.add(method="DELETE", skip=6, times=None, latency_ms=600_000)
    hangs = threading.Event()
    request_log = vi.emulator._backend.request_log
    record = request_log.record

    def watched(*arguments: Any) -> Any:
        recorded = record(*arguments)
        if len(vi.sent("DELETE")) > 6:
            hangs.set()
        return recorded

    monkeypatch.setattr(request_log, "record", watched)
    before = len(vi.flows)
    command = [sys.executable, "-W", "ignore", "-c", TASK, folder.as_uri(), json.dumps(arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as task:  # noqa: S603
        if not hangs.wait(120):
            task.kill()
            pytest.fail(task.communicate()[0].decode())
        task.send_signal(signal.SIGKILL)
        task.communicate()
    assert task.returncode == -signal.SIGKILL
    assert before - len(vi.flows) == 6
    vi.faults.clear()


def test_retry_after_a_kill_completes_the_cleanup(
    vi: Vi, for_real: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, stale = vi.flows, vi.stale()
    kill_amid_the_deletes(vi, folder, {"older_than": OLD}, monkeypatch)
    assert set(archived(folder)) == stale
    (first,) = archives(folder)

    report = run(operator(**for_real), TaskInstance(try_number=2))

    assert counts(report) == {"deleted": len(stale) - 6}
    assert vi.flows == {flow_id: flow for flow_id, flow in before.items() if flow_id not in stale}
    assert len(archives(folder)) == 2
    assert {flow_id: flow.to_wire() for flow_id, flow in archived(folder).items()} == {i: before[i] for i in stale}
    assert [Path(uri).name for uri in report["earlier_archives"]] == [Path(first).name]


def test_retry_with_a_plan_reports_the_archive_of_the_killed_try(
    vi: Vi, for_real: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = vi.flows
    plan = run(operator())["outcomes"]
    kill_amid_the_deletes(vi, folder, {"plan": plan}, monkeypatch)

    report = run(operator(**for_real, plan=plan), TaskInstance(try_number=2))

    assert counts(report) == {"already_absent": 6, "deleted": len(plan) - 6}
    (first,) = report["earlier_archives"]
    absent = {flow_id for flow_id, outcome in outcomes(report).items() if outcome == "already_absent"}
    assert absent == before.keys() - vi.flows.keys() - {flow.flow_id for flow in read_archive(report["archive"])}
    assert absent <= {flow.flow_id for flow in read_archive(first)}


@pytest.mark.parametrize(
    ("other", "earlier"),
    [({"try_number": 2}, 1), ({}, 0), ({"try_number": 2, "map_index": 3}, 0), ({"try_number": 2, "run_id": "r"}, 0)],
    ids=str,
)
def test_earlier_archives_are_those_of_the_same_task_instance(
    other: dict[str, Any], earlier: int, vi: Vi, for_real: dict[str, Any]
) -> None:
    assert run(operator(**for_real))["earlier_archives"] == []
    assert len(run(operator(**for_real), TaskInstance(**other))["earlier_archives"]) == earlier


# --- size ----------------------------------------------------------------------------------------------------------


@pytest.mark.vi_emulator(flows=1100)
def test_eleven_hundred_flows_are_deleted_and_restored(vi: Vi, for_real: dict[str, Any]) -> None:
    before = vi.flows
    report = run(
        operator(
            **{**for_real, "older_than": "PT0S", "max_delete": 1100, "max_delete_fraction": 1},
            **{"concurrency": 8, "page_size": 1000, "protect_ids": vi.store.busy_flow_ids()},
        )
    )
    assert (report["deleted"], len(report["outcomes"]), report["outcomes_omitted"]) == (1098, 1000, 98)
    assert len(vi.flows) == 2

    restored = run(RestoreFlowsOperator(task_id="restore", archive=report["archive"]))
    assert len(restored) == 1098
    after = vi.flows
    assert {i: flow["spec"] for i, flow in after.items()} == {i: flow["spec"] for i, flow in before.items()}
