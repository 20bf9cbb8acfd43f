"""The formats of rows and documents."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vi_airflow_provider.cli import output
from vi_airflow_provider.cli.output import iso_time, show_document, show_rows
from vi_airflow_provider.storage.console import OutputError, print_lines, printable

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def lines_of(format_: str, rows: list[dict[str, Any]], columns: tuple[str, ...] = ("a", "b")) -> list[str]:
    return list(output._ROWS[format_](columns, rows))


@given(st.lists(st.fixed_dictionaries({"a": VALUES, "b": VALUES}), max_size=5))
def test_programs_read_back_what_was_written(rows: list[dict[str, Any]]) -> None:
    for format_, read in (("json", json.loads), ("yaml", yaml.safe_load)):
        text = "\n".join(lines_of(format_, rows))
        assert text.isascii()
        assert read(text) == rows


@given(st.lists(st.fixed_dictionaries({"a": VALUES, "b": VALUES}), max_size=5))
def test_people_get_a_line_per_row_of_printable_text(rows: list[dict[str, Any]]) -> None:
    for format_, heads in (("table", 2), ("plain", 1)):
        lines = lines_of(format_, rows)
        assert len(lines) == (len(rows) + heads if rows else 1)
        assert all(map(str.isprintable, lines))


def test_columns_are_aligned_as_wide_as_they_are_shown() -> None:
    rows: list[dict[str, Any]] = [{"a": "溶接", "b": 1}, {"a": "x", "b": [True, None, {"k": 2}]}]
    assert lines_of("plain", rows) == ["a     b", "溶接  1", "x     true, , k=2"]
    assert lines_of("table", rows) == ["a    | b", "=====+============", "溶接 | 1", "x    | true, , k=2"]


def test_long_cell_is_cut_in_a_table_but_not_in_its_last_column() -> None:
    row = {"a": "x" * 70, "b": "y" * 70}
    *_, line = lines_of("table", [row])
    assert line == f"{'x' * 57}... | {'y' * 70}"
    assert lines_of("plain", [row])[1] == f"{'x' * 70}  {'y' * 70}"


@pytest.mark.parametrize("format_", output._ROWS)
def test_rows_are_shown_as_they_arrive(format_: str) -> None:
    taken = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal taken
        while True:
            taken += 1
            yield {"a": taken, "b": ""}

    lines = output._ROWS[format_](("a", "b"), rows())
    for _ in range(5):
        next(lines)
    assert taken <= output.BATCH


def test_later_rows_are_aligned_at_least_as_wide_as_earlier_ones() -> None:
    rows = [{"a": "wide" if number == 0 else number, "b": "."} for number in range(output.BATCH + 1)]
    assert lines_of("plain", rows)[-1] == "100   ."


@pytest.mark.parametrize(("format_", "shown"), [("json", None), ("yaml", None), ("table", "inf"), ("plain", "inf")])
def test_number_that_is_not_finite_becomes_null(
    format_: str, shown: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    show_document(format_, {"a": [float("inf"), float("nan")]})
    out = capsys.readouterr().out
    if shown is None:
        read = json.loads if format_ == "json" else yaml.safe_load
        assert read(out) == {"a": [None, None]}
    else:
        assert shown in out


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (None, None),
        (0, "1970-01-01T00:00:00Z"),
        (1_783_209_600_456, "2026-07-05T00:00:00.456Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (10**18, "1000000000000000000"),
    ],
)
def test_times_are_iso_8601_in_utc(ms: int | None, text: str | None) -> None:
    assert iso_time(ms) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("größer 溶接", "größer 溶接"),
        ("\x1b[2J\n\x9b\x7f", r"\x1b[2J\n\x9b\x7f"),
        ("a\u202eb\u2028", r"a\u202eb\u2028"),
        ("\ud800\U000e0001", r"\ud800\U000e0001"),
    ],
)
def test_unprintable_characters_are_shown_as_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_full_disk_is_an_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", FullDisk())
    with pytest.raises(OutputError, match=r"the output cannot be written: .* No space left"):
        show_rows("json", ("a",), [{"a": 1}])


def test_rows_are_read_to_the_end_even_without_an_output(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    monkeypatch.setattr(sys, "stdout", None)
    print_lines(taken.append(line) or line for line in "abc")  # type: ignore[func-returns-value]
    assert taken == ["a", "b", "c"]
