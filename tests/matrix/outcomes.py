"""The outcome of a cell: read from the JUnit file of pytest, cached in .venv/matrix/ together with the commit."""

from __future__ import annotations

import json
import subprocess
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tests.matrix.cells import ROOT, Cell

CACHE: Final = ROOT / ".venv" / "matrix"
#: Files written by the matrix itself; changing them does not change what was tested.
PUBLISHED: Final = ("docs/compatibility.md", "docs/matrix.json")


@dataclass(frozen=True)
class Outcome:
    """Test counts and duration of a suite. `failed` includes errors in fixtures."""

    passed: int
    failed: int
    skipped: int
    seconds: int


@dataclass(frozen=True)
class Commit:
    """The commit that is checked out, and whether the work tree differs from it."""

    id: str
    changed: bool


def read_junit(file: Path) -> Outcome | None:
    """Read the counts of pytest; ``None`` if it did not finish."""
    if not file.exists():
        return None
    (suite,) = ElementTree.parse(file).getroot().iter("testsuite")  # noqa: S314 - written by pytest
    tests, failures, errors, skipped = (int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped"))
    failed = failures + errors
    return Outcome(tests - failed - skipped, failed, skipped, round(float(suite.get("time", 0))))


def checked_out() -> Commit:
    """Return the commit of this work tree."""
    changes = git("status", "--porcelain", "--", ".", *(f":!{file}" for file in PUBLISHED))
    return Commit(git("rev-parse", "--short=12", "HEAD"), changed=bool(changes))


def git(*arguments: str) -> str:
    """Return the output of a git command in this work tree."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603, S607


def store(cell: Cell, commit: Commit, outcome: Outcome) -> None:
    """Cache an outcome, so that an aborted run can be resumed."""
    if not commit.changed:
        CACHE.joinpath(f"{cell.name}.json").write_text(json.dumps({"commit": commit.id, **asdict(outcome)}))


def cached(cell: Cell, commit: Commit) -> Outcome | None:
    """Return the cached outcome of a cell for this commit."""
    file = CACHE / f"{cell.name}.json"
    if commit.changed or not file.exists():
        return None
    found = json.loads(file.read_text())
    return Outcome(**found) if found.pop("commit") == commit.id else None
