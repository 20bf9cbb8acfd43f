"""csv and parquet: legible, typed, and free of formulas."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.documents import wire_flow
from tests.formulas import CELLS
from tests.unit.audit.support import FLOWS, export, files, flow
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.audit import tabular
from vi_airflow_provider.audit.manifest import ExportError

ROOT: Final = Path(__file__).resolve().parents[3]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, strict=True))


# --- csv --------------------------------------------------------------------------------------------------------------


SLY: Final = st.text(st.sampled_from("=+-@\t\r\n'\";,| aß\x00\x85\u2028\ufeff\uff1d\uff0d"), max_size=6)
SIGNS: Final = ("=", "+", "-", "@", "\uff1d", "\uff0d")


def cells(text: str) -> list[str]:
    """The cells that programs may see in a csv: that split at another character, or do not know quoted line breaks."""
    found = []
    for lines in (io.StringIO(text, newline=""), text.splitlines()):
        for delimiter in ",;\t":
            try:
                found += [cell for row in csv.reader(lines, delimiter=delimiter) for cell in row]
            except csv.Error:
                continue  # refused
    return found


def is_formula(cell: str) -> bool:
    number = re.fullmatch(r"-?\d+", cell)
    return cell.startswith(("\t", "\r", "\n")) or (not number and cell.strip('\x00\ufeff \t\r\n"').startswith(SIGNS))


@given(name=SLY, flow_id=SLY.filter(bool), key=SLY, value=SLY, etag=SLY, block=SLY)
def test_no_csv_cell_can_become_a_formula(
    name: str, flow_id: str, key: str, value: str, etag: str, block: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("csv") / "flows.csv"
    sly = {"spec__name": name, "spec__schema": value, "spec__trainingProject": name, "etag": etag, "selfLink": value}
    written = flow(flow_id, metadata__attributes={key: value}, spec__blocks__0__block=block, **sly)
    export(str(path), [written], "csv")

    assert [cell for cell in cells(path.read_bytes().decode("utf-8-sig")) if is_formula(cell)] == []
    (row,) = rows(path)
    # Text has only quotes added; JSON has the same value.
    for column, original in {"flow_id": flow_id, "name": name, "etag": etag}.items():
        assert row[column].replace("'", "") == original.replace("'", "")
    assert json.loads(row["attributes"]) == {key: value}
    assert json.loads(row["spec"]) == written.spec.to_wire()


@pytest.mark.parametrize(("name", "cell"), CELLS)
def test_leading_quote_turns_a_formula_into_text(name: str, cell: str, tmp_path: Path) -> None:
    export(str(tmp_path / "flows.csv"), [flow(spec__name=name)], "csv")
    (row,) = rows(tmp_path / "flows.csv")
    assert row["name"] == cell


@given(SLY | st.text(), st.sampled_from(["string", "json"]))
def test_text_that_is_not_searched_has_nothing_to_neutralize(text: str, kind: str) -> None:
    if kind == "json":
        text = tabular.json_text({text: [text]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tabular, "_is_harmless", lambda *_: False)
        searched = tabular._cell(text, kind)
    assert tabular._cell(text, kind) == searched


@pytest.mark.parametrize("run", ["\n", " ", "\u2028", ";", '"', "=", ";\u2028"])
@pytest.mark.parametrize("end", ["", "=", "x"])
def test_long_run_before_a_sign_takes_linear_time(run: str, end: str) -> None:
    hostile = run * (1_000_000 // len(run)) + end
    began = time.process_time()
    for kind in ("string", "json"):
        tabular._cell(hostile, kind)
    assert time.process_time() - began < 1


def test_csv_has_one_row_per_flow(tmp_path: Path) -> None:
    export(str(tmp_path / "flows.csv"), [FLOWS[2], flow()], "csv")
    bare, row = rows(tmp_path / "flows.csv")
    assert (bare["flow_id"], bare["training_project"]) == ("B", "")
    spec = json.loads(row.pop("spec"))
    assert spec == wire_flow()["spec"]
    assert row == {
        "flow_id": "a",
        "name": "Weld seam defects - Qwen3-VL 4B",
        "schema": "v1",
        "training_project": "weld-inspection",
        "time_created": "1782864000123",
        "last_updated": "1783209600456",
        "generation": "4",
        "block_count": "2",
        "blocks": "system-prompt > vlm-model",
        "attributes": '{"team":"line-3"}',
        "digest": flow().digest,
        "etag": '"4-9d2f61"',
        "self_link": flow().self_link,
        "organization_id": flow().organization_id,
        "created_at": "2026-07-01T00:00:00.123Z",
        "updated_at": "2026-07-05T00:00:00.456Z",
    }


@pytest.mark.parametrize("bom", [True, False])
def test_byte_order_mark_can_be_switched_off(bom: bool, tmp_path: Path) -> None:
    export(str(tmp_path / "flows.csv"), [flow(spec__name="Prüfung")], "csv", bom=bom)
    content = (tmp_path / "flows.csv").read_bytes()
    assert content.startswith(b'\xef\xbb\xbf"flow_id"' if bom else b'"flow_id"')
    assert "Prüfung".encode() in content


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "1970-01-01T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.999Z"), (253402300800000, "")],
)
def test_times_are_iso_8601_or_empty_beyond_the_calendar(ms: int, text: str, tmp_path: Path) -> None:
    export(str(tmp_path / "flows.csv"), [flow(metadata__lastUpdated=ms)], "csv")
    (row,) = rows(tmp_path / "flows.csv")
    assert (row["last_updated"], row["updated_at"]) == (str(ms), text)


@pytest.mark.parametrize("letter", ["x", "ü", "漢", "\N{FRAME WITH PICTURE}e", "=1+a", '"', "\\", "\n"])
def test_long_cell_is_split_so_that_excel_reads_it_whole(
    letter: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prompt = f"{letter} and " * (80_000 // len(letter))
    long = flow("long", spec__settings={"prompt": prompt}, metadata__attributes={"note": prompt[:40_000]})
    export(str(tmp_path / "flows.csv"), [flow("a"), long, flow("z")], "csv")
    first, row, _ = rows(tmp_path / "flows.csv")
    assert all(len(cell.encode("utf-16-le")) // 2 <= tabular.MAX_CELL for cell in row.values())
    assert [column for column in row if column.startswith("spec")][:3] == ["spec", "spec_2", "spec_3"]
    for column, value in (("spec", long.spec.to_wire()), ("attributes", long.metadata.attributes)):
        pieces = [cell for name, cell in row.items() if name.partition("_")[0] == column]
        assert json.loads("".join(pieces)) == value
        assert not any(is_formula(piece) for piece in pieces)
    assert {first[column] for column in first if column.startswith(("spec_", "attributes_"))} == {""}
    assert "cells are longer than the 32,767 characters that Excel reads" in caplog.text
    assert "spec of flow 'long'" in caplog.text


def test_long_cell_without_a_letter_is_refused_by_name(tmp_path: Path) -> None:
    digits = flow("digits", spec__settings={"x": "1" * 70_000})
    with pytest.raises(
        ViValidationError, match=r"flow 'digits': spec has more than 32,767 characters without a letter"
    ):
        export(str(tmp_path / "flows.csv"), [digits], "csv")
    assert files(tmp_path) == set()


# --- parquet ----------------------------------------------------------------------------------------------------------


def test_parquet_has_typed_columns_and_the_spec_as_json(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    export(str(tmp_path / "flows.parquet"), FLOWS, "parquet")
    table = pq.read_table(tmp_path / "flows.parquet")
    moments, numbers = {"time_created", "last_updated"}, {"generation", "block_count"}
    assert {field.name: field.type for field in table.schema} == {
        name: pa.timestamp("ms", tz="UTC") if name in moments else pa.int64() if name in numbers else pa.string()
        for name in tabular.COLUMNS
    }
    first, second, *_ = table.to_pylist()
    assert (first["flow_id"], first["training_project"]) == ("B", None)
    assert second["time_created"] == datetime(2026, 7, 1, tzinfo=UTC) + timedelta(milliseconds=123)
    assert (second["generation"], second["block_count"]) == (4, 2)
    assert json.loads(second["spec"]) == FLOWS[1].spec.to_wire()
    assert first["name"] == FLOWS[2].spec.name


def test_parquet_of_several_batches_has_all_flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(tabular, "_BATCH", 3)
    for number in (2, 3, 7):
        export(str(tmp_path / "flows.parquet"), [flow(f"f{each}") for each in range(number)], "parquet")
        table = pq.read_table(tmp_path / "flows.parquet")
        assert table.column("flow_id").to_pylist() == [f"f{each}" for each in range(number)]


def test_parquet_without_pyarrow_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExportError, match=r"install vi-airflow-provider\[parquet\]"):
        export(str(tmp_path / "flows.parquet"), [flow()], "parquet")
    assert files(tmp_path) == set()
