"""The export as a task: what it writes, returns and logs, and how it fails."""

from __future__ import annotations

import importlib.util
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from unittest.mock import MagicMock

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, Asset, ObjectStoragePath
from requests_mock import Mocker

from tests.documents import ORGANIZATION_ID, wire_flow, wire_page
from tests.tasks import FLOWS
from tests.unit.audit.support import ALL, SIMPLE_FLOWS, YESTERDAY, contents, export, files, flow, ids, run
from vi_airflow_provider.api.errors import ViResponseError, ViServerError
from vi_airflow_provider.audit import export as exporting
from vi_airflow_provider.audit import listing, tabular, writer
from vi_airflow_provider.audit.reader import read_export
from vi_airflow_provider.audit.verification import verify
from vi_airflow_provider.operators.flows import ExportFlowsOperator
from vi_airflow_provider.storage.datasets import dataset_name

ROOT: Final = Path(__file__).resolve().parents[3]


# --- what it writes ---------------------------------------------------------------------------------------------------


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


def test_order_of_the_listing_does_not_change_the_file(vi: Mocker, tmp_path: Path) -> None:
    first = run(tmp_path / "1.jsonl")
    vi.get(FLOWS, json=wire_page(*sorted(ALL, key=lambda each: each["flowId"])))
    second = run(tmp_path / "2.jsonl")
    assert first["sha256"] == second["sha256"]
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "2.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("filters", "expected", "recorded"),
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
def test_filters_select_as_in_list_flows_and_are_in_the_manifest(
    filters: dict[str, Any], expected: list[str], recorded: dict[str, Any], tmp_path: Path
) -> None:
    uri = run(tmp_path / "flows.jsonl", **filters)["uri"]
    assert ids(uri) == expected
    assert verify(uri).filters == recorded


@pytest.mark.usefixtures("vi")
def test_destination_format_and_comparison_can_be_templates(tmp_path: Path) -> None:
    export(str(tmp_path / "old.jsonl"), [flow("a")])
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        task = ExportFlowsOperator(
            task_id="t",
            destination=f"{tmp_path}/{{{{ ds }}}}.jsonl",
            format="{{ params.format }}",  # type: ignore[arg-type]
            compare_to=f"{tmp_path}/{{{{ params.old }}}}.jsonl",
            fail_on_drift="{{ params.fail }}",  # type: ignore[arg-type]
            limit="{{ params.limit }}",
        )
    params = {"format": "jsonl", "old": "old", "fail": "False", "limit": "2"}
    context: Any = {"ds": "2026-07-01", "params": params}
    task.render_template_fields(context)
    result = task.execute({})
    assert result["uri"] == str(tmp_path / "2026-07-01.jsonl")
    assert (result["count"], result["added"]) == (2, 1)


# --- what it reports -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("vi")
def test_long_export_logs_its_progress_and_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listing, "PROGRESS", 2)
    run(tmp_path / "flows.jsonl")
    assert len(re.findall(r"\b[24] flows so far, [\d,]+ per second\.", log.text)) == 2
    assert re.search(r"3 flows exported: .*flows\.jsonl, sha256 [0-9a-f]{64}", log.text)


@pytest.mark.usefixtures("vi")
def test_log_shows_the_beginning_of_the_diff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(exporting, "MAX_LOGGED", 2)
    export(str(tmp_path / "old.jsonl"), [])
    run(tmp_path / "flows.jsonl", compare_to="previous")
    assert "3 added, 0 removed, 0 changed.\n+ a  paint\n+ b  weld" in log.text
    assert "+ c" not in log.text


@pytest.mark.usefixtures("vi")
def test_outlet_event_describes_the_export(tmp_path: Path) -> None:
    asset = Asset(uri="file:///audit")
    events = MagicMock()  # no dict: an asset of Airflow 3.0 is no key of one
    result = run(tmp_path / "flows.jsonl", {"outlet_events": events}, outlets=[asset])
    events.__getitem__.assert_called_once_with(asset)
    assert events[asset].extra == {"uri": result["uri"], "count": 3, "sha256": result["sha256"]}


