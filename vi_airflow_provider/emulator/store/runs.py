"""Runs: how they are started, killed and deleted, and what they cost."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping

from vi_airflow_provider.emulator.store.bill import Bill
from vi_airflow_provider.emulator.store.collection import Collection, Ledger, Stored, copy_of, same_content
from vi_airflow_provider.emulator.store.defaults import with_defaults
from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.lifecycle import Life
from vi_airflow_provider.emulator.store.listing import Page, Place
from vi_airflow_provider.emulator.store.plans import PlanBook
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
    """The runs of an organization; `lifecycle.py` explains how they go."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger, "Run")
        self.plans = PlanBook()
        self.bill = Bill()
        self._vanishing: set[str] = set()
        self._ended: set[str] = set()  # what has ended stays so, until it is started again

    def replace_all(self, documents: Iterable[Document]) -> None:
        """Replace everything; visible at once."""
        documents = list(documents)
        super().replace_all(documents)
        self._ended.clear()
        self._vanishing = {run["runId"] for run in documents if self.life(run).vanishes_at is not None}

    # A run vanishes without anyone's doing: whatever looks at the runs removes those whose time has come first.

    def __iter__(self) -> Iterator[Document]:
        self._sweep()
        return super().__iter__()

    def __len__(self) -> int:
        self._sweep()
        return super().__len__()

    def ids(self) -> list[str]:
        """All ids, in the order of the listing."""
        self._sweep()
        return super().ids()

    # -- reading --------------------------------------------------------------------------------------

    def life(self, run: Document) -> Life:
        """The life of a stored run."""
        return Life.of(run, self.run_ms)

    @property
    def run_ms(self) -> int:
        """How long a run takes unless its plan differs."""
        return int(self._ledger.behaviour.run_seconds * 1000)

    def view(self, run: Document) -> Document:
        """The document as the wire shows it now."""
        life, organization_id = self.life(run), self._ledger.organization_id
        conditions = life.conditions(self._ledger.clock())
        metadata = dict(run["metadata"])
        metadata["lastUpdated"] = max([metadata["lastUpdated"], *(c["lastTransitionTime"] for c in conditions)])
        link = f"/workspaces/{organization_id}/runs/{run['runId']}"
        spec = self._spec(run, life)
        return {
            "kind": "Run",
            "workspaceId": organization_id,
            "runId": run["runId"],
            "spec": spec,
            "status": {
                "log": f"{link}/logs",
                "observedGeneration": metadata["generation"],
                "conditions": conditions,
            },
            "metadata": metadata,
            "selfLink": link,
            "etag": etag(spec, metadata),
        }

    def wire(self, run_id: str) -> bytes:
        """The JSON of a run as reads show it."""
        return encode(self.view(self.read(run_id).document))

    def read(self, run_id: str) -> Stored:
        """A run as reads show it, or a 404."""
        self._sweep()
        return super().read(run_id)

    def require(self, run_id: str) -> Stored:
        """A run, or a 404."""
        self._sweep()
        return super().require(run_id)

    def view_page(self, after: Place | None, size: int) -> Page[Document]:
        """Consecutive runs as listings show them."""
        self._sweep()
        page: Page[Stored] = self.page(after, size)
        return Page([self.view(stored.document) for stored in page.items], page.next)

    def active(self) -> list[Document]:
        """The runs that have not ended."""
        with self._ledger.lock:
            active = []
            for run in self:
                if run["runId"] in self._ended:
                    continue
                if self.is_active(run):
                    active.append(run)
                else:
                    self._ended.add(run["runId"])
            return active

    def is_active(self, run: Document) -> bool:
        """Whether a run has not ended."""
        return self.life(run).is_active(self._ledger.clock())

    def costs(self) -> Document:
        """Starts and seconds of each run that was PUT, deleted ones included."""
        with self._ledger.lock:
            existing = list(self)  # before the bill is read: a run that has vanished is billed until then
            now = self._ledger.clock()
            return self.bill.total({run["runId"]: self.life(run).running_ms(now) for run in existing})

    # -- writing --------------------------------------------------------------------------------------

    def write(self, run_id: str, body: Document) -> Document:
        """Create and start; what happens to an existing run is a setting."""
        check_id(run_id, "Run")
        behaviour = self._ledger.behaviour
        if behaviour.run_ids == "uuid4" and not _is_uuid4(run_id):
            raise ApiError(400, "Run id must be a UUID of version 4")
        spec, attributes = run_to_put(body)
        if behaviour.add_defaults:
            spec = {**spec, "flow": with_defaults(spec["flow"])}
        attributes = {} if behaviour.drop_attributes else attributes
        with self._ledger.change():
            self._sweep()
            old = self.get(run_id)
            if old is not None and behaviour.put_on_existing == "refuse":
                raise ApiError(409, f"Run {run_id} exists already")
            self.bill.put(run_id, self._ledger.clock())
            if old is None or behaviour.put_on_existing == "restart":
                return self._start(run_id, old, spec, attributes)
            killed_at = self._spec(old, self.life(old)).get("killedAt")
            return self._save(old, spec if killed_at is None else {**spec, "killedAt": killed_at}, attributes)

    def patch(self, run_id: str, body: Document) -> Document:
        """Change the training project or attributes, or kill; 409 if the run has already ended."""
        check_id(run_id, "Run")
        spec, attributes = run_to_patch(body)
        with self._ledger.change():
            old = self.require(run_id).document
            if spec.get("killedAt") is not None:
                old = self._killed(old)
            merged = merge_attributes(old["metadata"]["attributes"], attributes)
            return self._save(old, {**old["spec"], **spec}, merged)

    def delete(self, run_id: str) -> None:
        """Delete a run; 409 while it is active."""
        with self._ledger.change():
            run = self.require(run_id).document
            if self.is_active(run):
                raise ApiError(409, f"Run {run_id} is active: kill it first")
            self._retire(run, self._ledger.clock())
            self.remove(run_id)

    def _start(self, run_id: str, old: Document | None, spec: Document, attributes: Mapping[str, str]) -> Document:
        if old is not None:
            self._retire(old, self._ledger.clock())
        self.bill.start(run_id)
        self._ended.discard(run_id)
        now = self._ledger.clock()
        plan = self.plans.take(run_id, spec["flow"]["name"]).to_json()
        metadata = self._ledger.metadata(old, spec, attributes)
        run = {"runId": run_id, "spec": spec, "metadata": metadata, "plan": plan, "began": now}
        if self.life(run).vanishes_at is not None:
            self._vanishing.add(run_id)
        return self._put(run)

    def _killed(self, run: Document) -> Document:
        life = self.life(run)
        if not life.is_active(self._ledger.clock()):
            raise ApiError(409, f"Run {run['runId']} has ended: it cannot be killed")
        return run if life.kill_requested is not None else {**run, "killRequested": self._ledger.clock()}

    def _save(self, run: Document, spec: Document, attributes: Mapping[str, str]) -> Document:
        if not same_content(run, spec, attributes):
            run = {**run, "metadata": self._ledger.metadata(run, spec, attributes), "spec": spec}
        return self._put(run)

    def _put(self, run: Document) -> Document:
        return copy_of(encode(self.view(self.put(run).document)))

    def _spec(self, run: Document, life: Life) -> Document:
        """The spec with the kill that only the plan contains."""
        spec: Document = run["spec"]
        killed_at = life.killed_at
        if spec.get("killedAt") is not None or killed_at is None or killed_at > self._ledger.clock():
            return spec
        return {**spec, "killedAt": killed_at}

    def _retire(self, run: Document, at: int) -> None:
        self.bill.retire(run["runId"], self.life(run).running_ms(at))

    def _sweep(self) -> None:
        """Remove the runs that have vanished."""
        if not self._vanishing:
            return
        now = self._ledger.clock()
        with self._ledger.lock:
            for run in [run for run in map(self.get, list(self._vanishing)) if run is not None]:
                at = self.life(run).vanishes_at or 0
                if at <= now:
                    self._retire(run, at)
                    self.remove(run["runId"])
                    self._vanishing.discard(run["runId"])


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


def _is_uuid4(run_id: str) -> bool:
    try:
        return str(uuid.UUID(run_id)) == run_id and uuid.UUID(run_id).version == 4
    except ValueError:
        return False
