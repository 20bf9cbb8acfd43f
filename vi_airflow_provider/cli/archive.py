"""``vi-airflow archive``: find deleted flows, look at them, and restore them."""

from __future__ import annotations

import sys
from datetime import datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter, ValidationError

from vi_airflow_provider.api.errors import ViValidationError, refusing
from vi_airflow_provider.api.transport.loop_thread import never
from vi_airflow_provider.api.validation import describe_errors
from vi_airflow_provider.cleanup import restore as restoring
from vi_airflow_provider.cleanup.archive import ArchiveError, read_archive
from vi_airflow_provider.cleanup.archive_search import ArchivedFlow, Period, find_archived
from vi_airflow_provider.cleanup.restore import ArchivedState, archived_state
from vi_airflow_provider.cli.confirmation import confirm, require
from vi_airflow_provider.cli.connection import open_client
from vi_airflow_provider.cli.errors import CommandError, ExitCode, reporting
from vi_airflow_provider.cli.flows import COLUMNS, row_of, show_flow
from vi_airflow_provider.cli.output import iso_time, show_rows
from vi_airflow_provider.selection.arguments import Instant, optional_count
from vi_airflow_provider.selection.matching import name_matches
from vi_airflow_provider.storage.console import printable
from vi_airflow_provider.storage.urls import absolute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vi_airflow_provider.api.client import ViClient
    from vi_airflow_provider.api.models import Flow

_FOUND: Final = ("flow_id", "name", "last_updated", "archived_at", "organization_id", "archive")
_RESTORED: Final = ("outcome", "flow_id", "name")
_CODES: Final = {
    restoring.ExistsError: ExitCode.NO,
    restoring.RestoreError: ExitCode.NO,
    ArchiveError: ExitCode.UNUSABLE,
}
#: What a restore would do about a flow; about one that exists with other content, ``--if-exists`` decides.
_WOULD: Final = {ArchivedState.MISSING: "would_restore", ArchivedState.AS_ARCHIVED: "as_archived"}
_INSTANT: Final[TypeAdapter[datetime]] = TypeAdapter(Instant)


# --- find ------------------------------------------------------------------------------------------------------------


def find(arguments: Any) -> int:
    """Print which archives contain the flows that match."""
    folder, limit = absolute("folder", arguments.folder), optional_count("--limit", arguments.limit)
    wanted = _wanted(arguments)
    period = Period(*(_time(arguments, name) for name in ("archived_after", "archived_before")))
    problems: list[str] = []
    found = False

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal found
        for archived in islice(find_archived(folder, wanted, period, problems.append), limit):
            found = True
            yield _found_row(archived)

    with reporting(_CODES):
        show_rows(arguments.output, _FOUND, rows())
    for problem in problems:
        print(printable(problem), file=sys.stderr)
    if problems:
        raise CommandError(f"{len(problems)} archives could not be searched.", ExitCode.UNUSABLE)
    return ExitCode.OK if found else ExitCode.NO


def _wanted(arguments: Any) -> Callable[[Flow], bool]:
    ids, pattern = arguments.flow_id and frozenset(arguments.flow_id), arguments.name_pattern
    return lambda flow: (
        (ids is None or flow.flow_id in ids) and (pattern is None or name_matches(pattern, flow.spec.name))
    )


def _time(arguments: Any, name: str) -> datetime | None:
    if (value := getattr(arguments, name)) is None:
        return None
    with refusing(ViValidationError, ValidationError, describe=partial(describe_errors, json_path=name)):
        return _INSTANT.validate_python(value)


def _found_row(archived: ArchivedFlow) -> dict[str, Any]:
    flow, manifest = archived.flow, archived.manifest
    return {
        "flow_id": flow.flow_id,
        "name": flow.spec.name,
        "last_updated": iso_time(flow.metadata.last_updated),
        "archived_at": manifest.created_at,
        "organization_id": manifest.organization_id,
        "archive": manifest.uri,
    }


# --- show ------------------------------------------------------------------------------------------------------------


def show(arguments: Any) -> int:
    """Print the flows of an archive that matches its manifest, or one of them as a whole."""
    uri = absolute("archive", arguments.archive)
    with reporting(_CODES):
        if arguments.flow_id is None:
            show_rows(arguments.output, COLUMNS, map(row_of, read_archive(uri)))
        else:
            show_flow(arguments.output, *restoring.archived_flows(uri, [arguments.flow_id]))
    return ExitCode.OK


# --- restore ---------------------------------------------------------------------------------------------------------


def restore(arguments: Any) -> int:
    """Restore flows: compare them with the organization, show what would be written, ask, and write."""
    if not arguments.dry_run:
        require(arguments)
    with reporting(_CODES):
        flows = restoring.archived_flows(absolute("archive", arguments.archive), arguments.flow_id)
        with open_client(arguments) as client:
            return (_compare if arguments.dry_run else _restore)(client, flows, arguments)


def _compare(client: ViClient, flows: Sequence[Flow], arguments: Any) -> int:
    outcomes = [_would(archived_state(client, flow), arguments.if_exists) for flow in flows]
    _show_outcomes(arguments.output, flows, outcomes)
    return ExitCode.NO if "would_fail" in outcomes else ExitCode.OK


def _would(found: ArchivedState, if_exists: str) -> str:
    return f"would_{if_exists}" if found is ArchivedState.DIFFERENT else _WOULD[found]


def _restore(client: ViClient, flows: Sequence[Flow], arguments: Any) -> int:
    organization_id = client.settings.organization_id
    archived_in = ", ".join(sorted({flow.organization_id for flow in flows} - {organization_id}))
    origin = f" (archived in organization {archived_in})" if archived_in else ""
    others = {"fail": "if none of them exists with other content", "skip": "except those that exist with other content"}
    scope = others.get(arguments.if_exists, "REPLACING those that exist with other content")
    confirm(arguments, f"Restore {len(flows)} flows{origin} in organization {organization_id}, {scope}?")
    restore = restoring.Restore(client, arguments.if_exists, never)
    try:
        restore.run(flows)
    finally:  # a restore that ends early has written some of them
        if restore.outcomes or not flows:
            _show_outcomes(arguments.output, flows, [restore.outcomes.get(flow.flow_id, "not_tried") for flow in flows])
    return ExitCode.OK


def _show_outcomes(output: str, flows: Sequence[Flow], outcomes: Sequence[str]) -> None:
    pairs = zip(flows, outcomes, strict=True)
    rows = ({"outcome": outcome, "flow_id": flow.flow_id, "name": flow.spec.name} for flow, outcome in pairs)
    show_rows(output, _RESTORED, rows)
