"""One thread of the soak test: random operations on its own flows, each checked against its model."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from tests.reliability.soak.gates import PATIENCE, GateKind, GateRunner, WatchedGate
from tests.reliability.soak.model import Expected, Model
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.errors import ViError, ViNotFoundError
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.hooks.vi import ViHook

T = TypeVar("T")

FLOWS: Final = 12
#: Attempts to read a flow whose state is unknown; the second is rarely needed, as clients retry.
MAX_READS: Final = 20
#: Part of the gates that wait for a flow that is never created.
NEVER: Final = 0.1


@dataclass
class Counts:
    """Counts of operations, errors and gates of a thread."""

    operations: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    #: Writes that ended with an error: applied or not, as established by a read.
    applied_despite_error: int = 0
    not_applied: int = 0
    opened: Counter[GateKind] = field(default_factory=Counter)
    slowest_gate: float = 0.0

    def add(self, other: Counts) -> None:
        """Add the counts of another thread."""
        self.operations += other.operations
        self.errors += other.errors
        self.applied_despite_error += other.applied_despite_error
        self.not_applied += other.not_applied
        self.opened += other.opened
        self.slowest_gate = max(self.slowest_gate, other.slowest_gate)


class Worker:
    """Runs random operations, one at a time.

    :param name: prefix of the ids of its flows, by which it recognizes them in a listing
    :param vi: a hook of its own, or a client shared with other threads
    :param gates: number of waiting gates that it maintains
    """

    def __init__(self, name: str, vi: ViHook | ViClient, rng: random.Random, runner: GateRunner, gates: int) -> None:
        self.name, self._vi, self._rng, self._runner = name, vi, rng, runner
        self.model = Model()
        self.counts = Counts()
        self._ids = [f"{name}-{number:02}" for number in range(FLOWS)]
        self._serial = itertools.count(1)
        # Gates by their state: flow not ready, flow ready, opened.
        self._closed: list[WatchedGate] = []
        self._due: dict[str, WatchedGate] = {}
        self._opened: deque[WatchedGate] = deque()
        self._gates = gates
        self._actions: list[Callable[[], None]] = [
            self._list, self._find, self._get, self._exists, self._create, self._update, self._replace, self._delete,
            self._open_a_gate,
        ]  # fmt: skip
        self._weights = [1, 3, 20, 15, 12, 15, 10, 12, 12]

    def prepare(self) -> None:
        """Start its gates."""
        for number in range(self._gates):
            self._add_gate(GateKind.NEVER if number < NEVER * self._gates else self._some_kind())

    def step(self) -> None:
        """Do one random operation, and replace the gates that have opened meanwhile.

        :raises MismatchError: a response contradicts the model
        """
        (action,) = self._rng.choices(self._actions, self._weights)
        self.counts.operations[action.__name__.strip("_").replace("_", " ")] += 1
        action()
        self._harvest(replace=True)

    def has_due_gates(self) -> bool:
        """Tell whether gates whose flow is ready have yet to open."""
        self._harvest(replace=False)
        return bool(self._due)

    # --- reads -------------------------------------------------------------------------------------------------

    def _list(self) -> None:
        page_size = self._rng.choice((50, 200, 1000))
        flows = self._read(lambda: list(self._vi.list_flows(page_size=page_size)))
        if flows is None:
            return
        mine = {flow.flow_id: flow for flow in flows if flow.flow_id.startswith(f"{self.name}-")}
        if len(mine) != sum(flow.flow_id.startswith(f"{self.name}-") for flow in flows):
            raise self.model.mismatch(self.name, "a listing contains a flow twice")
        for flow_id in self.model.ids() | mine.keys():
            self.model.check(flow_id, mine.get(flow_id))

    def _find(self) -> None:
        flow_id = self._rng.choice(self._ids)
        expected = self.model[flow_id]
        name = "no flow has this name" if expected is None else expected.spec["name"]
        found = self._read(lambda: [self._vi.find_flow(name=name)])
        if found is None:
            return
        if expected is not None:
            self.model.check(flow_id, found[0])
        elif found[0] is not None:
            raise self.model.mismatch(found[0].flow_id, f"it was found by a name that it does not have: {name}")

    def _get(self) -> None:
        flow_id = self._rng.choice(self._ids)
        found = self._read(lambda: [self._get_or_none(flow_id)])
        if found is not None:
            self.model.check(flow_id, found[0])

    def _get_or_none(self, flow_id: str) -> Flow | None:
        try:
            return self._vi.get_flow(flow_id)
        except ViNotFoundError:
            return None

    def _exists(self) -> None:
        flow_id = self._rng.choice(self._ids)
        exists = self._read(lambda: self._vi.flow_exists(flow_id))
        if exists is not None and exists != (self.model[flow_id] is not None):
            raise self.model.mismatch(flow_id, f"flow_exists returned {exists}")

    def _read(self, call: Callable[[], T]) -> T | None:
        try:
            return call()
        except ViError as error:
            self.counts.errors[type(error).__name__] += 1
            return None

    # --- writes ------------------------------------------------------------------------------------------------

    def _create(self) -> None:
        flow_id = self._rng.choice(self._ids)
        spec, attributes = self._spec(flow_id), self._attributes()
        self._write(
            flow_id,
            self._put(flow_id, spec, attributes),
            lambda: self._vi.create_flow(spec, attributes=attributes, flow_id=flow_id),
        )

    def _replace(self) -> None:
        flow_id = self._rng.choice(self._ids)
        before = self.model[flow_id]
        # Occasionally write the current content, which must change nothing.
        same = before is not None and self._rng.random() < 0.1
        spec = before.spec if same and before else self._spec(flow_id)
        attributes = before.attributes if same and before else self._attributes()
        self._write(
            flow_id,
            self._put(flow_id, spec, attributes),
            lambda: self._vi.replace_flow(flow_id, spec, attributes=attributes),
        )

    def _update(self) -> None:
        flow_id = self._rng.choice(self._ids)
        before = self.model[flow_id]
        changes = self._spec(flow_id)
        changes = {key: changes[key] for key in self._rng.sample(sorted(changes), 2)}
        attributes = {"touched": str(next(self._serial)), "team": None} if self._rng.random() < 0.5 else None

        def call() -> Flow | None:
            try:
                return self._vi.update_flow(flow_id, spec=changes, attributes=attributes)
            except ViNotFoundError:
                return None

        after = None
        if before is not None:
            merged = {**before.attributes, **(attributes or {})}
            kept = {key: value for key, value in merged.items() if value is not None}
            after = before.changed({**before.spec, **changes}, kept)
        self._write(flow_id, after, call)

    def _delete(self) -> None:
        self._delete_flow(self._rng.choice(self._ids))

    def _delete_flow(self, flow_id: str) -> None:
        there = self.model[flow_id] is not None

        def call() -> None:
            deleted = self._vi.delete_flow(flow_id)
            # The reverse may be wrong: a 404 after a lost response leaves open which request deleted the flow.
            if there and not deleted.deleted:
                raise self.model.mismatch(flow_id, "delete_flow reported that it was already absent")

        self._write(flow_id, None, call)

    def _put(self, flow_id: str, spec: Any, attributes: Any) -> Expected:
        before = self.model[flow_id]
        return Expected(spec, attributes) if before is None else before.changed(spec, attributes)

    def _write(self, flow_id: str, after: Expected | None, call: Callable[[], Flow | None]) -> bool:
        """Write, and compare the response with the model; after an error, read which state the flow is in."""
        before = self.model[flow_id]
        what = f"from {_short(before)} to {_short(after)}"
        try:
            response = call()
        except ViError as error:
            self.counts.errors[type(error).__name__] += 1
            self.model.note(flow_id, f"{what}: {type(error).__name__} ({error.attempts} attempts)")
            resolved = self.model.resolve(flow_id, self._read_until_known(flow_id), before, after)
            applied = _short(resolved) == _short(after)
            self.counts.applied_despite_error += applied
            self.counts.not_applied += not applied
            return applied
        self.model.note(flow_id, f"{what}: done")
        self.model.resolve(flow_id, response, after)
        return True

    def _read_until_known(self, flow_id: str) -> Flow | None:
        for _ in range(MAX_READS):
            found = self._read(lambda: [self._vi.find_flow(flow_id=flow_id)])
            if found is not None:
                return found[0]
        raise self.model.mismatch(flow_id, f"{MAX_READS} consecutive reads failed")

    def _write_until_applied(self, flow_id: str, after: Expected | None, call: Callable[[], Flow | None]) -> None:
        """Repeat a write until it is applied."""
        while not self._write(flow_id, after, call):
            pass

    # --- gates -------------------------------------------------------------------------------------------------

    def _some_kind(self) -> GateKind:
        return self._rng.choice((GateKind.APPEARS, GateKind.CHANGES, GateKind.VANISHES))

    def _add_gate(self, kind: GateKind) -> None:
        gate = WatchedGate(f"{self.name}-gate-{next(self._serial)}", kind, self._opened.append)
        if kind in (GateKind.CHANGES, GateKind.VANISHES):
            self._create_for(gate)
        if kind is not GateKind.NEVER:
            self._closed.append(gate)
        self._runner.add(gate)

    def _create_for(self, gate: WatchedGate) -> None:
        spec = self._spec(gate.flow_id)
        self._write_until_applied(
            gate.flow_id, Expected(spec), lambda: self._vi.create_flow(spec, flow_id=gate.flow_id)
        )

    def _open_a_gate(self) -> None:
        if not self._closed:
            return
        gate = self._closed.pop(self._rng.randrange(len(self._closed)))
        gate.ready = time.monotonic()
        if gate.kind is GateKind.APPEARS:
            self._create_for(gate)
        elif gate.kind is GateKind.VANISHES:
            while self.model[gate.flow_id] is not None:
                self._delete_flow(gate.flow_id)
        else:
            before, changes = self.model[gate.flow_id], {"settings": {"ready": True}}
            assert before is not None
            after = before.changed({**before.spec, **changes}, before.attributes)
            self._write_until_applied(gate.flow_id, after, lambda: self._vi.update_flow(gate.flow_id, spec=changes))
        gate.due = time.monotonic()
        self._due[gate.flow_id] = gate

    def _harvest(self, *, replace: bool) -> None:
        """Check the flows with which gates have opened, and optionally replace these gates."""
        while self._opened:
            gate = self._opened.popleft()
            assert gate.ended is not None
            assert gate.opened_at is not None
            self.model.check(gate.flow_id, None if gate.ended.found is None else Flow.model_validate(gate.ended.found))
            assert gate.due is not None
            del self._due[gate.flow_id]
            self.counts.opened[gate.kind] += 1
            self.counts.slowest_gate = max(self.counts.slowest_gate, gate.opened_at - gate.due)
            while self.model[gate.flow_id] is not None:
                self._delete_flow(gate.flow_id)
            self.model.forget(gate.flow_id)
            if replace:
                self._add_gate(self._some_kind())
        if late := next((gate for gate in self._due.values() if gate.overdue), None):
            what = f"the gate that waits until it {late.kind} is still closed after {PATIENCE:.0f} s"
            raise self.model.mismatch(late.flow_id, what)

    def _spec(self, flow_id: str) -> dict[str, Any]:
        serial = next(self._serial)
        return {
            "name": f"{flow_id} of {serial}",
            "schema": "v1",
            "tolerations": {"gpu": ["T4", "A100"]},
            "settings": {"seed": serial},
            "blocks": [
                {"block": "system-prompt", "settings": {"systemPrompt": f"größer als {serial} mm"}, "style": {"x": 1}},
                {"block": "vlm-model", "settings": {"temperature": serial / 7}, "style": {"x": 2}},
            ],
            "trainingProject": self.name,
        }

    def _attributes(self) -> dict[str, str]:
        return {"team": self.name, "serial": str(next(self._serial))}


def _short(state: Expected | None) -> str:
    return "absent" if state is None else f"generation {state.generation} ({state.spec['name']}, {state.attributes})"
