"""Run cells of the matrix, some at a time, and print the table; `make matrix` calls this.

    python -m tests.matrix [--jobs 2] [--publish] [CELL ...]

A cell that has already run on the same commit is not run again. A run of all cells publishes its result in
docs/matrix.json and docs/compatibility.md, unless the work tree has changes, which would make the result
irreproducible. With `--publish`, so does a run of selected cells; the others are marked as not run.
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
from tests.matrix.outcomes import CACHE, Commit, Outcome, cached, checked_out, read_junit, store
from tests.matrix.table import as_document, as_markdown, in_words, publish

ABORTED: Final = "aborted"
NOT_RUN: Final = "not run"


def main() -> int:
    """Run the requested cells; 1 if a test failed or a suite did not finish."""
    cells = {cell.name: cell for cell in all_cells()}
    arguments = argparse.ArgumentParser(prog="make matrix")
    arguments.add_argument("cells", nargs="*", metavar="CELL", help=", ".join(cells))
    arguments.add_argument("--jobs", type=int, default=2, help="number of concurrent cells (default: 2)")
    arguments.add_argument("--publish", action="store_true", help="publish the result of selected cells, too")
    options = arguments.parse_args()
    if unknown := set(options.cells) - set(cells):
        arguments.error(f"unknown cell: {', '.join(sorted(unknown))}; choose from {', '.join(cells)}")
    CACHE.mkdir(parents=True, exist_ok=True)
    commit = checked_out()
    with ThreadPoolExecutor(options.jobs) as pool:
        chosen = [cells[name] for name in options.cells] or list(cells.values())
        outcomes = dict(zip(chosen, pool.map(lambda cell: outcome_of(cell, commit), chosen), strict=True))
    if options.publish:
        outcomes = {c: outcomes.get(c) or c.impossible or cached(c, commit) or NOT_RUN for c in cells.values()}
    document = as_document(outcomes, commit, datetime.now(UTC).date())
    print("\n" + as_markdown(document))
    if commit.changed:
        print("The work tree has changes: the result is neither cached nor published.")
    elif options.publish or not options.cells:
        publish(document)
        print("Published in docs/matrix.json and docs/compatibility.md.")
    return int(
        any(outcome == ABORTED or (isinstance(outcome, Outcome) and outcome.failed) for outcome in outcomes.values())
    )


def outcome_of(cell: Cell, commit: Commit) -> Outcome | str:
    """Return the outcome of a cell, or the reason why it has none; prints both."""
    python = interpreter(cell.python)
    if cell.impossible or python is None:
        reason = cell.impossible or f"Python {cell.python} is not installed"
        print(f"{cell.name}: skipped: {reason}", flush=True)
        return reason
    if known := cached(cell, commit):
        print(f"{cell.name}: already run on this commit", flush=True)
        return known
    print(f"{cell.name}: {' '.join(cell.suite)}", flush=True)
    log = CACHE / f"{cell.name}.log"
    outcome = run(cell, python, log)
    if outcome is None:
        print(f"{cell.name}: aborted, see {log}", flush=True)
        return ABORTED
    store(cell, commit, outcome)
    print(f"{cell.name}: {in_words(outcome)}" + (f", see {log}" if outcome.failed else ""), flush=True)
    return outcome


def run(cell: Cell, python: str, log: Path) -> Outcome | None:
    """Create the environment of a cell and run the suite in it; ``None`` if it did not finish."""
    junit = CACHE / f"{cell.name}.xml"
    junit.unlink(missing_ok=True)
    make = ["make", "--no-print-directory", f"{cell.environment}/.ready", f"PYTHON={python}"]
    pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={junit}", *cell.suite]
    with log.open("w") as output:
        if call(make, output):
            return None
        call([str(ROOT / cell.environment / "bin" / "python"), *pytest], output)
    return read_junit(junit)


def call(command: list[str], output: IO[str]) -> int:
    """Run a command in the root of the repository, without the variables of a calling `make` (CELLS, JOBS)."""
    print("$ " + " ".join(command), file=output, flush=True)
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    return subprocess.run(command, cwd=ROOT, env=environment, stdout=output, stderr=output, check=False).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
