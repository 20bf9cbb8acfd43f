"""Deletes the flows or runs of a plan that are unchanged since it was made.

Each one is read again immediately before each attempt to delete it; one failure does not stop the others.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from vi_airflow_provider.api.errors import ViConflictError, ViError
from vi_airflow_provider.api.models.document import DeletedDocument
from vi_airflow_provider.api.transport.concurrency import map_concurrently
from vi_airflow_provider.api.transport.loop_thread import raise_if, run_in_thread
from vi_airflow_provider.cleanup.outcome import DeleteOutcome, DeleteResult, may_be_deleted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vi_airflow_provider.api.async_client import AsyncViClient
    from vi_airflow_provider.cleanup.kind import Execution, Kind
    from vi_airflow_provider.cleanup.policy import Decision
    from vi_airflow_provider.cleanup.subject import Subject

log = logging.getLogger(__name__)


def delete_unchanged(kind: Kind, decisions: Sequence[Decision], execution: Execution) -> list[DeleteResult]:
    """Delete what still is as it was decided about.

    An interruption (a signal, or ``stopped()``) ends it within the requests that are in flight.

    :param kind: flows or runs
    :param decisions: what is selected
    :return: the results, in the order of the decisions
    """
    settled: list[DeleteResult] = []

    async def delete(client: AsyncViClient, decision: Decision) -> DeleteResult:
        result = await _delete(kind, client, decision, execution.stopped)
        settled.append(result)
        return result

    async def delete_all() -> list[DeleteResult]:
        async with await execution.connect() as client:
            return await map_concurrently(decisions, lambda decision: delete(client, decision), execution.concurrency)

    try:
        return run_in_thread(delete_all, execution.stopped)
    except BaseException:
        deleted = sum(result.outcome is DeleteOutcome.DELETED for result in settled)
        log.warning(
            "Interrupted: %d of %d selected %ss were deleted; up to %d more, whose responses did not arrive, may be.",
            *(deleted, len(decisions), kind.noun, min(execution.concurrency, len(decisions) - len(settled))),
        )
        raise


async def _delete(kind: Kind, client: AsyncViClient, decision: Decision, stopped: Callable[[], bool]) -> DeleteResult:
    def matches(subject: Subject) -> bool:
        raise_if(stopped)
        return may_be_deleted(decision, subject)

    try:
        found = await kind.delete_if(client, decision.document_id, matches)
    except ViConflictError as error:
        return DeleteResult.of(decision, DeleteOutcome.BUSY, str(error))
    except ViError as error:
        return DeleteResult.of(decision, DeleteOutcome.FAILED, f"{type(error).__name__}: {error}")
    if isinstance(found, DeletedDocument):
        outcome = DeleteOutcome.ALREADY_ABSENT if found.already_absent else DeleteOutcome.DELETED
        return DeleteResult.of(decision, outcome)
    return DeleteResult.of(decision, DeleteOutcome.CHANGED)
