"""The export as a task: what it is compared with, and what drift does."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath
from requests_mock import Mocker

from tests.documents import wire_flow
from tests.tasks import FLOWS, TaskInstance, plain
from tests.unit.audit.support import YESTERDAY, export, flow, ids, run
from vi_airflow_provider.audit.listing import Listing
from vi_airflow_provider.audit.manifest import ExportError
from vi_airflow_provider.audit.verification import verify
from vi_airflow_provider.storage import manifest as manifests
from vi_airflow_provider.storage.files import open_to_read

DIFFERENCE: Final = {"added": 1, "removed": 1, "changed": 1}


def difference(result: dict[str, Any]) -> dict[str, Any]:
    return {name: result[name] for name in ("added", "removed", "changed")}


@pytest.mark.parametrize("old", ["2026-06-30.jsonl", "2026-06-30.jsonl.gz"])
@pytest.mark.parametrize("by_name", [True, False], ids=["URI", "previous"])
@pytest.mark.usefixtures("vi")
def test_export_is_compared_with_the_previous_one(by_name: bool, old: str, tmp_path: Path) -> None:
    uri = (tmp_path / old).as_uri()
    export(uri, YESTERDAY)
    result = run(tmp_path / "2026-07-01.jsonl", compare_to=uri if by_name else "previous")
    assert difference(result) == DIFFERENCE


@pytest.mark.parametrize("fail_on_drift", [True, False])
@pytest.mark.usefixtures("vi")
def test_first_export_has_nothing_to_compare_with_and_no_drift(fail_on_drift: bool, tmp_path: Path) -> None:
    result = run(tmp_path / "flows.jsonl", compare_to="previous", fail_on_drift=fail_on_drift)
    assert difference(result) == dict.fromkeys(DIFFERENCE)


@pytest.mark.usefixtures("vi")
def test_exports_in_dated_folders_are_compared_through_their_parent(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    export(str(tmp_path / "2026-06-30" / "flows.jsonl"), YESTERDAY)
    target = tmp_path / "2026-07-01" / "flows.jsonl"
    assert difference(run(target, compare_to="previous")) == dict.fromkeys(DIFFERENCE)
    assert f"Nothing to compare with: {target.parent}/ has no earlier jsonl export of this organization" in log.text
    assert difference(run(target, compare_to=f"{tmp_path}/")) == DIFFERENCE
    assert f"Comparing with {tmp_path}/2026-06-30/flows.jsonl" in log.text


@pytest.mark.usefixtures("vi")
def test_drift_is_reported_again_when_the_failed_task_is_rerun(tmp_path: Path) -> None:
    export(str(tmp_path / "2026-06-30.jsonl"), YESTERDAY)
    for _ in range(2):
        with pytest.raises(AirflowFailException, match=r"differ from .*2026-06-30\.jsonl: 1 added"):
            run(tmp_path / "2026-07-01.jsonl", compare_to="previous", fail_on_drift=True)


@pytest.mark.usefixtures("vi")
def test_unchanged_flows_are_no_drift(tmp_path: Path) -> None:
    run(tmp_path / "1.jsonl")
    result = run(tmp_path / "2.jsonl", compare_to="previous", fail_on_drift=True)
    assert difference(result) == dict.fromkeys(DIFFERENCE, 0)


@pytest.mark.usefixtures("vi")
def test_export_that_replaces_a_file_is_compared_with_it(tmp_path: Path) -> None:
    export(str(tmp_path / "flows.jsonl"), YESTERDAY)
    assert difference(run(tmp_path / "flows.jsonl", compare_to="previous")) == DIFFERENCE
    assert difference(run(tmp_path / "flows.jsonl", compare_to="previous")) == dict.fromkeys(DIFFERENCE, 0)


@pytest.mark.usefixtures("vi")
def test_drift_fails_the_task_after_the_export_and_its_xcom(tmp_path: Path) -> None:
    export(str(tmp_path / "old.jsonl"), YESTERDAY)
    ti = TaskInstance()
    with pytest.raises(AirflowFailException, match=r"differ from .*old\.jsonl: 1 added, 1 removed, 1 changed"):
        run(tmp_path / "new.jsonl", {"ti": ti}, compare_to="previous", fail_on_drift=True)
    pushed = plain(ti.pushed["return_value"])
    assert difference(pushed) == DIFFERENCE
    assert verify(pushed["uri"]).sha256 == pushed["sha256"]


@pytest.mark.parametrize("damage", ["missing", "cut", "without manifest"])
def test_damaged_compare_to_fails_before_flows_are_read(damage: str, vi: Mocker, tmp_path: Path) -> None:
    old = tmp_path / "old.jsonl"
    export(str(old), YESTERDAY)
    if damage == "cut":
        old.write_bytes(old.read_bytes()[:-1])
    else:
        (old if damage == "missing" else tmp_path / "old.jsonl.manifest.json").unlink()
    with pytest.raises(ExportError, match=r"old\.jsonl"):
        run(tmp_path / "new.jsonl", compare_to=str(old))
    assert not vi.called
    assert not (tmp_path / "new.jsonl").exists()


@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_incomparable_compare_to_fails_before_flows_are_read(format_: str, vi: Mocker, tmp_path: Path) -> None:
    if format_ == "parquet":
        pytest.importorskip("pyarrow")
    old = tmp_path / f"old.{format_}"
    export(str(old), YESTERDAY, format_)
    with pytest.raises(ExportError, match=rf"old\.{format_} is a {format_} export; only jsonl can be compared"):
        run(tmp_path / "new.jsonl", compare_to=str(old))
    assert not vi.called


@pytest.mark.usefixtures("vi")
def test_compare_to_of_another_organization_is_a_warning(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    export(str(tmp_path / "ours.jsonl"), YESTERDAY)
    export(str(tmp_path / "theirs.jsonl"), YESTERDAY, organization_id="theirs")
    for old, warned in (("ours", False), ("theirs", True)):
        log.clear()
        assert difference(run(tmp_path / "new.jsonl", compare_to=str(tmp_path / f"{old}.jsonl"))) == DIFFERENCE
        assert ("theirs.jsonl is an export of another organization, 'theirs'" in log.text) == warned


# --- what a comparison is worth ------------------------------------------------------------------------------------


def test_flow_that_the_listing_lacks_is_not_reported_as_removed(vi: Mocker, tmp_path: Path) -> None:
    export(str(tmp_path / "old.jsonl"), [flow("hidden"), *YESTERDAY])
    vi.get(f"{FLOWS}/hidden", json=wire_flow(flowId="hidden"))
    result = run(tmp_path / "new.jsonl", compare_to="previous")
    assert difference(result) == DIFFERENCE
    assert ids(result["uri"]) == ["a", "b", "c", "hidden"]
    manifest = verify(result["uri"])
    assert (manifest.passes, manifest.late) == (2, 1)


@pytest.mark.parametrize(
    ("old", "new", "warned"),
    [
        ({}, {}, False),
        ({}, {"name_pattern": "weld"}, True),
        ({"name_pattern": "weld"}, {}, True),
        ({"older_than": "P90D"}, {"older_than": timedelta(days=90)}, False),
        ({"older_than": "90 days, 0:00:00"}, {"older_than": "P90D"}, False),
        ({"limit": 5}, {"limit": "5"}, False),
        ({"limit": 5}, {"limit": 6}, True),
        ({"unknown": 1}, {}, True),
    ],
)
@pytest.mark.usefixtures("vi")
def test_different_selections_are_a_warning_and_a_banner(
    old: dict[str, Any], new: dict[str, Any], warned: bool, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    export(str(tmp_path / "old.jsonl"), YESTERDAY, filters=old)
    run(tmp_path / "new.jsonl", compare_to="previous", html_report=True, **new)
    page = (tmp_path / "new.jsonl.report.html").read_text("utf-8")
    for text in (log.text, page):
        assert ("The exports have different selections" in text) == warned
    assert ("Not the whole organization." in page) == bool(new)


@pytest.mark.usefixtures("vi")
def test_drift_between_different_selections_says_so(tmp_path: Path) -> None:
    export(str(tmp_path / "old.jsonl"), YESTERDAY, filters={"name_pattern": "x"})
    with pytest.raises(AirflowFailException, match=r"1 changed\. The exports have different selections"):
        run(tmp_path / "new.jsonl", compare_to="previous", fail_on_drift=True)


class AccessDeniedError(Exception):
    """As a driver's own, which is no OSError."""


