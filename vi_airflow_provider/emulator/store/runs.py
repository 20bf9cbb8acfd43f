"""The life of a run: Queued, then Started, then Finished, by the clock alone.

A stored run is what clients may set plus its times; everything else that the wire shows is worked
out here from the time of asking. No timer has to fire, and a test moves a run by moving its clock.
Names and order of the conditions are assumed (newest first, as the vendor's waiter reads them).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vi_airflow_provider.emulator.store.samples import FLOW_ID_ATTRIBUTE
from vi_airflow_provider.emulator.store.schema import FLOW_SPEC_FIELDS, Document, equal, etag


@dataclass(frozen=True)
class Lifecycle:
    """How long runs take: a tenth of it they wait in the queue."""

    run_ms: int

    def is_active(self, run: Document, now: int) -> bool:
        """Neither killed nor finished."""
        return run["spec"].get("killedAt") is None and now < self._finish(run)

    def conditions(self, run: Document, now: int) -> list[Document]:
        """The milestones, newest first."""
        created, killed_at = run["metadata"]["timeCreated"], run["spec"].get("killedAt")
        start, finish = created + self.run_ms // 10, self._finish(run)
        seen = now if killed_at is None else min(now, killed_at)
        queued = _condition("Queued", "Reached", created)
        if start <= seen:
            started = _condition("Started", "Reached", start, message="Training started.")
        else:
            started = _condition("Started", "Waiting", created)
        if killed_at is not None:
            finished = _condition("Finished", "FailedReach", killed_at, reason="Killed", message="Killed by a user.")
        elif finish <= now:
            finished = _condition("Finished", "Reached", finish)
        else:
            finished = _condition("Finished", "Waiting", created)
        return [finished, started, queued]

    def view(self, run: Document, now: int, organization_id: str) -> Document:
        """The document that the wire shows at this time."""
        conditions = self.conditions(run, now)
        metadata = dict(run["metadata"])
        metadata["lastUpdated"] = max(metadata["lastUpdated"], *(c["lastTransitionTime"] for c in conditions))
        return {
            "kind": "Run",
            "workspaceId": organization_id,
            "runId": run["runId"],
            "spec": run["spec"],
            "status": {
                "log": f"/workspaces/{organization_id}/runs/{run['runId']}/logs",
                "observedGeneration": metadata["generation"],
                "conditions": conditions,
            },
            "metadata": metadata,
            "selfLink": f"/workspaces/{organization_id}/runs/{run['runId']}",
            "etag": etag(run["spec"], metadata),
        }

    def _finish(self, run: Document) -> int:
        return int(run["metadata"]["timeCreated"]) + self.run_ms


def uses_flow(run: Document, flow: Document) -> bool:
    """Whether a run was started from a flow.

    The wire has no flow id in a run: the provider's own attribute decides, and without it an equal spec does.
    """
    stamped = run["metadata"]["attributes"].get(FLOW_ID_ATTRIBUTE)
    if stamped is not None:
        return bool(stamped == flow["flowId"])
    # Absent and null are one here: the vendor's SDK leaves a null trainingProject out of the copy.
    embedded = run["spec"]["flow"]
    return all(equal(embedded.get(name), flow["spec"].get(name)) for name in FLOW_SPEC_FIELDS)


def _condition(name: str, status: str, at: int, **detail: Any) -> Document:
    return {"condition": name, "status": status, "lastTransitionTime": at, **detail}
