"""Flows: how they are written, deleted and brought back."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping

from vi_airflow_provider.emulator.store.collection import Collection, Ledger, same_content
from vi_airflow_provider.emulator.store.defaults import with_defaults
from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.runs import uses_flow
from vi_airflow_provider.emulator.store.samples import sample_flows
from vi_airflow_provider.emulator.store.schema import (
    Document,
    check_id,
    etag,
    flow_to_patch,
    flow_to_put,
    merge_attributes,
)

#: The runs that have not ended.
ActiveRuns = Callable[[], list[Document]]


class Flows(Collection):
    """The flows of an organization.

    A write that changes nothing leaves generation, times and etag alone, so a retried PUT cannot be distinguished
    from a single one (assumed).
    """

    def __init__(self, ledger: Ledger, active_runs: ActiveRuns) -> None:
        super().__init__(ledger, "Flow")
        self._active_runs = active_runs
        self._created = itertools.count()
        self._deleted: dict[str, Document] = {}

    def write(self, flow_id: str, body: Document) -> Document:
        """Create, or replace spec and attributes as a whole."""
        check_id(flow_id, "Flow")
        spec, attributes = flow_to_put(body)
        with self._ledger.change():
            return self._save(flow_id, spec, {} if self._ledger.behaviour.drop_attributes else attributes)

    def patch(self, flow_id: str, body: Document) -> Document:
        """Change the given parts of the spec (each as a whole) and merge attributes."""
        check_id(flow_id, "Flow")
        spec, attributes = flow_to_patch(body)
        with self._ledger.change():
            old = self.require(flow_id).document
            merged = merge_attributes(old["metadata"]["attributes"], attributes)
            return self._save(flow_id, {**old["spec"], **spec}, merged)

    def delete(self, flow_id: str) -> None:
        """Delete a flow; 409 while an active run uses it. Its ended runs stay."""
        with self._ledger.change():
            flow = self.require(flow_id).document
            for run in self._active_runs():
                if uses_flow(run, flow):
                    raise ApiError(409, f"Flow {flow_id} is in use by run {run['runId']}: kill the run first")
            self._forget(flow)

    def restore(self, flow_id: str | None = None) -> str:
        """Create a deleted flow again, by default the latest one; 404 if no such flow was deleted."""
        with self._ledger.change():
            id_ = next(reversed(self._deleted), None) if flow_id is None else flow_id
            if id_ is None or id_ not in self._deleted:
                raise ApiError(404, "No flow was deleted" if id_ is None else f"Flow {id_} was not deleted")
            flow = self._deleted.pop(id_)
            self._save(id_, flow["spec"], flow["metadata"]["attributes"])
        return id_

    def busy_ids(self) -> list[str]:
        """Ids of the flows that an active run uses."""
        runs = self._active_runs()
        return [flow["flowId"] for flow in self if any(uses_flow(run, flow) for run in runs)]

    def free_ids(self) -> list[str]:
        """Ids of the flows that can be deleted."""
        busy = set(self.busy_ids())
        return [id_ for id_ in self.ids() if id_ not in busy]

    def create_samples(self, count: int) -> list[str]:
        """Create flows now, as another client would."""
        with self._ledger.change():
            flows = self._new_samples(count)
            for flow in flows:
                self._save(flow["flowId"], flow["spec"], flow["metadata"]["attributes"])
        return [flow["flowId"] for flow in flows]

    def create_sample(self, name: str) -> str:
        """Create one sample flow with a name of its own."""
        with self._ledger.change():
            (flow,) = self._new_samples(1)
            self._save(flow["flowId"], {**flow["spec"], "name": name}, flow["metadata"]["attributes"])
        return str(flow["flowId"])

    def add_samples(self, count: int, seed: int | str) -> list[str]:
        """Add sample flows with the ages of samples; 409 if flows of this seed exist."""
        flows = sample_flows(count, seed, self._ledger.organization_id, self._ledger.clock())
        with self._ledger.change():
            if any(flow["flowId"] in self for flow in flows):
                raise ApiError(409, f"Sample flows of seed {seed} exist already: choose another seed")
            for flow in flows:
                self.put(flow)
        return [flow["flowId"] for flow in flows]

    def delete_random(self, count: int, rng: random.Random) -> list[str]:
        """Delete flows that no run uses, as another client would."""
        with self._ledger.change():
            free = self.free_ids()
            chosen = rng.sample(free, min(count, len(free)))
            for id_ in chosen:
                self._forget(self.require(id_).document)
        return chosen

    def start_over(self) -> None:
        """Reset the record of created and deleted flows, so that the same calls create the same flows again."""
        self._created = itertools.count()
        self._deleted.clear()

    def _new_samples(self, count: int) -> list[Document]:
        while True:  # a state file may hold flows that an earlier process created
            seed = f"created {next(self._created)}"
            flows = sample_flows(count, seed, self._ledger.organization_id, self._ledger.clock())
            if not any(flow["flowId"] in self for flow in flows):
                return flows

    def _forget(self, flow: Document) -> None:
        self._deleted.pop(flow["flowId"], None)  # so that the latest deletion comes last
        self._deleted[flow["flowId"]] = flow
        self.remove(flow["flowId"])

    def _save(self, flow_id: str, spec: Document, attributes: Mapping[str, str]) -> Document:
        if self._ledger.behaviour.add_defaults:
            spec = with_defaults(spec)
        old = self.get(flow_id)
        if old is not None and same_content(old, spec, attributes):
            return self.require(flow_id).copy()
        metadata = self._ledger.metadata(old, spec, attributes)
        return self.put(
            {
                "kind": "Flow",
                "workspaceId": self._ledger.organization_id,
                "flowId": flow_id,
                "spec": spec,
                "metadata": metadata,
                "selfLink": f"/workspaces/{self._ledger.organization_id}/flows/{flow_id}",
                "etag": etag(spec, metadata),
            }
        ).copy()
