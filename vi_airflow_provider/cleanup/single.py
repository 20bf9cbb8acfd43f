"""The delete of a single flow: read, archive, read again, delete, as far as it is asked for."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.api.errors import ViNotFoundError
from vi_airflow_provider.cleanup.deletion import DeleteOutcome
from vi_airflow_provider.cleanup.destination import Attempt, Destination
from vi_airflow_provider.selection.arguments import boolean, optional_text

if TYPE_CHECKING:
    from vi_airflow_provider.api.client import ViClient
    from vi_airflow_provider.api.models import Flow

log = logging.getLogger(__name__)

__all__ = ["Attempt", "ChangedError", "Order", "delete", "not_found"]


class ChangedError(Exception):
    """The flow was edited since it was selected, so it was left alone."""


@dataclass(frozen=True)
class Order:
    """The delete of one flow.

    :param expected_etag: delete it only if it has this etag
    :param destination: where to archive it, ``None`` to delete it without an archive
    :param dry_run: read only
    """

    flow_id: str
    expected_etag: str | None
    destination: Destination | None
    dry_run: bool

    @classmethod
    def of(cls, flow_id: str, attempt: Attempt, expected_etag: Any, archive_to: Any, dry_run: Any) -> Self:
        """Check the arguments of ``DeleteFlowOperator``.

        :raises ViValidationError: a value is unusable; the message names the argument
        """
        folder = optional_text("archive_to", archive_to)
        return cls(
            flow_id,
            optional_text("expected_etag", expected_etag),
            None if folder is None else Destination.of(folder, attempt),
            boolean("dry_run", dry_run),
        )


class Deleted(NamedTuple):
    """What became of the flow, and the URL of its archive, which an earlier try may have written."""

    flow_id: str
    outcome: DeleteOutcome
    archive: str | None = None

    @property
    def missing(self) -> bool:
        """Whether there was no such flow. One that this task instance archived was there."""
        return self.outcome is DeleteOutcome.ALREADY_ABSENT and self.archive is None

    def as_json(self) -> dict[str, str | None]:
        """Return the result as JSON data."""
        return {"flow_id": self.flow_id, "outcome": self.outcome.value, "archive": self.archive}


def delete(order: Order, client: ViClient) -> Deleted:
    """Delete one flow.

    :raises ChangedError: it has another etag than expected, or was edited while it was archived
    :raises ArchiveError: it could not be archived; it was not deleted
    """
    deleted = _delete(order, client)
    log.info("Flow %s: %s", order.flow_id, deleted.outcome.value)
    return deleted


def not_found(flow_id: str) -> ViNotFoundError:
    """Return the error for a flow that was to be deleted and does not exist."""
    return ViNotFoundError(f"there is no flow {flow_id}", status_code=404)


def _delete(order: Order, client: ViClient) -> Deleted:
    archive = None
    if order.dry_run or order.expected_etag is not None or order.destination is not None:
        flow = _unchanged(client, order.flow_id, order.expected_etag)
        if flow is None:
            # An earlier try may have archived and deleted it, and was killed before it could report that.
            earlier = order.destination.earlier_archives() if order.destination else []
            return Deleted(order.flow_id, DeleteOutcome.ALREADY_ABSENT, earlier[-1] if earlier else None)
        if order.dry_run:
            return Deleted(order.flow_id, DeleteOutcome.WOULD_DELETE)
        if order.destination is not None:
            archive = _archive(flow, order.destination)
            if _unchanged(client, order.flow_id, flow.etag) is None:
                return Deleted(order.flow_id, DeleteOutcome.ALREADY_ABSENT, archive)
    absent = client.delete_flow(order.flow_id).already_absent
    return Deleted(order.flow_id, DeleteOutcome.ALREADY_ABSENT if absent else DeleteOutcome.DELETED, archive)


def _archive(flow: Flow, destination: Destination) -> str:
    document = {flow.flow_id: canonical_json(flow.to_wire())}
    archive = destination.write(document, flow.organization_id, {"policy": None})
    log.info("Flow %s is archived and verified: %s", flow.flow_id, archive)
    return archive


def _unchanged(client: ViClient, flow_id: str, etag: str | None) -> Flow | None:
    flow = client.find_flow(flow_id=flow_id)
    # In a DAG that renders templates as native objects, an etag comes without its quotes.
    if flow is None or etag is None or flow.etag.strip('"') == etag.strip('"'):
        return flow
    raise ChangedError(f"Flow {flow_id} was changed since it was selected, so it is left alone.")
