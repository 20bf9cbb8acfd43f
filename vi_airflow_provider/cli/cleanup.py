"""``vi-airflow flows prune`` and ``delete``: look, show, ask, archive, look again, delete."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.transport.loop_thread import never
from vi_airflow_provider.cleanup import prune as pruning
from vi_airflow_provider.cleanup import single
from vi_airflow_provider.cleanup.archive import ArchiveError
from vi_airflow_provider.cleanup.report import summary
from vi_airflow_provider.cli.arguments import pairs
from vi_airflow_provider.cli.both_clients import BothClients, open_both_clients
from vi_airflow_provider.cli.confirmation import confirm, require
from vi_airflow_provider.cli.connection import open_client
from vi_airflow_provider.cli.errors import CommandError, ExitCode, reporting
from vi_airflow_provider.cli.output import iso_time, show_document, show_rows
from vi_airflow_provider.storage.console import printable
from vi_airflow_provider.storage.urls import absolute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vi_airflow_provider.api.models import Flow
    from vi_airflow_provider.cleanup.report import Report

_OUTCOMES: Final = ("outcome", "flow_id", "name", "last_updated", "reason")
_DELETED: Final = ("outcome", "flow_id", "name", "archive")
#: Flows that are shown before the question whether to delete them.
_SHOWN: Final = 20
_LIMITS: Final = (
    "max_delete",
    "max_delete_fraction",
    "protect_unmatched",
    "allow_unarchived",
    "concurrency",
    "page_size",
)


# --- prune -----------------------------------------------------------------------------------------------------------


def prune(arguments: Any) -> int:
    """Show the flows that a policy selects, and unless it is a dry run, delete them after a confirmation."""
    if not arguments.dry_run:
        require(arguments)
    order = pruning.Order.build(_rules(arguments), _plan(arguments), _limits(arguments), arguments.dry_run)
    codes: Mapping[type[Exception], ExitCode] = {
        pruning.GuardError: ExitCode.NO,
        ArchiveError: ExitCode.UNUSABLE,
    }
    with open_both_clients(arguments, "flows read") as client, reporting(codes):
        report = _cleanup(client).review(order)
    settled = None if arguments.plan is None else len(report.results) - len(report.plan.selected)
    _tell(summary(report.noun, report.plan, settled, dry_run=arguments.dry_run))
    if arguments.dry_run:
        return _finish_dry_run(arguments.output, report)
    if report.guard is not None:
        raise CommandError(f"{report.guard} Nothing was deleted.", ExitCode.NO)
    if report.plan.selected:
        _show_selected(report)
        confirm(arguments, _question(order, report))
    with open_both_clients(arguments) as client, reporting(codes):
        return _delete_selected(arguments.output, client, order.for_reviewed(report))


def _rules(arguments: Any) -> dict[str, Any]:
    return {
        **{name: getattr(arguments, name) for name in ("older_than", "age_of", "name_pattern", "training_project")},
        "attributes": pairs("--attribute", arguments.attribute),
        "keep_last": arguments.keep_last,
        "protect_ids": arguments.protect_id,
        "protect_names": arguments.protect_name,
        "protect_attributes": pairs("--protect-attribute", arguments.protect_attribute),
    }


def _limits(arguments: Any) -> dict[str, Any]:
    return {**{name: getattr(arguments, name) for name in _LIMITS}, "archive_to": _folder(arguments)}


def _folder(arguments: Any) -> str | None:
    return None if arguments.archive_to is None else absolute(arguments.archive_to)


def _plan(arguments: Any) -> Any:
    """Return the report of an earlier dry run, ``None`` without one."""
    if arguments.plan is None:
        return None
    policy = ("older_than", "name_pattern", "training_project", "attribute", "keep_last")
    if given := [name for name in policy if getattr(arguments, name) is not None]:
        raise ViValidationError(f"--plan: it replaces the policy; leave out --{given[0].replace('_', '-')}")
    try:
        return json.loads(Path(arguments.plan).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no JSON, as -o json prints it"
    raise ViValidationError(f"--plan: {arguments.plan!r:.200} cannot be read: {reason}")


def _cleanup(client: BothClients) -> pruning.Cleanup:
    return pruning.Cleanup(client, client.get_async_conn, never)


def _finish_dry_run(output: str, report: Report) -> int:
    _show_report(output, report.as_json(None, whole=True))
    if report.guard is None:
        return ExitCode.OK
    _tell(f"With --no-dry-run, a guard would refuse this: {report.guard}")
    return ExitCode.NO


def _delete_selected(output: str, client: BothClients, order: pruning.Order) -> int:
    try:
        report = _cleanup(client).run(order, _attempt("prune"))
    except pruning.PruneError as error:
        _show_report(output, error.report)
        raise CommandError(str(error), ExitCode.NO) from error
    _show_report(output, report)
    return ExitCode.OK


def _show_report(output: str, report: Mapping[str, Any]) -> None:
    if output in ("json", "yaml"):
        show_document(output, report)
        return
    outcomes = ({**row, "last_updated": iso_time(row["last_updated"])} for row in report["outcomes"])
    show_rows(output, _OUTCOMES, outcomes)
    for name in ("archive", "report"):
        if report[name]:
            _tell(f"{name}: {report[name]}")


def _show_selected(report: Report) -> None:
    selected = report.plan.selected
    for decision in selected[:_SHOWN]:
        _tell(f"  {decision.document_id}  {decision.name}  ({decision.reason})")
    if len(selected) > _SHOWN:
        _tell(f"  … and {len(selected) - _SHOWN} more; --dry-run lists all")


def _question(order: pruning.Order, report: Report) -> str:
    after = f"after they are archived to {order.archive_to}" if order.archive_to else "WITHOUT an archive"
    return f"Delete {len(report.plan.selected)} flows of organization {report.organization_id}, {after}?"


# --- delete ----------------------------------------------------------------------------------------------------------


def delete(arguments: Any) -> int:
    """Delete one flow: show it, ask, archive it if there is a folder, and delete the version that was shown."""
    if not arguments.dry_run:
        require(arguments)
    codes = {single.ChangedError: ExitCode.CONFLICT, ArchiveError: ExitCode.UNUSABLE}
    with open_client(arguments) as client, reporting(codes):
        flow = client.get_flow(arguments.flow_id)
        etag = flow.etag if arguments.expected_etag is None else arguments.expected_etag
        order = single.Order.of(flow.flow_id, _attempt("delete"), etag, _folder(arguments), arguments.dry_run)
        if not order.expects(flow):
            raise single.ChangedError(flow.flow_id)
        if not arguments.dry_run:
            confirm(arguments, _question_about(flow, _folder(arguments)))
        deleted = single.delete(order, client, never)
    show_rows(arguments.output, _DELETED, [{**deleted.as_json(), "name": flow.spec.name}])
    return ExitCode.OK


def _question_about(flow: Flow, folder: str | None) -> str:
    after = f"after it is archived to {folder}" if folder else "WITHOUT an archive (--archive-to FOLDER makes one)"
    updated = iso_time(flow.metadata.last_updated)
    return (
        f"Delete flow {flow.flow_id} ({flow.spec.name!r}, last updated {updated}) of organization "
        f"{flow.organization_id}, {after}?"
    )


def _attempt(verb: str) -> single.Attempt:
    """Return what the names of archives are made of; a command has no earlier tries."""
    return single.Attempt("", is_retry=False, labels=("vi-airflow", verb))


def _tell(text: str) -> None:
    print(printable(text), file=sys.stderr)
