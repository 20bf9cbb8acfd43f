"""The matrix: the cells, the counts, and the table of the page."""

from __future__ import annotations

import json
import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.matrix import outcomes
from tests.matrix.cells import LOWEST, PYTHONS, ROOT, Cell, all_cells, interpreter, pins_of
from tests.matrix.outcomes import Commit, Outcome, cached, read_junit, store
from tests.matrix.table import PAGE, RESULT, as_document, as_markdown, in_words

CELL = Cell("3.0", "3.0.6", "3.12")
OUTCOME = Outcome(passed=1200, failed=0, skipped=7, seconds=187)
CLEAN = Commit("0123456789ab", changed=False)


def project() -> dict[str, Any]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"])


# --- cells ---


def test_every_supported_python_is_a_column() -> None:
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project()["classifiers"]))
    assert tuple(named) == PYTHONS


def test_every_file_of_pins_is_a_row() -> None:
    rows = {(cell.pins, cell.airflow) for cell in all_cells()}
    assert {pins for pins, _ in rows} == {LOWEST, "2.11", "3.0", "3.1", "3.2", "3.3"}
    assert all(airflow.startswith(f"{pins}.") for pins, airflow in rows if pins != LOWEST)


def test_lowest_pins_are_the_lowest_versions_in_the_metadata() -> None:
    optional = project()["optional-dependencies"]
    extras = [*optional["emulator"], *optional["parquet"]]  # the others are providers of Airflow
    allowed = {Requirement(line).name: Requirement(line).specifier for line in (*project()["dependencies"], *extras)}
    pinned = dict(re.findall(r"^([\w-]+)==([\d.]+)", pins_of(LOWEST), re.MULTILINE))
    for name, specifier in allowed.items():
        (minimum,) = [Version(each.version) for each in specifier if each.operator == ">="]
        assert Version(pinned[name]) == minimum, name


@pytest.mark.parametrize("pins", sorted({cell.pins for cell in all_cells()}))
def test_pins_contain_no_index(pins: str) -> None:
    assert "://" not in pins_of(pins)


def test_airflow_2_does_not_run_on_python_3_13() -> None:
    assert [cell.name for cell in all_cells() if cell.impossible] == ["2.11.2-3.13"]


def test_contract_tests_run_where_the_vendors_client_is_pinned() -> None:
    assert {cell.pins for cell in all_cells() if "tests/contract" in cell.suite} == {"3.3"}


def test_interpreter_must_run_and_report_the_requested_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = tmp_path / "python3.99"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert interpreter("3.99") is None
    in_pyenv = tmp_path / ".pyenv" / "versions" / "3.99.1" / "bin" / "python3.99"
    in_pyenv.parent.mkdir(parents=True)
    in_pyenv.write_text("#!/bin/sh\necho 3.99\n")
    in_pyenv.chmod(0o755)
    assert interpreter("3.99") == str(in_pyenv)


# --- outcomes ---


def test_errors_in_fixtures_count_as_failed(tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    file.write_text(
        '<testsuites><testsuite tests="10" failures="1" errors="2" skipped="3" time="61.6"></testsuite></testsuites>'
    )
    assert read_junit(file) == Outcome(passed=4, failed=3, skipped=3, seconds=62)


def test_aborted_suite_has_no_outcome(tmp_path: Path) -> None:
    assert read_junit(tmp_path / "none.xml") is None


def test_outcome_is_cached_only_for_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "CACHE", tmp_path)
    store(CELL, CLEAN, OUTCOME)
    assert cached(CELL, CLEAN) == OUTCOME
    assert cached(CELL, Commit("ba9876543210", changed=False)) is None
    assert cached(CELL, Commit(CLEAN.id, changed=True)) is None


def test_outcome_of_a_changed_work_tree_is_not_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "CACHE", tmp_path)
    store(CELL, Commit(CLEAN.id, changed=True), OUTCOME)
    assert cached(CELL, CLEAN) is None


# --- table ---


def test_row_shows_outcomes_and_reasons_for_missing_ones() -> None:
    found: dict[Cell, Outcome | str] = {
        CELL: OUTCOME,
        Cell("3.0", "3.0.6", "3.13"): "Python 3.13 is not installed",
        Cell(LOWEST, "2.11.0", "3.11"): OUTCOME,
    }
    assert as_markdown(as_document(found, CLEAN, date(2026, 1, 31))).splitlines() == [
        "`make matrix` of 2026-01-31, commit `0123456789ab`:",
        "",
        "| Airflow | Python 3.11 | Python 3.12 | Python 3.13 |",
        "|---|---|---|---|",
        "| 3.0.6 | not run | 1,200 passed, 7 skipped, 3 min 07 s | Python 3.13 is not installed |",
        "| 2.11.0, lowest versions of all libraries | 1,200 passed, 7 skipped, 3 min 07 s | not run | not run |",
    ]


def test_failures_are_shown() -> None:
    assert in_words(Outcome(passed=0, failed=2, skipped=0, seconds=9)) == "2 failed, 0 min 09 s"


def test_readme_contains_the_stored_result() -> None:
    assert as_markdown(json.loads(RESULT.read_text())) in PAGE.read_text()
