"""Run cells of the matrix, some at a time, and print the table; `make matrix` calls this.

    python -m tests.matrix [--jobs 2] [--publish] [CELL ...]

What was run on the same commit before is not run again. A run of all cells takes its result into docs/matrix.json and
the README, unless the work tree has changes: then nobody could tell what was tested. So does a run of some cells with
`--publish`; those that were not run on this commit say so.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from tests.matrix.cells import ROOT, Cell, all_cells, interpreter
from tests.matrix.outcomes import KEPT, Commit, Outcome, checked_out, keep, kept, read_junit
from tests.matrix.table import as_document, as_markdown, in_words, publish

BROKE_OFF: Final = "broke off"
NOT_RUN: Final = "not run"


def main() -> int:
    """Run what was asked for; 1 when a test failed or a suite did not come to its end."""
    cells = {cell.name: cell for cell in all_cells()}
    arguments = argparse.ArgumentParser(prog="make matrix")
    arguments.add_argument("cells", nargs="*", metavar="CELL", help=", ".join(cells))
    arguments.add_argument("--jobs", type=int, default=2, help="cells at a time (default: 2)")
    arguments.add_argument("--publish", action="store_true", help="take the result of some cells into the README, too")
    asked = arguments.parse_args()
    if unknown := set(asked.cells) - set(cells):
        arguments.error(f"no such cell: {', '.join(sorted(unknown))}; there are {', '.join(cells)}")
    KEPT.mkdir(parents=True, exist_ok=True)
    commit = checked_out()
    with ThreadPoolExecutor(asked.jobs) as pool:
        chosen = [cells[name] for name in asked.cells] or list(cells.values())
        outcomes = dict(zip(chosen, pool.map(lambda cell: outcome_of(cell, commit), chosen), strict=True))
    if asked.publish:
        outcomes = {c: outcomes.get(c) or c.impossible or kept(c, commit) or NOT_RUN for c in cells.values()}
    document = as_document(outcomes, commit, datetime.now(UTC).date())
    print("\n" + as_markdown(document))
    if commit.changed:
        print("The work tree has changes: the result is neither kept nor taken into the README.")
    elif asked.publish or not asked.cells:
        publish(document)
        print("Taken into docs/matrix.json and README.md.")
    return int(
        any(outcome == BROKE_OFF or (isinstance(outcome, Outcome) and outcome.failed) for outcome in outcomes.values())
    )


def outcome_of(cell: Cell, commit: Commit) -> Outcome | str:
    """What comes out of a cell, or why nothing does; says so on the way."""
    python = interpreter(cell.python)
    if cell.impossible or python is None:
        reason = cell.impossible or f"no Python {cell.python} here"
        print(f"{cell.name}: skipped: {reason}", flush=True)
        return reason
    if known := kept(cell, commit):
        print(f"{cell.name}: was run on this commit before", flush=True)
        return known
    print(f"{cell.name}: {' '.join(cell.suite)}", flush=True)
    log = KEPT / f"{cell.name}.log"
    outcome = run(cell, python, log)
    if outcome is None:
        print(f"{cell.name}: broke off, see {log}", flush=True)
        return BROKE_OFF
    keep(cell, commit, outcome)
    print(f"{cell.name}: {in_words(outcome)}" + (f", see {log}" if outcome.failed else ""), flush=True)
    return outcome


def run(cell: Cell, python: str, log: Path) -> Outcome | None:
    """Make the environment of a cell and run the suite in it; None when that did not come to its end."""
    junit = KEPT / f"{cell.name}.xml"
    junit.unlink(missing_ok=True)
    make = ["make", "--no-print-directory", f"{cell.environment}/.ready", f"PYTHON={python}"]
    pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={junit}", *cell.suite]
    with log.open("w") as output:
        if call(make, output):
            return None
        call([str(ROOT / cell.environment / "bin" / "python"), *pytest], output)
    return read_junit(junit)


def call(command: list[str], output: IO[str]) -> int:
    """Run a command in the root of the project. A `make` that called us keeps its variables (CELLS, JOBS) to itself."""
    print("$ " + " ".join(command), file=output, flush=True)
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    return subprocess.run(command, cwd=ROOT, env=environment, stdout=output, stderr=output, check=False).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
