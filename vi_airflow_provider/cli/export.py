"""``vi-airflow flows export``: what ``ExportFlowsOperator`` does."""

from __future__ import annotations

from typing import Any

from vi_airflow_provider.audit import export as exporting
from vi_airflow_provider.audit.manifest import ExportError
from vi_airflow_provider.cli.arguments import criteria
from vi_airflow_provider.cli.both_clients import open_both_clients
from vi_airflow_provider.cli.errors import CommandError, ExitCode, reporting
from vi_airflow_provider.cli.output import show_document
from vi_airflow_provider.storage.urls import absolute


def export(arguments: Any) -> int:
    """Export the flows that match, and exit with 1 if there is drift and it was to be reported so."""
    limit = {} if arguments.limit is None else {"limit": arguments.limit}
    choice = exporting.Choice({**criteria(arguments), **limit}, arguments.page_size)
    files = {
        "destination": absolute(arguments.destination),
        "format": arguments.format,
        "compare_to": _export(arguments.compare_to),
        "fail_on_drift": arguments.fail_on_drift,
        "html_report": arguments.html_report,
        "csv_bom": not arguments.no_csv_bom,
    }
    with open_both_clients(arguments, "flows read") as client, reporting({ExportError: ExitCode.UNUSABLE}):
        exported = exporting.export("flow", client, files, choice)
    show_document(arguments.output, exported.as_xcom())
    if exported.fails:
        raise CommandError(exported.drift, ExitCode.NO)
    return ExitCode.OK


def _export(place: str | None) -> str | None:
    if place in (None, "previous"):
        return place
    return absolute(place) + ("/" if place.endswith("/") and "://" not in place else "")
