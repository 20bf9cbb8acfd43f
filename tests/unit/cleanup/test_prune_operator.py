"""PruneFlowsOperator against the emulator: it deletes only what was selected, and archives it first."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from tests.unit.cleanup.support import (
    OLD,
    Vi,
    archived,
    archives,
    counts,
    listing,
    operator,
    outcomes,
    run,
    when,
)
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.cleanup import report as report_module
from vi_airflow_provider.operators.flows import RestoreFlowsOperator
from vi_airflow_provider.storage import files

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
        "reason": "last_updated at least 90 days ago",
    }


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
        f"({spared} protected by id), {len(decided) - len(stale)} not old enough, "
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
    assert report["spared_flows"] == [{"flow_id": flow_id, "name": name, "reason": "protected by id"}]
    assert (report["spared"], report["spared_omitted"]) == (1, 0)
    (line,) = [line for line in task_log.text.splitlines() if line.startswith("spared ")]
    assert line.index(flow_id) < line.index("protected by id") < line.index(name)


def test_table_has_the_reason_before_the_name(vi: Vi, task_log: pytest.LogCaptureFixture) -> None:
    run(operator())
    lines = [line for line in task_log.text.splitlines() if line.startswith("would_delete")]
    assert all("  last_updated at least 90 days ago  " in line for line in lines)


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
    with pytest.raises(AirflowFailException, match=r"archive_to: |allow_unarchived: "):
        run(operator(dry_run=False, archive_to=folder, allow_unarchived=allow))
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
