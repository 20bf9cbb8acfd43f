"""``vi-airflow flows list`` and ``get``. They import neither Airflow nor a storage."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from vi_airflow_provider.cli.arguments import criteria
from vi_airflow_provider.cli.connection import open_client
from vi_airflow_provider.cli.errors import ExitCode
from vi_airflow_provider.cli.output import iso_time, show_document, show_rows
from vi_airflow_provider.selection.arguments import optional_count
from vi_airflow_provider.selection.filter import FlowFilter, selected_flows

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import Flow

#: The columns of a list of flows.
COLUMNS: Final = ("flow_id", "name", "training_project", "last_updated", "time_created", "attributes")


def list_flows(arguments: Any) -> int:
    """Print the flows that match, as they arrive."""
    wanted = FlowFilter.build(**criteria(arguments, FlowFilter))
    limit = optional_count("--limit", arguments.limit)
    page_size = optional_count("--page-size", arguments.page_size)
    with open_client(arguments, "flows read", streams=True) as client:
        flows = selected_flows(client, wanted, datetime.now(UTC), limit, page_size)
        show_rows(arguments.output, COLUMNS, map(row_of, flows))
    return ExitCode.OK


def get_flow(arguments: Any) -> int:
    """Print one flow."""
    with open_client(arguments) as client:
        show_flow(arguments.output, client.get_flow(arguments.flow_id))
    return ExitCode.OK


def row_of(flow: Flow) -> dict[str, Any]:
    """Return the row of a flow in a list."""
    return {
        "flow_id": flow.flow_id,
        "name": flow.spec.name,
        "training_project": flow.spec.training_project,
        "last_updated": iso_time(flow.metadata.last_updated),
        "time_created": iso_time(flow.metadata.time_created),
        "attributes": flow.metadata.attributes,
    }


def show_flow(output: str, flow: Flow) -> None:
    """Print a flow: the whole document for programs, its facts for people."""
    facts = {
        **row_of(flow),
        "generation": flow.metadata.generation,
        "etag": flow.etag,
        "digest": flow.digest,
        "fingerprint": flow.fingerprint,
        "schema": flow.spec.schema,
        "settings": flow.spec.settings,
        "tolerations": flow.spec.tolerations,
        **{f"block {number}": block.block for number, block in enumerate(flow.spec.blocks, 1)},
    }
    show_document(output, flow.model_dump(mode="json"), facts)
