"""What `make release` refuses, and how the tutorial is read."""

from __future__ import annotations

import pytest

from tests.package.release import obstacles
from tests.package.tutorial import PAGE, missing_lines, read_tutorial

READY = ("1.2.3", "# Changelog\n\n## Unreleased\n\n## 1.2.3 - 2026-11-26\n\n### Added\n", {"v1.2.2"}, "")


def test_a_version_with_its_section_is_ready() -> None:
    assert list(obstacles(*READY)) == []


@pytest.mark.parametrize(
    ("place", "value", "obstacle"),
    [
        (0, "1.2.3.dev0", "is not of the form 1.2.3"),
        (1, "# Changelog\n\n## 1.2.2 - 2026-01-01\n", "has no section '## 1.2.3 - YYYY-MM-DD'"),
        (1, "## Unreleased\n\nText\n\n## 1.2.3 - 2026-11-26\n", "has unreleased changes"),
        (2, {"v1.2.3"}, "the tag v1.2.3 exists"),
        (3, " M README.md\n", "the work tree has changes"),
    ],
)
def test_what_is_not_ready_is_named(place: int, value: object, obstacle: str) -> None:
    given = [*READY]
    given[place] = value  # type: ignore[call-overload]
    assert any(obstacle in each for each in obstacles(*given))  # type: ignore[arg-type]


def test_tutorial_names_the_file_of_each_dag() -> None:
    files, steps = read_tutorial(PAGE.read_text(encoding="utf-8"))
    assert sorted(files) == [f"airflow/dags/{name}.py" for name in ("audit", "cleanup", "restore", "train")]
    assert sum(bool(step.shown) for step in steps) >= 6


def test_an_ellipsis_stands_for_any_text_in_a_line() -> None:
    assert missing_lines(["14 flows", "deleted … x"], "14 flows were\ndeleted 1 x\n") == []
    assert missing_lines(["deleted … x"], "deleted 1\nx\n") == ["deleted … x"]