@pytest.mark.parametrize("unreadable", ["near.jsonl.manifest.json", "near.jsonl"])
@pytest.mark.usefixtures("vi")
def test_unreadable_neighbor_is_skipped_with_a_warning(
    unreadable: str, tmp_path: Path, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(str(tmp_path / "old.jsonl"), [])
    export(str(tmp_path / "near.jsonl"), YESTERDAY, created_at="2027-01-01")
    deny(unreadable, monkeypatch)
    run(tmp_path / "new.jsonl", compare_to="previous")
    assert "near.jsonl" in log.text
    assert "AccessDeniedError: no" in log.text
    assert f"Comparing with {tmp_path}/old.jsonl" in log.text


@pytest.mark.parametrize("fail_on_drift", [False, True])
def test_drift_check_does_not_pass_because_nothing_can_be_read(
    fail_on_drift: bool, vi: Mocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(str(tmp_path / "near.jsonl"), YESTERDAY)
    deny("near.jsonl", monkeypatch)
    if fail_on_drift:
        with pytest.raises(ExportError, match=r"damaged or cannot be read \(1\): .*near\.jsonl"):
            run(tmp_path / "new.jsonl", compare_to="previous", fail_on_drift=True)
        assert not vi.called
    else:
        assert difference(run(tmp_path / "new.jsonl", compare_to="previous")) == dict.fromkeys(DIFFERENCE)


@pytest.mark.parametrize("damaged", ["old.jsonl", "old.jsonl.manifest.json"])
def test_drift_check_does_not_pass_because_the_exports_are_damaged(damaged: str, vi: Mocker, tmp_path: Path) -> None:
    export(str(tmp_path / "old.jsonl"), YESTERDAY)
    content = (tmp_path / damaged).read_bytes()
    (tmp_path / damaged).write_bytes(content[: len(content) // 2])
    with pytest.raises(ExportError, match="all exports to compare with are damaged or cannot be read"):
        run(tmp_path / "new.jsonl", compare_to="previous", fail_on_drift=True)
    assert not vi.called


@pytest.mark.usefixtures("vi")
def test_manifest_of_something_else_is_no_damaged_export(tmp_path: Path) -> None:
    for name in ("weights.manifest.json", "flows.manifest.json"):
        (tmp_path / name).write_text("{}")
    assert run(tmp_path / "new.jsonl", compare_to="previous", fail_on_drift=True)["added"] is None


@pytest.mark.usefixtures("vi")
def test_export_that_is_replaced_during_the_listing_is_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = str(tmp_path / "old.jsonl")
    export(old, YESTERDAY)
    collect = Listing.collect

    def collect_and_replace(listing: Any) -> None:
        collect(listing)
        export(old, [flow("another")])

    monkeypatch.setattr(Listing, "collect", collect_and_replace)
    with pytest.raises(ExportError, match=r"old\.jsonl does not match its manifest"):
        run(tmp_path / "new.jsonl", compare_to=old)
    assert not (tmp_path / "new.jsonl").exists()


def deny(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the driver refuse to open a file."""
    opened = open_to_read

    def checked(path: ObjectStoragePath, *arguments: Any) -> Any:
        if path.name == name:
            raise AccessDeniedError("no")
        return opened(path, *arguments)

    monkeypatch.setattr(manifests, "open_to_read", checked)


@pytest.mark.parametrize("name", ["a[1]b", "[!x]", "a*", "größe", "{x,y}"])
@pytest.mark.usefixtures("vi")
def test_previous_export_is_found_in_a_folder_of_any_name(name: str, tmp_path: Path) -> None:
    export(f"{tmp_path}/{name}/old.jsonl", YESTERDAY)
    assert difference(run(f"{tmp_path}/{name}/new.jsonl", compare_to="previous")) == DIFFERENCE
    assert difference(run(f"{tmp_path}/other/new.jsonl", compare_to=f"{tmp_path}/{name}/")) != dict.fromkeys(DIFFERENCE)
