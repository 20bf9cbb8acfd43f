"""``python -m vi_airflow_provider.audit``: verify an export, show what changed, or write a page over a folder."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from vi_airflow_provider.api.errors import one_line
from vi_airflow_provider.audit import comparison
from vi_airflow_provider.audit.manifest import ExportError
from vi_airflow_provider.audit.report.index import IndexNotWrittenError, summary_line, write_index
from vi_airflow_provider.storage.console import OutputError, print_lines
from vi_airflow_provider.storage.urls import absolute

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0: success; 1: the exports differ; 2: an export cannot be trusted or read; 3: what is printed, or the page, cannot
    be written.
    """
    chosen = _parser().parse_args(arguments)
    with ExitStack() as resources:
        try:
            if chosen.command == "verify":
                code, lines = _verify(absolute("uri", chosen.uri))
            elif chosen.command == "index":
                output = None if chosen.output is None else absolute("output", chosen.output)
                code, lines = _index(absolute("folder", chosen.folder), output)
            else:
                code, lines = _diff(absolute("old", chosen.old), absolute("new", chosen.new), resources)
        except ExportError as error:  # it may name several flows, each on a line
            print(error, file=sys.stderr)
            return 2
        except IndexNotWrittenError as error:
            print(one_line(str(error)), file=sys.stderr)
            return 3
        except Exception as error:  # whatever a storage's driver raises: an outage must not be reported as a difference
            print(one_line(f"{type(error).__name__}: {error}"), file=sys.stderr)
            return 2
        return _print(lines, code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m vi_airflow_provider.audit", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="check an export against its manifest")
    verify.add_argument("uri", help="path or URL of the export")
    diff = commands.add_parser("diff", help="show what changed between two jsonl exports")
    diff.add_argument("old", help="path or URL of the older export")
    diff.add_argument("new", help="path or URL of the newer export")
    index = commands.add_parser("index", help="write a page over the exports of a folder and its subfolders")
    index.add_argument("folder", help="path or URL of the folder")
    index.add_argument("--output", help="the page (default: index.html in the folder)")
    return parser


def _verify(uri: str) -> tuple[int, Iterable[str]]:
    return 0, [comparison.verified(uri)[1]]


def _diff(old: str, new: str, resources: ExitStack) -> tuple[int, Iterable[str]]:
    changes = resources.enter_context(comparison.compared(old, new))
    for caveat in comparison.caveats(old, new):
        print(caveat, file=sys.stderr)
    return int(bool(changes)), comparison.diff_lines(changes)


def _index(folder: str, output: str | None) -> tuple[int, Iterable[str]]:
    return 0, [summary_line(*write_index(folder, output))]


def _print(lines: Iterable[str], code: int) -> int:
    """Print, and return the exit code: an output error is not a verdict on the exports."""
    try:
        print_lines(lines)
    except OutputError as error:
        print(one_line(str(error)), file=sys.stderr)
        return 3
    return code


if __name__ == "__main__":
    sys.exit(main())