@pytest.mark.usefixtures("vi")
@pytest.mark.skipif(not hasattr(Asset, "ref"), reason="Airflow 2 has no references")
def test_outlet_event_of_a_reference_describes_the_export(tmp_path: Path) -> None:
    from airflow.sdk import AssetAlias

    reference: Any = Asset.ref(name="exported_flows")
    events = MagicMock()
    run(tmp_path / "flows.jsonl", {"outlet_events": events}, outlets=[reference, AssetAlias("nightly")])
    events.__getitem__.assert_called_once_with(reference)


@pytest.mark.usefixtures("vi")
def test_openlineage_gets_input_and_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = ExportFlowsOperator(task_id="t", destination=f"{tmp_path}/flows.csv", format="csv")
    assert task.get_openlineage_facets_on_complete(None) is None
    result = task.execute({})
    # It makes no request.
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
def test_openlineage_dataset_names_follow_its_convention(destination: str, namespace: str, name: str) -> None:
    assert dataset_name(ObjectStoragePath(destination)) == (namespace, name)


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"destination": ""}, "destination: '' is neither a URL"),
        ({"destination": "None"}, "destination: 'None' is neither a URL"),
        ({"destination": "audit/flows.jsonl"}, "neither a URL nor an absolute path"),
        ({"destination": None}, "destination: None is neither a URL"),
        ({"destination": "/audit/"}, "destination: '/audit/' is a folder"),
        ({"destination": "nowhere://x/flows.jsonl"}, "destination: 'nowhere://x/flows.jsonl' cannot be used"),
        ({"format": "xml"}, "format: 'xml' is not one of 'jsonl', 'csv', 'parquet'"),
        ({"format": "parquet", "destination": "/audit/flows.parquet.gz"}, r"write '/audit/flows\.parquet'"),
        ({"format": "csv"}, r"format: 'csv' contradicts \.jsonl at the end of destination"),
        ({"format": "jsonl", "destination": "/audit/x.csv.gz"}, r"'jsonl' contradicts \.csv"),
        ({"destination": "/audit/x.CSV", "compare_to": "previous"}, 'compare_to: only exports with format="jsonl"'),
        ({"csv_bom": "maybe"}, "csv_bom: 'maybe' is not true or false"),
        ({"destination": "file://audit/x.jsonl"}, "destination: .* write three slashes"),
        ({"compare_to": "file://audit/"}, "compare_to: .* write three slashes"),
        (
            {"format": "csv", "compare_to": "previous", "destination": "/audit/x"},
            'compare_to: only exports with format="jsonl"',
        ),
        ({"compare_to": ""}, "compare_to: '' is empty"),
        ({"compare_to": "yesterday"}, "compare_to: 'yesterday' is neither a URL"),
        ({"compare_to": 5}, "compare_to: 5 is not text"),
        ({"fail_on_drift": True}, "fail_on_drift: give compare_to, too"),
        ({"fail_on_drift": "maybe", "compare_to": "previous"}, "fail_on_drift: 'maybe' is not true or false"),
        ({"html_report": "maybe"}, "html_report: 'maybe' is not true or false"),
        ({"limit": -1}, "limit: -1 is not a whole number"),
        ({"older_than": "ninety"}, "older_than: "),
        ({"name_pattern": ""}, "name_pattern: "),
    ],
    ids=str,
)
def test_bad_argument_fails_before_anything_is_sent_or_written(
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
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
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
def test_broken_listing_leaves_what_was_there(
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
def test_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, legible = iter(tabular.FLOW_TABLE.legible_times), tabular._iso_time

    def full(time: Any) -> str:
        for _ in first:
            return legible(time)
        raise OSError(28, "No space left on device")

    export(str(tmp_path / "flows.csv"), YESTERDAY, "csv")
    found = contents(tmp_path)
    monkeypatch.setattr(tabular, "_iso_time", full)
    with pytest.raises(OSError, match="No space left"):
        run(tmp_path / "flows.csv", format="csv")
    assert contents(tmp_path) == found


@pytest.mark.parametrize("before", [True, False], ids=["replaced", "new"])
@pytest.mark.usefixtures("vi")
def test_failed_report_leaves_what_was_there(before: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


# --- format and destination ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given", "format_"),
    [
        ("x.jsonl", None, "jsonl"),
        ("x.ndjson.gz", None, "jsonl"),
        ("x.csv", None, "csv"),
        ("x.csv.gz", None, "csv"),
        ("x.parquet", None, "parquet"),
        ("x.Parquet", "parquet", "parquet"),
        ("x", None, "jsonl"),
        ("2026.07.01", None, "jsonl"),
        ("x.txt", "csv", "csv"),
    ],
)
@pytest.mark.usefixtures("vi")
def test_suffix_implies_the_format(name: str, given: str | None, format_: str, tmp_path: Path) -> None:
    if format_ == "parquet":
        pytest.importorskip("pyarrow")
    run(tmp_path / name, format=given)
    assert verify(str(tmp_path / name)).format == format_


def test_existing_folder_is_refused_before_flows_are_read(vi: Mocker, tmp_path: Path) -> None:
    (tmp_path / "flows.jsonl").mkdir()
    with pytest.raises(AirflowFailException, match="is an existing folder; add the name of the file"):
        run(tmp_path / "flows.jsonl")
    assert not vi.called
    assert files(tmp_path) == {"flows.jsonl"}


@pytest.mark.usefixtures("vi")
def test_folder_that_appears_meanwhile_leaves_no_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = writer.write_file

    def make_folder(*arguments: Any, **given: Any) -> Any:
        (tmp_path / "flows.jsonl").mkdir()
        return write(*arguments, **given)

    monkeypatch.setattr(writer, "write_file", make_folder)
    with pytest.raises(OSError, match="not a regular file"):
        run(tmp_path / "flows.jsonl", html_report=True)
    assert files(tmp_path) == {"flows.jsonl"}


@pytest.mark.parametrize("format_", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize(
    ("name", "changes", "field"),
    [
        ("deep", {"spec__settings": {"x": json.loads("[" * 250 + "]" * 250)}}, r"items\[0\]\.spec\.settings\.x"),
        ("huge", {"metadata__generation": 1 << 64}, r"metadata\.generation"),
        ("late", {"metadata__lastUpdated": 1 << 63}, r"metadata\.lastUpdated"),
    ],
)
def test_flow_that_no_format_could_hold_is_named_with_its_field(
    name: str, changes: dict[str, Any], field: str, format_: str, vi: Mocker, tmp_path: Path
) -> None:
    """The client has one limit for nesting and numbers, so what it returns can be written and read in each format."""
    vi.get(FLOWS, json=wire_page(wire_flow(flowId=name, **changes)))
    with pytest.raises(ViResponseError, match=rf"flow '{name}'.*{field}"):
        run(tmp_path / f"flows.{format_}")
    assert files(tmp_path) == set()


@pytest.mark.parametrize("format_", ["jsonl", "csv", "parquet"])
def test_flow_at_the_limits_is_exported_and_read_again(format_: str, vi: Mocker, tmp_path: Path) -> None:
    if format_ == "parquet":
        pytest.importorskip("pyarrow")
    deep = json.loads("[" * 96 + "]" * 96)
    numbers = {"metadata__generation": (1 << 63) - 1, "metadata__timeCreated": -(1 << 63)}
    vi.get(FLOWS, json=wire_page(wire_flow(flowId="edge", spec__settings={"x": deep}, **numbers)))
    vi.get(SIMPLE_FLOWS, json=wire_page({"flowId": "edge"}))
    uri = run(tmp_path / f"flows.{format_}", html_report=True)["uri"]
    assert verify(uri, every_document=True).count == 1
    if format_ == "jsonl":
        assert [each.spec.settings for each in read_export(uri)] == [{"x": deep}]
