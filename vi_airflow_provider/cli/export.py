"""``vi-airflow flows export`` and ``runs export``: what ``ExportFlowsOperator`` and ``ExportRunsOperator`` do."""

from __future__ import annotations

from typing import Any, Literal

from vi_airflow_provider.audit import export as exporting
from vi_airflow_provider.audit.manifest import ExportError
from vi_airflow_provider.cli.arguments import criteria
from vi_airflow_provider.cli.both_clients import open_both_clients
from vi_airflow_provider.cli.errors import CommandError, ExitCode, reporting
from vi_airflow_provider.cli.output import show_document
from vi_airflow_provider.selection.filter import FlowFilter
from vi_airflow_provider.selection.run_filter import RunFilter
from vi_airflow_provider.storage.urls import absolute


def export_flows(arguments: Any) -> int:
    """Export the flows that match, and exit with 1 if there is drift and it was to be reported so."""
    selected = _limited(criteria(arguments, FlowFilter), arguments)
    return _export("flow", arguments, exporting.Choice(selected, arguments.page_size))


def export_runs(arguments: Any) -> int:
    """Export the runs that match, in the same way."""
    selected = _limited(criteria(arguments, RunFilter), arguments)
    return _export("run", arguments, exporting.Choice(selected, arguments.page_size, not arguments.no_outputs))


def _limited(selected: dict[str, Any], arguments: Any) -> dict[str, Any]:
    return selected if arguments.limit is None else {**selected, "limit": arguments.limit}


def _export(noun: Literal["flow", "run"], arguments: Any, choice: exporting.Choice) -> int:
    files = {
        "destination": absolute("destination", arguments.destination),
        "format": arguments.format,
        "compare_to": _earlier(arguments.compare_to),
        "fail_on_drift": arguments.fail_on_drift,
        "html_report": arguments.html_report,
        "csv_bom": not arguments.no_csv_bom,
    }
    # Whatever else the driver of a storage raises, the file cannot be written there.
    codes = {ExportError: ExitCode.UNUSABLE, Exception: ExitCode.OUTPUT}
    failed = f"the export cannot be written to {files['destination']}"
    with open_both_clients(arguments, f"{noun}s read") as client, reporting(codes, failed):
        exported = exporting.export(noun, client, files, choice)
    show_document(arguments.output, exported.as_xcom())
    if exported.fails:
        raise CommandError(exported.drift, ExitCode.NO)
    return ExitCode.OK


def _earlier(place: str | None) -> str | None:
    if place in (None, "previous"):
        return place
    return absolute("compare_to", place) + ("/" if place.endswith("/") and "://" not in place else "")
