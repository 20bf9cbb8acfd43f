"""What became of each selected flow or run, and whether one may be deleted at all."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from vi_airflow_provider.cleanup.subject import Subject, obstacle

if TYPE_CHECKING:
    from vi_airflow_provider.cleanup.policy import Decision


class DeleteOutcome(StrEnum):
    """What became of a selected flow or run."""

    WOULD_DELETE = "would_delete"
    DELETED = "deleted"
    #: It was edited since it was selected, so it was left alone.
    CHANGED = "changed"
    #: A run uses it, or it is an active run, so the server refused.
    BUSY = "busy"
    ALREADY_ABSENT = "already_absent"
    FAILED = "failed"


@dataclass(frozen=True)
class DeleteResult:
    """The outcome for one flow or run, with what identified it when it was selected."""

    document_id: str
    name: str
    etag: str
    last_updated: int
    outcome: DeleteOutcome
    #: Why it was selected, or why it was not deleted.
    reason: str

    @classmethod
    def of(cls, decision: Decision, outcome: DeleteOutcome, reason: str | None = None) -> Self:
        """Make the result for what was selected; by default, the reason is that of the decision."""
        if reason is None:
            unchanged = outcome is not DeleteOutcome.CHANGED
            reason = decision.reason if unchanged else "it was changed since it was selected"
        return cls(decision.document_id, decision.name, decision.etag, decision.last_updated, outcome, reason)

    def as_json(self, noun: str) -> dict[str, Any]:
        """Return the result as JSON data.

        :param noun: what was to be deleted, ``"flow"`` or ``"run"``
        """
        fields = asdict(self)
        return {f"{noun}_id": fields.pop("document_id"), **fields, "outcome": self.outcome.value}


def may_be_deleted(decision: Decision, subject: Subject) -> bool:
    """Return whether a document still is what was decided about, and nothing is in the way of deleting it."""
    return decision.still_matches(subject) and obstacle(subject) is None
