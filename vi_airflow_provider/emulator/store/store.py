"""The truth about flows and runs, and the rules by which it changes.

Documents are values: a change makes a new one and puts it in the old one's place, so a document that
was read never changes under its reader. A write that changes nothing moves nothing (no generation,
no time, no etag), so a retried PUT cannot be told from a single one (assumed).
"""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.listing import Listing, Page, Position
from vi_airflow_provider.emulator.store.runs import Lifecycle, uses_flow
from vi_airflow_provider.emulator.store.samples import sample_flows, sample_runs
from vi_airflow_provider.emulator.store.schema import (
    Document,
    check_id,
    encode,
    equal,
    etag,
    flow_to_patch,
    flow_to_put,
    merge_attributes,
    run_to_patch,
    run_to_put,
)
from vi_airflow_provider.emulator.store.state_file import State, StateError, StateFile

Clock = Callable[[], int]


def system_clock() -> int:
    """Milliseconds since the epoch, as all times on the wire."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Stored:
    """A flow document with its encoding, which is worth keeping: flows are listed far more than changed."""

    document: Document

    @cached_property
    def wire(self) -> bytes:
        """The JSON of the document."""
        return encode(self.document)


class Store:
    """Flows and runs of one organization; may be used from any thread. Documents it returns are copies."""

    def __init__(
        self,
        organization_id: str,
        *,
        clock: Clock = system_clock,
        run_seconds: float = 3600.0,
        state_file: StateFile | None = None,
    ) -> None:
        self.organization_id = organization_id
        self._clock = clock
        self._lifecycle = Lifecycle(run_ms=int(run_seconds * 1000))
        self._state_file = state_file
        self._lock = threading.RLock()
        self._revision = 0
        self._created = itertools.count()
        self._flows: Listing[Stored] = Listing()
        self._runs: Listing[Document] = Listing()

    @property
    def persistent(self) -> bool:
        """Whether a change waits for a disk."""
        return self._state_file is not None

    # -- reading --------------------------------------------------------------------------------------

    def flow_ids(self) -> list[str]:
        """Ids of all flows, newest first."""
        with self._lock:
            return self._flows.ids()

    def busy_flow_ids(self) -> list[str]:
        """Ids of the flows that an active run uses: a DELETE of these is refused."""
        with self._lock:
            active = self._active_runs()
            return [
                stored.document["flowId"]
                for stored in self._flows
                if any(uses_flow(run, stored.document) for run in active)
            ]

    def get_flow(self, flow_id: str) -> Document:
        """One flow, or a 404."""
        return _copy(self.flow_wire(flow_id))

    def flow_wire(self, flow_id: str) -> bytes:
        """The same as JSON."""
        return self._flow(flow_id).wire

    def get_run(self, run_id: str) -> Document:
        """One run as it is now, or a 404."""
        return _copy(self.run_wire(run_id))

    def run_wire(self, run_id: str) -> bytes:
        """The same as JSON."""
        return encode(self._view(self._run(run_id)))

    def flow_page(self, after: Position | None, size: int) -> Page[Stored]:
        """Some flows, newest first; the documents are not copies and must not be changed."""
        with self._lock:
            return self._flows.page(after, size)

    def run_page(self, after: Position | None, size: int) -> Page[Document]:
        """Some runs as they are now, newest first; not to be changed either."""
        with self._lock:
            page = self._runs.page(after, size)
            return Page([self._view(run) for run in page.items], page.last)

    # -- flows ----------------------------------------------------------------------------------------

    def put_flow(self, flow_id: str, body: Document) -> Document:
        """Create, or replace spec and attributes as a whole."""
        check_id(flow_id, "Flow")
        spec, attributes = flow_to_put(body)
        with self._change():
            old = self._flows.get(flow_id)
            return self._write_flow(flow_id, old, spec, attributes)

    def patch_flow(self, flow_id: str, body: Document) -> Document:
        """Change the given parts of the spec (each as a whole) and merge attributes."""
        check_id(flow_id, "Flow")
        spec, attributes = flow_to_patch(body)
        with self._change():
            old = self._flow(flow_id)
            new_spec = {**old.document["spec"], **spec}
            new_attributes = merge_attributes(old.document["metadata"]["attributes"], attributes)
            return self._write_flow(flow_id, old, new_spec, new_attributes)

    def delete_flow(self, flow_id: str) -> None:
        """Forget a flow; 409 while an active run uses it. Its ended runs stay."""
        with self._change():
            flow = self._flow(flow_id).document
            for run in self._active_runs():
                if uses_flow(run, flow):
                    raise ApiError(409, f"Flow {flow_id} is in use by run {run['runId']}: kill the run first")
            self._flows.remove(flow_id)

    # -- runs -----------------------------------------------------------------------------------------

    def put_run(self, run_id: str, body: Document) -> Document:
        """Create and start, or replace."""
        check_id(run_id, "Run")
        spec, attributes = run_to_put(body)
        with self._change():
            old = self._runs.get(run_id)
            if old is not None and old["spec"].get("killedAt") is not None:
                spec = {**spec, "killedAt": old["spec"]["killedAt"]}  # a kill is permanent
            return self._write_run(run_id, old, spec, attributes)

    def patch_run(self, run_id: str, body: Document) -> Document:
        """Change the training project or attributes, or kill; 409 when there is nothing left to kill."""
        check_id(run_id, "Run")
        spec, attributes = run_to_patch(body)
        with self._change():
            old = self._run(run_id)
            if "killedAt" in spec and not self._lifecycle.is_active(old, self._clock()):
                raise ApiError(409, f"Run {run_id} has ended: it cannot be killed")
            new_attributes = merge_attributes(old["metadata"]["attributes"], attributes)
            return self._write_run(run_id, old, {**old["spec"], **spec}, new_attributes)

    def delete_run(self, run_id: str) -> None:
        """Forget a run; 409 while it is active."""
        with self._change():
            run = self._run(run_id)
            if self._lifecycle.is_active(run, self._clock()):
                raise ApiError(409, f"Run {run_id} is active: kill it first")
            self._runs.remove(run_id)

    # -- whole collections ----------------------------------------------------------------------------

    def load(self) -> bool:
        """Take over the content of the state file; False when there is none yet."""
        if self._state_file is None or (state := self._state_file.load()) is None:
            return False
        if state.organization_id != self.organization_id:
            raise StateError(f"the state file {self._state_file.path} belongs to organization {state.organization_id}")
        self._replace_all(state.flows, state.runs)
        return True

    def reset(self, count: int, seed: int | str, *, run_seconds: float | None = None) -> None:
        """Replace everything by sample flows, some of them busy."""
        if run_seconds is not None:
            self._lifecycle = Lifecycle(run_ms=int(run_seconds * 1000))
        self._created = itertools.count()
        now = self._clock()
        flows = sample_flows(count, seed, self.organization_id, now)
        self._replace_all(flows, sample_runs(flows, now, self._lifecycle.run_ms))

    def add_sample_flows(self, count: int, seed: int | str) -> list[str]:
        """More sample flows, with the ages of samples; 409 when flows of this seed are there already."""
        flows = sample_flows(count, seed, self.organization_id, self._clock())
        ids = [flow["flowId"] for flow in flows]
        with self._change():
            if any(id_ in self._flows for id_ in ids):
                raise ApiError(409, f"Sample flows of seed {seed} exist already: choose another seed")
            for flow in flows:
                self._flows.put(flow["flowId"], flow["metadata"]["timeCreated"], Stored(flow))
        return ids

    def create_flows(self, count: int) -> list[str]:
        """Create more flows right now, as somebody else might at the same time."""
        with self._change():
            while True:  # a state file may hold flows that an earlier process created
                flows = sample_flows(count, f"created {next(self._created)}", self.organization_id, self._clock())
                if not any(flow["flowId"] in self._flows for flow in flows):
                    break
            for flow in flows:
                self._write_flow(flow["flowId"], None, flow["spec"], flow["metadata"]["attributes"])
        return [flow["flowId"] for flow in flows]

    def delete_some_flows(self, count: int, rng: random.Random) -> list[str]:
        """Delete flows that no run uses, as somebody else might too."""
        with self._change():
            busy = set(self.busy_flow_ids())
            free = [id_ for id_ in self._flows.ids() if id_ not in busy]
            chosen = rng.sample(free, min(count, len(free)))
            for id_ in chosen:
                self._flows.remove(id_)
        return chosen

    # -- inside ---------------------------------------------------------------------------------------

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Hold the lock for a change; when it succeeded and the lock is free again, save it."""
        with self._lock:
            yield
            self._revision += 1
            revision = self._revision
        if self._state_file is not None:
            self._state_file.save(revision, self._snapshot)

    def _snapshot(self) -> tuple[int, State]:
        with self._lock:
            flows = [stored.document for stored in self._flows]
            return self._revision, State(self.organization_id, flows, list(self._runs))

    def _replace_all(self, flows: list[Document], runs: list[Document]) -> None:
        with self._change():
            self._flows, self._runs = Listing(), Listing()
            for flow in flows:
                self._flows.put(flow["flowId"], flow["metadata"]["timeCreated"], Stored(flow))
            for run in runs:
                self._runs.put(run["runId"], run["metadata"]["timeCreated"], run)

    def _flow(self, flow_id: str) -> Stored:
        check_id(flow_id, "Flow")
        with self._lock:
            found = self._flows.get(flow_id)
        if found is None:
            raise ApiError(404, f"Flow {flow_id} not found")
        return found

    def _run(self, run_id: str) -> Document:
        check_id(run_id, "Run")
        with self._lock:
            found = self._runs.get(run_id)
        if found is None:
            raise ApiError(404, f"Run {run_id} not found")
        return found

    def _active_runs(self) -> list[Document]:
        now = self._clock()
        return [run for run in self._runs if self._lifecycle.is_active(run, now)]

    def _view(self, run: Document) -> Document:
        return self._lifecycle.view(run, self._clock(), self.organization_id)

    def _metadata(self, old: Document | None, spec: Document, attributes: Mapping[str, str]) -> Document:
        now = self._clock()
        if old is None:
            return {"timeCreated": now, "lastUpdated": now, "generation": 1, "attributes": attributes}
        metadata = old["metadata"]
        return {
            **metadata,
            # A change within the same millisecond must still show.
            "lastUpdated": max(now, metadata["lastUpdated"] + 1),
            "generation": metadata["generation"] + (not equal(old["spec"], spec)),
            "attributes": attributes,
        }

    def _write_flow(self, flow_id: str, old: Stored | None, spec: Document, attributes: Mapping[str, str]) -> Document:
        before = None if old is None else old.document
        if before is not None and _same(before, spec, attributes):
            return _copy(Stored(before).wire)
        metadata = self._metadata(before, spec, attributes)
        document: dict[str, Any] = {
            "kind": "Flow",
            "workspaceId": self.organization_id,
            "flowId": flow_id,
            "spec": spec,
            "metadata": metadata,
            "selfLink": f"/workspaces/{self.organization_id}/flows/{flow_id}",
            "etag": etag(spec, metadata),
        }
        stored = Stored(_copy(encode(document)))
        self._flows.put(flow_id, metadata["timeCreated"], stored)
        return _copy(stored.wire)

    def _write_run(self, run_id: str, old: Document | None, spec: Document, attributes: Mapping[str, str]) -> Document:
        if old is None or not _same(old, spec, attributes):
            metadata = self._metadata(old, spec, attributes)
            old = _copy(encode({"runId": run_id, "spec": spec, "metadata": metadata}))
            self._runs.put(run_id, metadata["timeCreated"], old)
        return _copy(encode(self._view(old)))


def _same(old: Document, spec: Document, attributes: Mapping[str, str]) -> bool:
    return equal(old["spec"], spec) and equal(old["metadata"]["attributes"], attributes)


def _copy(wire: bytes) -> Document:
    document: Document = json.loads(wire)
    return document
