"""What a cleanup deletes, flows or runs, and the few things that it reads of either."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, TypeAlias

from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.api.models import Flow, Run
from vi_airflow_provider.api.run_state import FLOW_ID_ATTRIBUTE

Subject: TypeAlias = Flow | Run

ACTIVE: Final = "it has not ended"
KILLED_ONLY: Final = "it was killed, and is not reported as ended"
RESTARTED: Final = "it went on after its end, so it may have been restarted"


def id_of(subject: Subject) -> str:
    """Return the id of a flow or a run."""
    return subject.flow_id if isinstance(subject, Flow) else subject.run_id


def name_of(subject: Subject) -> str:
    """Return the name of a flow, or of the flow that a run has a copy of."""
    return subject.spec.name if isinstance(subject, Flow) else subject.spec.flow.name


def document_of(subject: Subject) -> bytes:
    """Return what an archive holds of a flow, as canonical JSON.

    It is empty for a run: its metrics and its log are read when it is archived.
    """
    return canonical_json(subject.to_wire()) if isinstance(subject, Flow) else b""


def flow_of(run: Run) -> Hashable:
    """Return what the runs of one flow have in common: the stamp of this provider, or else the flow's name."""
    flow_id = run.metadata.attributes.get(FLOW_ID_ATTRIBUTE)
    return ("id", flow_id) if flow_id else ("name", run.spec.flow.name)


def obstacle(subject: Subject) -> str | None:
    """Return why a document must not be deleted, whatever a policy or a plan demands; ``None`` if it may be.

    A flow always may. A run has ended when a condition reports that, and none that was reached later contradicts it.
    """
    if isinstance(subject, Flow):
        return None
    if not subject.has_stopped:
        return ACTIVE if subject.spec.killed_at is None else KILLED_ONLY
    ended = subject.ended_at
    reached = (c.last_transition_time for c in subject.status.conditions if c.status == "Reached")
    return RESTARTED if ended is not None and any(time > ended for time in reached) else None
