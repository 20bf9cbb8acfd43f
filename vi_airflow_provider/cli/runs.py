"""``vi-airflow runs list``, ``get``, ``outputs`` and ``kill``. They import neither Airflow nor a storage."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from vi_airflow_provider.cli.arguments import criteria
from vi_airflow_provider.cli.confirmation import confirm, require
from vi_airflow_provider.cli.connection import open_client
from vi_airflow_provider.cli.errors import ExitCode, reporting
from vi_airflow_provider.cli.output import iso_time, show_document, show_rows
from vi_airflow_provider.cli.progress import counting
from vi_airflow_provider.selection.arguments import optional_count
from vi_airflow_provider.selection.run_filter import RunFilter, selected_runs
from vi_airflow_provider.training.starting import RunStillActiveError, kill_and_wait
from vi_airflow_provider.training.summary import describe_output, summarize, summarize_listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vi_airflow_provider.api.client import ViClient
    from vi_airflow_provider.api.models import Run

_TIMES: Final = ("created_at", "started_at", "ended_at")
_COLUMNS: Final = ("run_id", "state", "flow_name", "training_project", *_TIMES, "running_seconds", "reason")
_OUTPUTS: Final = ("run_output_id", "epoch", "kind", "metrics", "storage_object")
_KILLED: Final = ("outcome", "run_id", "state", "flow_name")


def list_runs(arguments: Any) -> int:
    """Print the runs that match, newest first."""
    with open_client(arguments, "runs read", streams=True) as client:
        rows = (
            _with_iso_times(summarize_listed(run, url=client.settings.run_url(run)))
            for run in _selected(client, arguments)
        )
        show_rows(arguments.output, _COLUMNS, rows)
    return ExitCode.OK


def _selected(client: ViClient, arguments: Any) -> Iterator[Run]:
    limit = optional_count("--limit", arguments.limit)
    return selected_runs(client, RunFilter.build(**criteria(arguments, RunFilter)), datetime.now(UTC), limit)


def get_run(arguments: Any) -> int:
    """Print one run."""
    with open_client(arguments) as client:
        run = client.get_run(arguments.run_id)
        outputs = list(client.list_run_outputs(run.run_id))
        summary = summarize(run, outputs, None, adopted=False, url=client.settings.run_url(run))
    show_document(arguments.output, _with_iso_times(summary))
    return ExitCode.OK


def list_outputs(arguments: Any) -> int:
    """Print the checkpoints of a run, without the URLs to download them, which work without a key."""
    with open_client(arguments) as client:
        rows = (describe_output(output) or {} for output in client.list_run_outputs(arguments.run_id))
        show_rows(arguments.output, _OUTPUTS, rows)
    return ExitCode.OK


def kill(arguments: Any) -> int:
    """Kill a run that is active, after a confirmation."""
    if not arguments.dry_run:
        require(arguments)
    with open_client(arguments) as client, reporting({RunStillActiveError: ExitCode.TEMPORARY}):
        run = client.get_run(arguments.run_id)
        outcome = "already_ended"
        if not run.state.is_ended:
            outcome = "would_kill" if arguments.dry_run else "killed"
        if outcome == "killed":
            killed = _kill(client, run, arguments)
            outcome = "killed" if killed is None or killed.spec.killed_at is not None else "already_ended"
            run = killed or run
    show_rows(arguments.output, _KILLED, [{**summarize_listed(run, url=""), "outcome": outcome}])
    return ExitCode.OK


def _kill(client: ViClient, run: Run, arguments: Any) -> Run | None:
    since = iso_time(run.started_at or run.metadata.time_created)
    of_what = f"of flow {run.spec.flow.name!r} in organization {run.organization_id}, {run.state.value} since {since}"
    confirm(arguments, f"Kill run {run.run_id} {of_what}? It is permanent, and used credits are not refunded.")
    if arguments.no_wait:
        return client.kill_run(run.run_id)
    with counting("waiting for the run to end"):
        return kill_and_wait(client, run.run_id)


def _with_iso_times(summary: dict[str, Any]) -> dict[str, Any]:
    return {**summary, **{name: iso_time(summary[name]) for name in _TIMES}}
