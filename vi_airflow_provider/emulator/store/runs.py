"""Runs: how they are started, killed and deleted.

A stored run is what clients can set, and its times. Everything else on the wire is derived from the time of the
read: no timer has to fire, and a test moves a run by moving its clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vi_airflow_provider.emulator.store.collection import Collection, Ledger, Stored, copy_of, same_content
from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.listing import Page, Place
from vi_airflow_provider.emulator.store.samples import FLOW_ID_ATTRIBUTE
from vi_airflow_provider.emulator.store.schema import (
    FLOW_SPEC_FIELDS,
    Document,
    check_id,
    encode,
    equal,
    etag,
    merge_attributes,
    run_to_patch,
    run_to_put,
)


class Runs(Collection):
    """The runs of an organization: Queued, then Started after a tenth of their time, then Finished.

    Names and order of the conditions are assumed (newest first, as the vendor's waiter reads them).
    """

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger, "Run")

    @property
    def run_ms(self) -> int:
        """How long a run takes."""
        return int(self._ledger.behaviour.run_seconds * 1000)

    # -- reading --------------------------------------------------------------------------------------

    def view(self, run: Document) -> Document:
        """The document as the wire shows it now."""
        organization_id, conditions = self._ledger.organization_id, self.conditions(run)
        metadata = dict(run["metadata"])
        metadata["lastUpdated"] = max(metadata["lastUpdated"], *(c["lastTransitionTime"] for c in conditions))
        link = f"/workspaces/{organization_id}/runs/{run['runId']}"
        return {
            "kind": "Run",
            "workspaceId": organization_id,
            "runId": run["runId"],
            "spec": run["spec"],
            "status": {
                "log": f"{link}/logs",
                "observedGeneration": metadata["generation"],
                "conditions": conditions,
            },
            "metadata": metadata,
            "selfLink": link,
            "etag": etag(run["spec"], metadata),
        }

    def wire(self, run_id: str) -> bytes:
        """The JSON of a run as reads show it."""
        return encode(self.view(self.read(run_id).document))

    def view_page(self, after: Place | None, size: int) -> Page[Document]:
        """Consecutive runs as listings show them."""
        page: Page[Stored] = self.page(after, size)
        return Page([self.view(stored.document) for stored in page.items], page.next)

    def active(self) -> list[Document]:
        """The runs that have not ended."""
        return [run for run in self if self.is_active(run)]

    def using(self, flow: Document) -> str | None:
        """The id of an active run of a flow."""
        return next((str(run["runId"]) for run in self.active() if uses_flow(run, flow)), None)

    def is_active(self, run: Document) -> bool:
        """Neither killed nor finished."""
        return run["spec"].get("killedAt") is None and self._ledger.clock() < self._finish(run)

    def conditions(self, run: Document) -> list[Document]:
        """The milestones, newest first."""
        now, created, killed_at = self._ledger.clock(), run["metadata"]["timeCreated"], run["spec"].get("killedAt")
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

    def _finish(self, run: Document) -> int:
        return int(run["metadata"]["timeCreated"]) + self.run_ms

    # -- writing --------------------------------------------------------------------------------------

    def write(self, run_id: str, body: Document) -> Document:
        """Create and start, or replace."""
        check_id(run_id, "Run")
        spec, attributes = run_to_put(body)
        with self._ledger.change():
            old = self.get(run_id)
            if old is not None and old["spec"].get("killedAt") is not None:
                spec = {**spec, "killedAt": old["spec"]["killedAt"]}  # a kill is permanent
            return self._save(run_id, spec, {} if self._ledger.behaviour.drop_attributes else attributes)

    def patch(self, run_id: str, body: Document) -> Document:
        """Change the training project or attributes, or kill; 409 if the run has already ended."""
        check_id(run_id, "Run")
        spec, attributes = run_to_patch(body)
        with self._ledger.change():
            old = self.require(run_id).document
            if "killedAt" in spec and not self.is_active(old):
                raise ApiError(409, f"Run {run_id} has ended: it cannot be killed")
            merged = merge_attributes(old["metadata"]["attributes"], attributes)
            return self._save(run_id, {**old["spec"], **spec}, merged)

    def delete(self, run_id: str) -> None:
        """Delete a run; 409 while it is active."""
        with self._ledger.change():
            if self.is_active(self.require(run_id).document):
                raise ApiError(409, f"Run {run_id} is active: kill it first")
            self.remove(run_id)

    def _save(self, run_id: str, spec: Document, attributes: Mapping[str, str]) -> Document:
        old = self.get(run_id)
        if old is None or not same_content(old, spec, attributes):
            metadata = self._ledger.metadata(old, spec, attributes)
            old = self.put({"runId": run_id, "spec": spec, "metadata": metadata}).document
        return copy_of(encode(self.view(old)))


def uses_flow(run: Document, flow: Document) -> bool:
    """Whether a run was started from a flow.

    A run on the wire has no flow id: the provider's own attribute decides, and without it an equal spec.
    """
    stamped = run["metadata"]["attributes"].get(FLOW_ID_ATTRIBUTE)
    if stamped is not None:
        return bool(stamped == flow["flowId"])
    # Absent and null are the same here: the vendor's SDK omits a null trainingProject from the copy.
    embedded = run["spec"]["flow"]
    return all(equal(embedded.get(name), flow["spec"].get(name)) for name in FLOW_SPEC_FIELDS)


def _condition(name: str, status: str, at: int, **detail: Any) -> Document:
    return {"condition": name, "status": status, "lastTransitionTime": at, **detail}
