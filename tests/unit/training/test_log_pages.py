"""Which lines of a log that is read in pieces are new, and how they are written to a file."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vi_airflow_provider.api.models import RunLogLine
from vi_airflow_provider.training.log_export import _text_of
from vi_airflow_provider.training.log_pages import LogReader


def line(text: str, at: Any = None) -> RunLogLine:
    return RunLogLine.model_validate({"line": text} if at is None else {"line": text, "timestamp": at})


#: Lines at times that do not decrease, with repeated texts and crowds at one time.
LOGS: Final = st.lists(st.tuples(st.integers(0, 4), st.sampled_from("ab")), max_size=30).map(sorted)


def read_in_pieces(log: list[tuple[int, str]], cap: int, *, inclusive: bool, crowd: int) -> list[tuple[int, str]]:
    """Read a log from a server that sends at most ``cap`` lines, or more if it is asked for more."""
    reader, read = LogReader(), list[tuple[int, str]]()
    for _ in range(100):
        since, size = reader.position, max(cap, reader.seen_at_position + crowd)
        piece = [item for item in log if since is None or item[0] > int(since) or (inclusive and item[0] == int(since))]
        new = reader.new_lines([line(text, at) for at, text in piece[:size]])
        if not new:
            return read
        read += [((item.model_extra or {})["timestamp"], item.line) for item in new]
    raise AssertionError("no end")


@given(LOGS, st.integers(1, 5))
def test_every_line_is_new_once(log: list[tuple[int, str]], cap: int) -> None:
    assert read_in_pieces(log, cap, inclusive=True, crowd=1) == log


@given(LOGS)
def test_server_that_excludes_the_position_loses_no_line(log: list[tuple[int, str]]) -> None:
    assert read_in_pieces(log, len(log) + 1, inclusive=False, crowd=1) == log


def test_other_order_of_equal_times_repeats_no_line() -> None:
    reader = LogReader()
    assert len(reader.new_lines([line("a", 1), line("b", 2), line("c", 2)])) == 3
    new = reader.new_lines([line("c", 2), line("d", 2), line("b", 2), line("e", 3)])
    assert [item.line for item in new] == ["d", "e"]


@given(LOGS, st.booleans(), st.booleans())
def test_other_order_or_whole_log_repeats_no_line(log: list[tuple[int, str]], newest_first: bool, whole: bool) -> None:
    reader, read = LogReader(), list[tuple[Any, str]]()
    for end in (len(log) // 3, 2 * len(log) // 3, len(log), len(log)):  # the log grows
        piece = [item for item in log[:end] if whole or reader.position is None or item[0] >= int(reader.position)]
        new = reader.new_lines([line(text, at) for at, text in (piece[::-1] if newest_first else piece)])
        read += [((item.model_extra or {})["timestamp"], item.line) for item in new]
    assert sorted(read) == log


def test_lines_without_positions_are_counted() -> None:
    reader = LogReader()
    texts = ["a", "a", "b", "a"]
    found = [len(reader.new_lines([line(text) for text in texts[:end]])) for end in (1, 3, 3, 4)]
    assert found == [1, 2, 0, 1]
    assert reader.position is None


def test_log_that_begins_to_mark_positions_repeats_no_line() -> None:
    reader = LogReader()
    reader.new_lines([line("a"), line("b")])
    assert [item.line for item in reader.new_lines([line("a"), line("b"), line("c", 5)])] == ["c"]
    assert reader.position == "5"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("  indented\tsize 3 µm", "  indented\tsize 3 µm"),
        ("ends\r\n", "ends"),
        ("two\nlines", "two\\nlines"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\u202eright", "\\u202eright"),
        ("lone \ud800", "lone \\ud800"),
    ],
)
def test_line_of_the_file_is_one_line(text: str, written: str) -> None:
    assert _text_of(line(text), str) == written
