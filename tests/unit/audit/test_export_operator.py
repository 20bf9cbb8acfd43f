"""The export as a task: what it writes, returns and logs, what it compares with, and how it fails."""

from __future__ import annotations

import csv
import json
import logging
import os
import random
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from unittest.mock import MagicMock

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, Asset, ObjectStoragePath
from requests_mock import Mocker

from tests.documents import ORGANIZATION_ID, wire_flow, wire_page
from tests.tasks import FLOWS, TaskInstance, connection, plain
from tests.unit.audit.support import contents, export, files, flow
from vi_airflow_provider.api.errors import ViResponseError, ViServerError
from vi_airflow_provider.audit.lineage import dataset_name
from vi_airflow_provider.audit.writer import ExportError, read_export, verify
from vi_airflow_provider.operators import export as module
from vi_airflow_provider.operators.flows import ExportFlowsOperator

ROOT: Final = Path(__file__).resolve().parents[3]
ALL: Final = [
    wire_flow(flowId="c", spec__name="weld", metadata__lastUpdated=1),
    wire_flow(flowId="a", spec__name="paint"),
    wire_flow(flowId="b", spec__name="weld"),
]


@pytest.fixture(autouse=True)
def _connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", connection())


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the task logs; on Airflow 3 its own logger does not pass through `logging`."""
    monkeypatch.setattr(ExportFlowsOperator, "log", logging.getLogger("export"))
    caplog.set_level(logging.INFO)
    return caplog


@pytest.fixture
def vi(requests_mock: Mocker) -> Mocker:
    """Vi with three flows on two pages, one of them on both."""
    requests_mock.get(FLOWS, json=wire_page(*ALL[:2], nextPage="2"))
    requests_mock.get(f"{FLOWS}?p=2", json=wire_page(*ALL[1:]))
    return requests_mock


def run(destination: Path | str, context: dict[str, Any] | None = None, **arguments: Any) -> Any:
    """Execute, and check that the result can be an XCom."""
    task = ExportFlowsOperator(task_id="export", destination=str(destination), **arguments)
    return plain(task.execute(context if context is not None else {"ti": TaskInstance()}))


def ids(uri: str) -> list[str]:
    return [each.flow_id for each in read_export(uri)]


# --- what it writes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("format_", "suffix"), [("jsonl", ""), ("jsonl", ".gz"), ("csv", ""), ("parquet", "")])
@pytest.mark.usefixtures("vi")
def test_xcom_manifest_and_file_agree(format_: str, suffix: str, tmp_path: Path) -> None:
    if format_ == "parquet":
        pytest.importorskip("pyarrow")
    uri = (tmp_path / "2026" / f"flows.{format_}{suffix}").as_uri()
    result = run(uri, format=format_)
    manifest = verify(uri)
    assert result == {
        "uri": uri,
        "manifest_uri": f"{uri}.manifest.json",
        "report_uri": None,
        "count": manifest.count,
        "sha256": manifest.sha256,
        "added": None,
        "removed": None,
        "changed": None,
    }
    assert manifest.count == 3
    assert manifest.organization_id == ORGANIZATION_ID
    assert datetime.now(UTC) - datetime.fromisoformat(manifest.created_at) < timedelta(minutes=1)
    assert len(files(tmp_path / "2026")) == 2


def test_the_same_flows_in_another_order_give_the_same_bytes(vi: Mocker, tmp_path: Path) -> None:
    first = run(tmp_path / "1.jsonl")
    vi.get(FLOWS, json=wire_page(*sorted(ALL, key=lambda each: each["flowId"])))
    second = run(tmp_path / "2.jsonl")
    assert first["sha256"] == second["sha256"]
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "2.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("filters", "expected", "told"),
    [
        ({}, ["a", "b", "c"], {}),
        ({"name_pattern": "weld"}, ["b", "c"], {"name_pattern": "weld"}),
        ({"older_than": timedelta(days=9000)}, ["c"], {"older_than": "9000 days, 0:00:00"}),
        (
            {"updated_after": datetime(2026, 1, 1, tzinfo=UTC)},
            ["a", "b"],
            {"updated_after": "2026-01-01 00:00:00+00:00"},
        ),
        ({"name_pattern": "weld", "limit": "1"}, ["c"], {"name_pattern": "weld", "limit": "1"}),
        ({"limit": 0}, [], {"limit": 0}),
        ({"page_size": 7}, ["a", "b", "c"], {}),
    ],
)
@pytest.mark.usefixtures("vi")
def test_filters_select_as_in_a_list_and_are_in_the_manifest(
    filters: dict[str, Any], expected: list[str], told: dict[str, Any], tmp_path: Path
) -> None:
    uri = run(tmp_path / "flows.jsonl", **filters)["uri"]
    assert ids(uri) == expected
    assert verify(uri).filters == told


@pytest.mark.usefixtures("vi")
def test_destination_format_and_comparison_may_be_templates(tmp_path: Path) -> None:
    export(str(tmp_path / "old.jsonl"), [flow("a")])
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        task = ExportFlowsOperator(
            task_id="t",
            destination=f"{tmp_path}/{{{{ ds }}}}.jsonl",
            format="{{ params.format }}",  # type: ignore[arg-type]
            compare_to=f"{tmp_path}/{{{{ params.old }}}}.jsonl",
            fail_on_drift="{{ params.fail }}",  # type: ignore[arg-type]
            limit="{{ params.limit }}",  # type: ignore[arg-type]
        )
    task.render_template_fields(
        {"ds": "2026-07-01", "params": {"format": "jsonl", "old": "old", "fail": "False", "limit": "2"}}
    )
    result = task.execute({})
    assert result["uri"] == str(tmp_path / "2026-07-01.jsonl")
    assert (result["count"], result["added"]) == (2, 1)


# --- what it says --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("vi")
def test_a_long_export_says_how_far_it_is_and_how_fast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "PROGRESS", 2)
    run(tmp_path / "flows.jsonl")
    assert len(re.findall(r"\b[24] flows so far, [\d,]+ a second\.", log.text)) == 2
    assert re.search(r"3 flows exported: .*flows\.jsonl, sha256 [0-9a-f]{64}", log.text)


@pytest.mark.usefixtures("vi")
def test_a_diff_is_in_the_log_but_not_all_of_a_long_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MAX_LOGGED", 2)
    export(str(tmp_path / "old.jsonl"), [])
    run(tmp_path / "flows.jsonl", compare_to="previous")
    assert "3 added, 0 removed, 0 changed.\n+ a  paint\n+ b  weld" in log.text
    assert "+ c" not in log.text


@pytest.mark.usefixtures("vi")
def test_the_event_of_the_outlet_says_what_was_written(tmp_path: Path) -> None:
    asset = Asset(uri="file:///audit")
    events = MagicMock()  # no dict: an asset of Airflow 3.0 is no key of one
    result = run(tmp_path / "flows.jsonl", {"outlet_events": events}, outlets=[asset])
    events.__getitem__.assert_called_once_with(asset)
    assert events[asset].extra == {"uri": result["uri"], "count": 3, "sha256": result["sha256"]}


@pytest.mark.usefixtures("vi")
def test_openlineage_learns_what_was_read_and_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = ExportFlowsOperator(task_id="t", destination=f"{tmp_path}/flows.csv", format="csv")
    assert task.get_openlineage_facets_on_complete(None) is None
    result = task.execute({})
    # It looks nothing up, and calls nobody.
    monkeypatch.delenv("AIRFLOW_CONN_VI_DEFAULT")
    monkeypatch.setattr("socket.socket.connect", None)
    lineage = task.get_openlineage_facets_on_complete(None)
    (read,), (written,) = lineage.inputs, lineage.outputs
    assert (read.namespace, read.name) == (f"vi://{ORGANIZATION_ID}", "flows")
    assert (written.namespace, written.name) == ("file", f"{tmp_path}/flows.csv")
    assert written.facets["version"].datasetVersion == result["sha256"]
    assert [field.name for field in written.facets["schema"].fields][:2] == ["flow_id", "name"]
    statistics = written.outputFacets["outputStatistics"]
    assert (statistics.rowCount, statistics.size) == (3, (tmp_path / "flows.csv").stat().st_size)


@pytest.mark.parametrize(
    ("destination", "namespace", "name"),
    [
        ("file:///audit/flows.jsonl", "file", "/audit/flows.jsonl"),
        ("/audit/flows.jsonl", "file", "/audit/flows.jsonl"),
        ("s3://bucket/audit/flows.jsonl", "s3://bucket", "audit/flows.jsonl"),
        ("s3a://conn@bucket/audit/flows.jsonl", "s3://bucket", "audit/flows.jsonl"),
        ("gcs://conn@bucket/flows.jsonl", "gs://bucket", "flows.jsonl"),
    ],
)
def test_openlineage_names_a_file_by_its_convention(destination: str, namespace: str, name: str) -> None:
    assert dataset_name(ObjectStoragePath(destination)) == (namespace, name)


# --- what has changed ----------------------------------------------------------------------------------------------

YESTERDAY: Final = [flow("a", spec__name="paint"), flow("b", spec__name="brush"), flow("gone")]
DIFFERENCE: Final = {"added": 1, "removed": 1, "changed": 1}


def difference(result: dict[str, Any]) -> dict[str, Any]:
    return {name: result[name] for name in ("added", "removed", "changed")}


@pytest.mark.parametrize("old", ["2026-06-30.jsonl", "2026-06-30.jsonl.gz"])
@pytest.mark.parametrize("by_name", [True, False], ids=["URI", "previous"])
@pytest.mark.usefixtures("vi")
def test_an_export_is_compared_with_the_one_before(by_name: bool, old: str, tmp_path: Path) -> None:
    uri = (tmp_path / old).as_uri()
    export(uri, YESTERDAY)
    result = run(tmp_path / "2026-07-01.jsonl", compare_to=uri if by_name else "previous")
    assert difference(result) == DIFFERENCE


@pytest.mark.parametrize("fail_on_drift", [True, False])
@pytest.mark.usefixtures("vi")
def test_the_first_export_has_nothing_to_be_compared_with_and_no_drift(fail_on_drift: bool, tmp_path: Path) -> None:
    result = run(tmp_path / "flows.jsonl", compare_to="previous", fail_on_drift=fail_on_drift)
    assert difference(result) == dict.fromkeys(DIFFERENCE)


@pytest.mark.usefixtures("vi")
def test_exports_in_folders_of_their_dates_are_compared_below_the_folder_that_holds_them(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    export(str(tmp_path / "2026-06-30" / "flows.jsonl"), YESTERDAY)
    target = tmp_path / "2026-07-01" / "flows.jsonl"
    assert difference(run(target, compare_to="previous")) == dict.fromkeys(DIFFERENCE)
    assert (
        f"Nothing to compare with: there is no earlier jsonl export of this organization in {target.parent}/"
        in log.text
    )
    assert difference(run(target, compare_to=f"{tmp_path}/")) == DIFFERENCE
    assert f"Comparing with {tmp_path}/2026-06-30/flows.jsonl" in log.text


@pytest.mark.usefixtures("vi")
def test_drift_is_still_drift_when_the_failed_task_is_run_again(tmp_path: Path) -> None:
    export(str(tmp_path / "2026-06-30.jsonl"), YESTERDAY)
    for _ in range(2):
        with pytest.raises(AirflowFailException, match=r"differ from .*2026-06-30\.jsonl: 1 added"):
            run(tmp_path / "2026-07-01.jsonl", compare_to="previous", fail_on_drift=True)


@pytest.mark.usefixtures("vi")
def test_flows_that_have_not_changed_are_no_drift(tmp_path: Path) -> None:
    run(tmp_path / "1.jsonl")
    result = run(tmp_path / "2.jsonl", compare_to="previous", fail_on_drift=True)
    assert difference(result) == dict.fromkeys(DIFFERENCE, 0)


@pytest.mark.usefixtures("vi")
def test_an_export_at_the_place_of_the_old_one_is_compared_with_what_was_there(tmp_path: Path) -> None:
    export(str(tmp_path / "flows.jsonl"), YESTERDAY)
    assert difference(run(tmp_path / "flows.jsonl", compare_to="previous")) == DIFFERENCE
    assert difference(run(tmp_path / "flows.jsonl", compare_to="previous")) == dict.fromkeys(DIFFERENCE, 0)


@pytest.mark.usefixtures("vi")
def test_drift_fails_the_task_for_good_after_the_export_is_written_and_its_facts_are_pushed(tmp_path: Path) -> None:
    export(str(tmp_path / "old.jsonl"), YESTERDAY)
    ti = TaskInstance()
    with pytest.raises(AirflowFailException, match=r"differ from .*old\.jsonl: 1 added, 1 removed, 1 changed"):
        run(tmp_path / "new.jsonl", {"ti": ti}, compare_to="previous", fail_on_drift=True)
    pushed = plain(ti.pushed["return_value"])
    assert difference(pushed) == DIFFERENCE
    assert verify(pushed["uri"]).sha256 == pushed["sha256"]


@pytest.mark.parametrize("damage", ["missing", "cut", "without manifest"])
def test_a_named_export_that_cannot_be_trusted_is_found_out_before_flows_are_read(
    damage: str, vi: Mocker, tmp_path: Path
) -> None:
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
def test_a_named_export_that_cannot_be_compared_is_found_out_before_flows_are_read(
    format_: str, vi: Mocker, tmp_path: Path
) -> None:
    if format_ == "parquet":
        pytest.importorskip("pyarrow")
    old = tmp_path / f"old.{format_}"
    export(str(old), YESTERDAY, format_)
    with pytest.raises(ExportError, match=rf"old\.{format_} is a {format_} export; only jsonl can be compared"):
        run(tmp_path / "new.jsonl", compare_to=str(old))
    assert not vi.called


@pytest.mark.usefixtures("vi")
def test_a_named_export_of_another_organization_is_compared_with_a_warning(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    export(str(tmp_path / "ours.jsonl"), YESTERDAY)
    export(str(tmp_path / "theirs.jsonl"), YESTERDAY, organization_id="theirs")
    for old, warned in (("ours", False), ("theirs", True)):
        log.clear()
        assert difference(run(tmp_path / "new.jsonl", compare_to=str(tmp_path / f"{old}.jsonl"))) == DIFFERENCE
        assert ("theirs.jsonl is an export of another organization, 'theirs'" in log.text) == warned


# --- failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"destination": ""}, "destination: '' is no URL"),
        ({"destination": "None"}, "destination: 'None' is no URL"),
        ({"destination": "audit/flows.jsonl"}, "no absolute path"),
        ({"destination": None}, "destination: None is no URL"),
        ({"destination": "/audit/"}, "destination: '/audit/' is a folder"),
        ({"destination": "nowhere://x/flows.jsonl"}, "destination: 'nowhere://x/flows.jsonl': "),
        ({"format": "xml"}, "format: 'xml' is not one of 'jsonl', 'csv', 'parquet'"),
        ({"format": "parquet", "destination": "/audit/flows.parquet.gz"}, r"it has no \.gz"),
        ({"format": "csv", "compare_to": "previous"}, 'compare_to: only exports with format="jsonl"'),
        ({"compare_to": ""}, "compare_to: '' is empty"),
        ({"compare_to": "yesterday"}, "compare_to: 'yesterday' is no URL"),
        ({"compare_to": 5}, "compare_to: 5 is not a text"),
        ({"fail_on_drift": True}, "fail_on_drift: give compare_to, too"),
        ({"fail_on_drift": "maybe", "compare_to": "previous"}, "fail_on_drift: 'maybe' is not true or false"),
        ({"html_report": "maybe"}, "html_report: 'maybe' is not true or false"),
        ({"limit": -1}, "limit: -1 is not a whole number"),
        ({"older_than": "ninety"}, "older_than: "),
        ({"name_pattern": ""}, "name_pattern: "),
    ],
    ids=str,
)
def test_a_bad_argument_fails_for_good_before_anything_is_sent_or_written(
    arguments: dict[str, Any], words: str, vi: Mocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    task = ExportFlowsOperator(task_id="t", **{"destination": str(tmp_path / "flows.jsonl"), **arguments})
    with pytest.raises(AirflowFailException, match=words):
        task.execute({})
    assert not vi.called
    assert files(tmp_path) == set()


def test_parquet_without_pyarrow_fails_before_flows_are_read(
    vi: Mocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(AirflowFailException, match=r"install vi-airflow-provider\[parquet\]"):
        run(tmp_path / "flows.parquet", format="parquet")
    assert not vi.called


@pytest.mark.parametrize(
    ("second_page", "error"),
    [
        ({"status_code": 503}, ViServerError),
        ({"json": {"error": "x"}}, ViResponseError),
        ({"json": {"items": [{"flowId": "z"}]}}, ViResponseError),
        ({"status_code": 403}, AirflowFailException),
    ],
)
@pytest.mark.parametrize("before", [True, False], ids=["replaced", "new"])
def test_a_listing_that_breaks_off_leaves_what_was_there(
    second_page: dict[str, Any], error: type[Exception], before: bool, vi: Mocker, tmp_path: Path
) -> None:
    if before:
        export(str(tmp_path / "flows.jsonl"), YESTERDAY)
    found = contents(tmp_path)
    vi.get(f"{FLOWS}?p=2", **second_page)
    with pytest.raises(error):
        run(tmp_path / "flows.jsonl")
    assert contents(tmp_path) == found


@pytest.mark.usefixtures("vi")
def test_a_file_that_cannot_be_written_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullWriter:
        """Writes the first row, and then the disk is full."""

        def writerow(self, _: Any) -> None:
            self.writerow = self.fail  # type: ignore[method-assign]

        def fail(self, _: Any) -> None:
            raise OSError(28, "No space left on device")

    export(str(tmp_path / "flows.csv"), YESTERDAY, "csv")
    found = contents(tmp_path)
    monkeypatch.setattr(csv, "writer", lambda *_, **__: FullWriter())
    with pytest.raises(OSError, match="No space left"):
        run(tmp_path / "flows.csv", format="csv")
    assert contents(tmp_path) == found


@pytest.mark.parametrize("before", [True, False], ids=["replaced", "new"])
@pytest.mark.usefixtures("vi")
def test_a_report_that_cannot_be_made_leaves_what_was_there(
    before: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a second try still has the old export to compare with."""
    if before:
        export(str(tmp_path / "flows.jsonl"), YESTERDAY)
    found = contents(tmp_path)

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vi_airflow_provider.audit.report.write_report", fail)
    with pytest.raises(OSError, match="No space left"):
        run(tmp_path / "flows.jsonl", compare_to="previous", html_report=True)
    assert contents(tmp_path) == found


