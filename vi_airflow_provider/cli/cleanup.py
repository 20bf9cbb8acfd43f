"""``vi-airflow flows prune``, ``flows delete`` and ``runs prune``: plan, show, confirm, archive, check, delete."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.transport.loop_thread import never
from vi_airflow_provider.cleanup import prune as pruning
from vi_airflow_provider.cleanup import single
from vi_airflow_provider.cleanup.archive import ArchiveError, ArchiveNotWrittenError
from vi_airflow_provider.cleanup.report import summary
from vi_airflow_provider.cli.arguments import pairs
from vi_airflow_provider.cli.both_clients import BothClients, open_both_clients
from vi_airflow_provider.cli.confirmation import confirm, require
from vi_airflow_provider.cli.connection import open_client, settings_of
from vi_airflow_provider.cli.errors import CommandError, ExitCode, reporting
from vi_airflow_provider.cli.output import iso_time, show_document, show_rows
from vi_airflow_provider.storage.console import printable
from vi_airflow_provider.storage.urls import absolute
from vi_airflow_provider.training.summary import describe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vi_airflow_provider.api.models import Flow, Run, RunOutput
    from vi_airflow_provider.cleanup.kind import Kind
    from vi_airflow_provider.cleanup.report import Report

_RUN_RULES: Final = ("keep_best", "best_metric", "keep_succeeded")
#: The options that a plan replaces; some are only those of runs.
_POLICY: Final = (
    *("older_than", "name_pattern", "training_project", "attribute", "state", "keep_last"),
    *_RUN_RULES,
)
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


def prune_flows(arguments: Any) -> int:
    """Show the flows that a policy selects, and unless it is a dry run, delete them after a confirmation."""
    return _prune(arguments, _rules(arguments), pruning.FLOWS)


def prune_runs(arguments: Any) -> int:
    """Show the runs that a policy selects, and unless it is a dry run, delete them after a confirmation."""
    rules = {**_rules(arguments), **{name: getattr(arguments, name) for name in _RUN_RULES}, "states": arguments.state}
    settings = settings_of(arguments.conn_id)

    def summarize(run: Run, outputs: Sequence[RunOutput]) -> dict[str, Any]:
        return describe(run, outputs, arguments.best_metric, settings.run_url(run))

    return _prune(arguments, rules, pruning.RunKind(summarize))


def _prune(arguments: Any, rules: Mapping[str, Any], kind: Kind) -> int:
    if not arguments.dry_run:
        require(arguments)
    request = pruning.PruneRequest.build(rules, _plan(arguments), _limits(arguments), arguments.dry_run, kind)
    codes: Mapping[type[Exception], ExitCode] = {
        pruning.GuardError: ExitCode.NO,
        ArchiveNotWrittenError: ExitCode.OUTPUT,
        ArchiveError: ExitCode.UNUSABLE,
    }
    with open_both_clients(arguments, f"{kind.noun}s read") as client, reporting(codes):
        report = _cleanup(client).review(request)
    settled = None if arguments.plan is None else len(report.results) - len(report.plan.selected)
    _tell(summary(report.noun, report.plan, settled, dry_run=arguments.dry_run))
    if arguments.dry_run:
        return _finish_dry_run(arguments.output, report)
    if report.guard is not None:
        raise CommandError(f"{report.guard} Nothing was deleted.", ExitCode.NO)
    if report.plan.selected:
        _show_selected(report)
        confirm(arguments, _question(request, report))
    with open_both_clients(arguments) as client, reporting(codes):
        return _delete_selected(arguments.output, client, request.for_reviewed(report))


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
    return None if arguments.archive_to is None else absolute("archive_to", arguments.archive_to)


def _plan(arguments: Any) -> Any:
    """Return the report of an earlier dry run, ``None`` without one."""
    if arguments.plan is None:
        return None
    if given := [name for name in _POLICY if getattr(arguments, name, None) is not None]:
        raise ViValidationError(f"--plan: it replaces the policy; leave out --{given[0].replace('_', '-')}")
    try:
        return json.loads(Path(arguments.plan).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON, as -o json prints it"
    raise ViValidationError(f"--plan: {arguments.plan!r:.200} cannot be read: {reason}")


def _cleanup(client: BothClients) -> pruning.Cleanup:
    return pruning.Cleanup(client, client.get_async_conn, never)


def _finish_dry_run(output: str, report: Report) -> int:
    _show_report(output, report.as_json(None, whole=True), report.noun)
    if report.guard is None:
        return ExitCode.OK
    _tell(f"With --no-dry-run, a guard would refuse this: {report.guard}")
    return ExitCode.NO


def _delete_selected(output: str, client: BothClients, request: pruning.PruneRequest) -> int:
    try:
        report = _cleanup(client).run(request, _attempt("prune"))
    except pruning.PruneError as error:
        _show_report(output, error.report, request.kind.noun)
        raise CommandError(str(error), ExitCode.NO) from error
    _show_report(output, report, request.kind.noun)
    return ExitCode.OK


def _show_report(output: str, report: Mapping[str, Any], noun: str) -> None:
    if output in ("json", "yaml"):
        show_document(output, report)
        return
    outcomes = ({**row, "last_updated": iso_time(row["last_updated"])} for row in report["outcomes"])
    show_rows(output, ("outcome", f"{noun}_id", "name", "last_updated", "reason"), outcomes)
    if report["report"]:
        _tell(f"report: {report['report']}")


def _show_selected(report: Report) -> None:
    selected = report.plan.selected
    for decision in selected[:_SHOWN]:
        _tell(f"  {decision.document_id}  {decision.name}  ({decision.reason})")
    if len(selected) > _SHOWN:
        _tell(f"  … and {len(selected) - _SHOWN} more; --dry-run lists all")


def _question(request: pruning.PruneRequest, report: Report) -> str:
    after = f"after they are archived to {request.archive_to}" if request.archive_to else "WITHOUT an archive"
    if report.noun == "run":
        after += ", with their logs, metrics and checkpoints; a run cannot be restored"
    return f"Delete {len(report.plan.selected)} {report.noun}s of organization {report.organization_id}, {after}?"


# --- delete ----------------------------------------------------------------------------------------------------------


def delete(arguments: Any) -> int:
    """Delete one flow: show it, ask, archive it if there is a folder, and delete the version that was shown."""
    if not arguments.dry_run:
        require(arguments)
    codes: Mapping[type[Exception], ExitCode] = {
        single.ChangedError: ExitCode.CONFLICT,
        ArchiveNotWrittenError: ExitCode.OUTPUT,
        ArchiveError: ExitCode.UNUSABLE,
    }
    with open_client(arguments) as client, reporting(codes):
        flow = client.get_flow(arguments.flow_id)
        etag = flow.etag if arguments.expected_etag is None else arguments.expected_etag
        request = single.DeleteRequest.of(flow.flow_id, _attempt("delete"), etag, _folder(arguments), arguments.dry_run)
        if not request.expects(flow):
            raise single.ChangedError(flow.flow_id)
        if not arguments.dry_run:
            confirm(arguments, _question_about(flow, _folder(arguments)))
        deleted = single.delete(request, client, never)
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
    """Return what the names of archives are made of; a command has no earlier tries.

    The archive is named at once: a command that is interrupted while it deletes has no result.
    """
    return single.Attempt("", False, ("vi-airflow", verb), lambda uri: _tell(f"archive: {uri}"))


def _tell(text: str) -> None:
    print(printable(text), file=sys.stderr)
