"""The delete of a single flow: read, archive, read again, delete, as far as the arguments require it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from vi_airflow_provider.api.errors import ViNotFoundError
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.api.transport.loop_thread import raise_if
from vi_airflow_provider.cleanup.destination import Attempt, Destination
from vi_airflow_provider.cleanup.outcome import DeleteOutcome
from vi_airflow_provider.cleanup.policy import Decision
from vi_airflow_provider.selection.arguments import boolean, optional_text
from vi_airflow_provider.storage.places import written_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from vi_airflow_provider.api.client import ViClient
    from vi_airflow_provider.api.models import DeletedFlow

log = logging.getLogger(__name__)

__all__ = ["Attempt", "ChangedError", "DeleteRequest", "delete", "not_found"]


class ChangedError(Exception):
    """The flow was edited since it was selected, so it was left alone."""

    def __init__(self, flow_id: str) -> None:
        super().__init__(f"Flow {flow_id} was changed since it was selected, so it is left alone.")


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


@dataclass(frozen=True)
class DeleteRequest:
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
        folder = written_folder("archive_to", archive_to)
        return cls(
            flow_id,
            optional_text("expected_etag", expected_etag),
            None if folder is None else Destination.of(folder, attempt),
            boolean("dry_run", dry_run),
        )

    def expects(self, flow: Flow) -> bool:
        """Return whether the flow is the version that was selected, if one was."""
        # In a DAG that renders templates as native objects, an etag comes without its quotes.
        return self.expected_etag is None or flow.etag.strip('"') == self.expected_etag.strip('"')

    def guard(self) -> Callable[[Flow], bool]:
        """Return what decides before each request to delete: only the version that was there before the first one.

        A request whose response was lost may have deleted the flow. What is there now may be one that was restored.
        """
        first: str | None = None

        def matches(flow: Flow) -> bool:
            nonlocal first
            first = flow.etag if first is None else first
            return flow.etag == first and self.expects(flow)

        return matches

    def absent(self) -> Deleted:
        """Return the result for a flow that does not exist."""
        # An earlier try may have archived and deleted it, and was killed before it could report that.
        earlier = self.destination.earlier_archives() if self.destination and not self.dry_run else []
        return Deleted(self.flow_id, DeleteOutcome.ALREADY_ABSENT, earlier[-1] if earlier else None)

    def result(self, deleted: DeletedFlow, archive: str | None = None) -> Deleted:
        """Return the result of a delete."""
        if deleted.already_absent and archive is None:
            return self.absent()
        outcome = DeleteOutcome.ALREADY_ABSENT if deleted.already_absent else DeleteOutcome.DELETED
        return Deleted(self.flow_id, outcome, archive)


def delete(request: DeleteRequest, client: ViClient, stopped: Callable[[], bool]) -> Deleted:
    """Delete one flow.

    :param stopped: whether the task was killed
    :raises ChangedError: it has another etag than expected, or was edited while it was archived
    :raises ArchiveError: it could not be archived; it was not deleted
    """
    deleted = _delete(request, client, stopped)
    log.info("Flow %s: %s", request.flow_id, deleted.outcome.value)
    return deleted


def not_found(flow_id: str) -> ViNotFoundError:
    """Return the error for a flow that was to be deleted and does not exist."""
    return ViNotFoundError(f"there is no flow {flow_id}", status_code=404)


def _delete(request: DeleteRequest, client: ViClient, stopped: Callable[[], bool]) -> Deleted:
    archive: str | None = None
    matches = request.guard()
    if request.dry_run or request.destination is not None:
        flow = client.find_flow(flow_id=request.flow_id)
        if flow is None:
            return request.absent()
        if not request.expects(flow):
            raise ChangedError(request.flow_id)
        if request.dry_run:
            return Deleted(request.flow_id, DeleteOutcome.WOULD_DELETE)
        if request.destination is not None:
            archived = Decision.of(flow, "archived", selected=True)
            archive, matches = _archive(flow, archived.document, request.destination), archived.still_matches

    def may_be_deleted(flow: Flow) -> bool:
        raise_if(stopped)
        return matches(flow)

    found = client.delete_flow_if(request.flow_id, may_be_deleted)
    if isinstance(found, Flow):
        raise ChangedError(request.flow_id)
    return request.result(found, archive)


def _archive(flow: Flow, document: bytes, destination: Destination) -> str:
    archive = destination.write({flow.flow_id: document}, flow.organization_id, {"policy": None})
    log.info("Flow %s is archived and verified: %s", flow.flow_id, archive)
    return archive
