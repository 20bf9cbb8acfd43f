"""Deletes what was planned, and nothing that has changed since.

Each flow is looked at again immediately before its delete; one failure does not stop the others.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from vi_airflow_provider.api.errors import ViConflictError, ViError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vi_airflow_provider.api.async_client import AsyncViClient
    from vi_airflow_provider.cleanup.policy import Decision


class PruneError(Exception):
    """Some flows could not be deleted; the message names them."""


class DeleteOutcome(StrEnum):
    """What became of a selected flow."""

    WOULD_DELETE = "would_delete"
    DELETED = "deleted"
    #: It is not the flow that was selected any more, so it was left alone.
    CHANGED = "changed"
    #: A run uses it, so the server refused.
    BUSY = "busy"
    ALREADY_ABSENT = "already_absent"
    FAILED = "failed"


@dataclass(frozen=True)
class Result:
    """The outcome for one flow, with what identified it when it was selected."""

    flow_id: str
    name: str
    etag: str
    last_updated: int
    outcome: DeleteOutcome
    reason: str

    @classmethod
    def of(cls, decision: Decision, outcome: DeleteOutcome, reason: str | None = None) -> Result:
        """Say what became of a selected flow; the reason is why it was selected, or why it could not be deleted."""
        return cls(
            decision.flow_id,
            decision.name,
            decision.etag,
            decision.last_updated,
            outcome,
            decision.reason if reason is None else reason,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON data."""
        return {**asdict(self), "outcome": self.outcome.value}


async def delete_unchanged(client: AsyncViClient, decisions: Sequence[Decision], concurrency: int) -> list[Result]:
    """Delete the selected flows that are still as they were, at most ``concurrency`` at a time."""
    from vi_airflow_provider.api.async_client import each  # which brings aiohttp

    async def delete(decision: Decision) -> Result:
        try:
            return await _delete_unchanged(client, decision)
        except ViConflictError as error:
            return Result.of(decision, DeleteOutcome.BUSY, str(error))
        except ViError as error:
            return Result.of(decision, DeleteOutcome.FAILED, f"{type(error).__name__}: {error}")

    return await each(decisions, delete, concurrency)


async def _delete_unchanged(client: AsyncViClient, decision: Decision) -> Result:
    flow = await client.find_flow(flow_id=decision.flow_id)
    if flow is None:
        return Result.of(decision, DeleteOutcome.ALREADY_ABSENT)
    if (flow.etag, flow.metadata.last_updated) != (decision.etag, decision.last_updated):
        return Result.of(decision, DeleteOutcome.CHANGED, "it was changed since it was selected")
    deleted = await client.delete_flow(decision.flow_id)
    return Result.of(decision, DeleteOutcome.ALREADY_ABSENT if deleted.already_absent else DeleteOutcome.DELETED)
