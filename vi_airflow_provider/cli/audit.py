"""``vi-airflow audit``: what ``python -m vi_airflow_provider.audit`` prints, and the same as JSON or YAML."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, get_args

from vi_airflow_provider.audit import comparison
from vi_airflow_provider.audit.diff import Kind
from vi_airflow_provider.audit.manifest import ExportError
from vi_airflow_provider.audit.report.index import IndexNotWrittenError, summary_line, write_index
from vi_airflow_provider.cli.errors import ExitCode, reporting
from vi_airflow_provider.cli.output import show_document, show_rows
from vi_airflow_provider.storage.console import print_lines, printable
from vi_airflow_provider.storage.urls import absolute

if TYPE_CHECKING:
    from vi_airflow_provider.audit.diff import Diff

_PROGRAMS: Final = ("json", "yaml")
#: An outage of a storage must not be taken for a difference.
_CODES: Final = {ExportError: ExitCode.UNUSABLE, Exception: ExitCode.UNUSABLE}


def verify(arguments: Any) -> int:
    """Check an export against its manifest."""
    uri = absolute("uri", arguments.uri)
    with reporting(_CODES, f"{uri} cannot be read as an export"):
        found, sentence = comparison.verified(uri)
    if arguments.output in _PROGRAMS:
        show_document(arguments.output, {"uri": uri, **asdict(found)})
    else:
        print_lines([sentence])
    return ExitCode.OK


def diff(arguments: Any) -> int:
    """Show what changed between two exports."""
    old, new = absolute("old", arguments.old), absolute("new", arguments.new)
    failed = f"{old} and {new} cannot be compared"
    with reporting(_CODES, failed, names_file=True), comparison.compared(old, new) as changes:
        for caveat in comparison.caveats(old, new):
            print(printable(caveat), file=sys.stderr)
        if arguments.output in _PROGRAMS:
            show_rows(arguments.output, (), _rows(changes))
        else:
            print_lines(comparison.diff_lines(changes))
        return ExitCode.NO if changes else ExitCode.OK


def index(arguments: Any) -> int:
    """Write a page over the exports of a folder."""
    output = None if arguments.page is None else absolute("page", arguments.page)
    folder = absolute("folder", arguments.folder)
    with reporting({IndexNotWrittenError: ExitCode.OUTPUT, **_CODES}, f"the exports in {folder} cannot be indexed"):
        print_lines([summary_line(*write_index(folder, output))])
    return ExitCode.OK


def _rows(changes: Diff) -> Iterator[dict[str, Any]]:
    for kind in get_args(Kind):
        for each in getattr(changes, kind):
            yield {"kind": kind, **each.as_json(changes.noun)}