# --- killed --------------------------------------------------------------------------------------------------------

#: Exports again and again, each time in a fork that is killed at another line of what writes: at random ones, and at
#: each of the last, around the moment when the new file is there. SIGKILL leaves no time to tidy up.
KILLED: Final = """
import json, os, random, signal, sys
from pathlib import Path
import requests_mock
from tests.documents import wire_flow, wire_page
from tests.tasks import FLOWS
from vi_airflow_provider.audit import spool, stored_diff, writer
from vi_airflow_provider.storage import files, tempfiles
from vi_airflow_provider.operators import export as operator
from vi_airflow_provider.operators.flows import ExportFlowsOperator

TRACED = {module.__file__ for module in (stored_diff, writer, tempfiles, spool, files, operator)}

def export(folder, *ids):
    with requests_mock.Mocker() as mocker:
        mocker.get(FLOWS, json=wire_page(*(wire_flow(flowId=each) for each in ids)))
        given = {"destination": f"{folder}/flows.jsonl", "compare_to": "previous", "html_report": True}
        return ExportFlowsOperator(task_id="t", **given).execute({})

def fork(folder, last):
    "Export in a fork that is killed before that line; tell how many lines there were, and how it ended."
    lines = 0

    def trace(frame, event, argument):
        nonlocal lines
        if frame.f_code.co_filename not in TRACED:
            return None
        if event == "line":
            lines += 1
            if lines == last:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        sys.settrace(trace)
        export(folder, "a", "b")
        sys.settrace(None)
        os.write(writer, str(lines).encode())
        os._exit(0)
    os.close(writer)
    told = os.read(reader, 20)
    os.close(reader)
    return int(told or 0), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

root, seed = Path(sys.argv[1]), int(sys.argv[2])
export(root / "warm-up", "a")
for kind in ("new", "replaced"):
    whole = root / f"{kind}-whole"
    if kind == "replaced":
        export(whole, "old")
    total, status = fork(whole, 0)
    for last in [*random.Random(seed).sample(range(1, total - 30), 25), *range(total - 30, total + 1)]:
        folder = root / f"{kind}-{last}"
        if kind == "replaced":
            export(folder, "old")
        print(json.dumps([kind, last, *fork(folder, last)]))
"""


def test_killed_anywhere_there_is_no_file_or_a_whole_one_with_its_manifest(tmp_path: Path) -> None:
    temporary, exported = tmp_path / "temporary", tmp_path / "exported"
    temporary.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AIRFLOW_CONN_VI_DEFAULT": connection()}
    environment |= {"TMPDIR": str(temporary), "SQLITE_TMPDIR": str(temporary)}
    seed = random.randrange(1 << 32)
    done = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-c", KILLED, str(exported), str(seed)],
        env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cases = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('["')]
    assert len(cases) > 100
    assert {(lines, status) for _, _, lines, status in cases} == {(0, -signal.SIGKILL)}, done.stderr
    seen: dict[str, set[int | None]] = {"new": set(), "replaced": set()}
    for kind, last, *_ in cases:
        path = exported / f"{kind}-{last}" / "flows.jsonl"
        if path.exists():
            manifest = verify(str(path), every_flow=True)
            assert len(ids(str(path))) == manifest.count, (seed, kind, last)
            seen[kind].add(manifest.count)
        else:
            seen[kind].add(None)
    assert seen == {"new": {None, 2}, "replaced": {1, 2}}, seed
    assert files(temporary) == set()
