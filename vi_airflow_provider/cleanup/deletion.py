"""Deletes the flows of a plan that are unchanged since it was made.

Each flow is read again immediately before each attempt to delete it; one failure does not stop the others.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from vi_airflow_provider.api.errors import ViConflictError, ViError
from vi_airflow_provider.api.models import DeletedFlow
from vi_airflow_provider.api.transport.concurrency import map_concurrently
from vi_airflow_provider.api.transport.loop_thread import raise_if, run_in_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from vi_airflow_provider.api.async_client import AsyncViClient
    from vi_airflow_provider.api.models import Flow
    from vi_airflow_provider.cleanup.policy import Decision

log = logging.getLogger(__name__)


class DeleteOutcome(StrEnum):
    """What became of a selected flow."""

    WOULD_DELETE = "would_delete"
    DELETED = "deleted"
    #: It was edited since it was selected, so it was left alone.
    CHANGED = "changed"
    #: A run uses it, so the server refused.
    BUSY = "busy"
    ALREADY_ABSENT = "already_absent"
    FAILED = "failed"


@dataclass(frozen=True)
class DeleteResult:
    """The outcome for one flow, with what identified it when it was selected."""

    flow_id: str
    name: str
    etag: str
    last_updated: int
    outcome: DeleteOutcome
    #: Why it was selected, or why it was not deleted.
    reason: str

    @classmethod
    def of(cls, decision: Decision, outcome: DeleteOutcome, reason: str | None = None) -> Self:
        """Make the result for a selected flow; by default, the reason is that of the decision."""
        if reason is None:
            unchanged = outcome is not DeleteOutcome.CHANGED
            reason = decision.reason if unchanged else "it was changed since it was selected"
        return cls(decision.flow_id, decision.name, decision.etag, decision.last_updated, outcome, reason)

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON data."""
        return {**asdict(self), "outcome": self.outcome.value}


def delete_unchanged(
    connect: Callable[[], Awaitable[AsyncViClient]],
    decisions: Sequence[Decision],
    concurrency: int,
    stopped: Callable[[], bool],
) -> list[DeleteResult]:
    """Delete the flows that still are as they were decided about.

    An interruption (a signal, or ``stopped()``) ends it within the requests that are in flight.

    :param connect: opens the client that sends the deletes
    :param decisions: the selected flows
    :param concurrency: flows that are deleted at the same time
    :param stopped: whether the task was killed
    :return: the results, in the order of the decisions
    """
    settled: list[DeleteResult] = []

    async def delete(client: AsyncViClient, decision: Decision) -> DeleteResult:
        result = await _delete(client, decision, stopped)
        settled.append(result)
        return result

    async def delete_all() -> list[DeleteResult]:
        async with await connect() as client:
            return await map_concurrently(decisions, lambda decision: delete(client, decision), concurrency)

    try:
        return run_in_thread(delete_all, stopped)
    except BaseException:
        deleted = sum(result.outcome is DeleteOutcome.DELETED for result in settled)
        log.warning(
            "Interrupted: %d of %d selected flows were deleted; up to %d more, whose responses did not arrive, may be.",
            *(deleted, len(decisions), min(concurrency, len(decisions) - len(settled))),
        )
        raise


async def _delete(client: AsyncViClient, decision: Decision, stopped: Callable[[], bool]) -> DeleteResult:
    def may_be_deleted(flow: Flow) -> bool:
        raise_if(stopped)
        return decision.still_matches(flow)

    try:
        found = await client.delete_flow_if(decision.flow_id, may_be_deleted)
    except ViConflictError as error:
        return DeleteResult.of(decision, DeleteOutcome.BUSY, str(error))
    except ViError as error:
        return DeleteResult.of(decision, DeleteOutcome.FAILED, f"{type(error).__name__}: {error}")
    if isinstance(found, DeletedFlow):
        outcome = DeleteOutcome.ALREADY_ABSENT if found.already_absent else DeleteOutcome.DELETED
        return DeleteResult.of(decision, outcome)
    return DeleteResult.of(decision, DeleteOutcome.CHANGED)
