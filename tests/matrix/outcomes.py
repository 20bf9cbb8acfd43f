"""What came out of a cell: read from pytest's JUnit file, kept under .venv/matrix/ with the commit it belongs to."""

from __future__ import annotations

import json
import subprocess
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tests.matrix.cells import ROOT, Cell

KEPT: Final = ROOT / ".venv" / "matrix"
#: What the matrix itself writes; a change of these is no change of what was tested.
PUBLISHED: Final = ("README.md", "docs/matrix.json")


@dataclass(frozen=True)
class Outcome:
    """How many tests did what, and how long the suite took. `failed` counts errors in fixtures too."""

    passed: int
    failed: int
    skipped: int
    seconds: int


@dataclass(frozen=True)
class Commit:
    """What is checked out: a commit, and whether the work tree differs from it."""

    id: str
    changed: bool


def read_junit(file: Path) -> Outcome | None:
    """What pytest counted; None when it did not come to its end."""
    if not file.exists():
        return None
    (suite,) = ElementTree.parse(file).getroot().iter("testsuite")  # noqa: S314 - pytest wrote it a moment ago
    tests, failures, errors, skipped = (int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped"))
    failed = failures + errors
    return Outcome(tests - failed - skipped, failed, skipped, round(float(suite.get("time", 0))))


def checked_out() -> Commit:
    """The commit of this work tree."""
    changes = git("status", "--porcelain", "--", ".", *(f":!{file}" for file in PUBLISHED))
    return Commit(git("rev-parse", "--short=12", "HEAD"), changed=bool(changes))


def git(*arguments: str) -> str:
    """What git says about this work tree."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603, S607


def keep(cell: Cell, commit: Commit, outcome: Outcome) -> None:
    """Remember an outcome, so that a run that was broken off need not begin anew."""
    if not commit.changed:
        KEPT.joinpath(f"{cell.name}.json").write_text(json.dumps({"commit": commit.id, **asdict(outcome)}))


def kept(cell: Cell, commit: Commit) -> Outcome | None:
    """The outcome of this cell, if it was run on just what is checked out now."""
    file = KEPT / f"{cell.name}.json"
    if commit.changed or not file.exists():
        return None
    found = json.loads(file.read_text())
    return Outcome(**found) if found.pop("commit") == commit.id else None
