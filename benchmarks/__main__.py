"""``python -m benchmarks``: run the benchmarks, or write the report from stored results."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks import report
from benchmarks.plan import FULL, Plan
from benchmarks.processes import BenchmarkError, server
from benchmarks.registry import SUITES
from benchmarks.results import Results
from benchmarks.runner import Runner

#: Capacity of the server: the largest organization, plus the flows that appear during a run.
FLOWS = 100_000


def measure(plan: Plan, suites: list[str], home: Path) -> Results:
    """Run suites one after the other.

    :param suites: names of suites
    :param home: folder for logs and for the files of the clients
    """
    began = time.monotonic()
    with server(plan.size(FLOWS)) as started:
        runner = Runner(
            plan, started, home, lambda line: print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)
        )
        try:
            for suite in SUITES:
                if suite.NAME in suites:
                    suite.measure(runner)
        finally:
            runner.close()
    return Results.of(plan, runner.measurements)


def write_report(results: Results) -> None:
    """Write the page and its plots."""
    from benchmarks import plots  # matplotlib is only in the environment of the benchmarks

    report.PAGE.write_text(report.page(results))
    plots.write(results, report.PAGE.with_suffix(""))


def main() -> int:
    """Run the command line."""
    names = [suite.NAME for suite in SUITES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "run", help="run the benchmarks, write results.json and docs/performance.md, print the targets"
    )
    run.add_argument("--rounds", type=int, default=FULL.rounds)
    run.add_argument("--scale", type=float, default=FULL.scale, help="factor for the number of flows and gates")
    run.add_argument(
        "--gate-seconds", type=float, default=FULL.gate_seconds, help="length of the measurement of waiting gates"
    )
    run.add_argument("--only", nargs="+", choices=names, help="run these suites only; requires --trial")
    run.add_argument("--trial", type=Path, metavar="FILE", help="write the results to FILE, and no report")
    commands.add_parser("report", help="write docs/performance.md and its plots from results.json")
    arguments = parser.parse_args()
    if arguments.command == "report":
        write_report(Results.load())
        return 0
    if arguments.only and not arguments.trial:
        parser.error("a report covers all suites: --only requires --trial")
    plan = replace(FULL, rounds=arguments.rounds, scale=arguments.scale, gate_seconds=arguments.gate_seconds)
    home = Path(tempfile.mkdtemp(prefix="vi-benchmark-"))
    try:
        results = measure(plan, arguments.only or names, home)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(home, ignore_errors=True)
    results.save(arguments.trial) if arguments.trial else results.save()
    if not arguments.trial:
        write_report(results)
    print(report.verdicts(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
