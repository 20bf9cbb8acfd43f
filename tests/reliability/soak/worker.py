"""One thread of the soak: random operations on flows that are its own, each checked against its model."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from tests.reliability.soak.gates import PATIENCE, GateKeeper, Kind, Waiting
from tests.reliability.soak.model import Expected, Model
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.errors import ViError, ViNotFoundError
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.hooks.vi import ViHook

T = TypeVar("T")

FLOWS: Final = 12
#: Reads of a flow whose state is unknown; with one answer in ten spoilt, and retried, the second is rarely needed.
MAX_READS: Final = 20
#: Of the gates, so many wait for what never comes.
NEVER: Final = 0.1


@dataclass
class Tally:
    """What a thread did, and what it met."""

    operations: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    #: Writes that failed, although the flow says that they were applied, and those that were not.
    applied_all_the_same: int = 0
    not_applied: int = 0
    opened: Counter[Kind] = field(default_factory=Counter)
    slowest_gate: float = 0.0

    def add(self, other: Tally) -> None:
        """Add what another thread did."""
        self.operations += other.operations
        self.errors += other.errors
        self.applied_all_the_same += other.applied_all_the_same
        self.not_applied += other.not_applied
        self.opened += other.opened
        self.slowest_gate = max(self.slowest_gate, other.slowest_gate)


class Worker:
    """Does one operation after the other.

    :param name: prefix of the ids of its flows, by which it knows them in a listing
    :param vi: what it calls: a hook, or a client that other threads use at the same time
    :param gates: how many gates it keeps waiting
    """

    def __init__(self, name: str, vi: ViHook | ViClient, rng: random.Random, keeper: GateKeeper, gates: int) -> None:
        self.name, self._vi, self._rng, self._keeper = name, vi, rng, keeper
        self.model = Model()
        self.tally = Tally()
        self._ids = [f"{name}-{number:02}" for number in range(FLOWS)]
        self._serial = itertools.count(1)
        #: Gates by what is next with them: to make the flow ready, to see it open, to replace it.
        self._closed: list[Waiting] = []
        self._due: dict[str, Waiting] = {}
        self._opened: deque[Waiting] = deque()
        self._gates = gates
        self._actions: list[Callable[[], None]] = [
            self._list, self._find, self._get, self._exists, self._create, self._update, self._replace, self._delete,
            self._open_a_gate,
        ]  # fmt: skip
        self._weights = [1, 3, 20, 15, 12, 15, 10, 12, 12]

    def prepare(self) -> None:
        """Let all its gates wait."""
        for number in range(self._gates):
            self._add_gate(Kind.NEVER if number < NEVER * self._gates else self._some_kind())

    def act(self) -> None:
        """Do one random operation, and replace the gates that have opened meanwhile.

        :raises Disagreement: what it saw is not what the model says
        """
        (action,) = self._rng.choices(self._actions, self._weights)
        self.tally.operations[action.__name__.strip("_").replace("_", " ")] += 1
        action()
        self._harvest(replace=True)

    def gates_are_due(self) -> bool:
        """Tell whether there are gates that must open still, without making further ones ready."""
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
            raise self.model.disagreement(self.name, "a listing has a flow twice")
        for flow_id in self.model.ids() | mine.keys():
            self.model.check(flow_id, mine.get(flow_id))

    def _find(self) -> None:
        flow_id = self._rng.choice(self._ids)
        expected = self.model[flow_id]
        name = "nobody has this name" if expected is None else expected.spec["name"]
        found = self._read(lambda: [self._vi.find_flow(name=name)])
        if found is None:
            return
        if expected is not None:
            self.model.check(flow_id, found[0])
        elif found[0] is not None:
            raise self.model.disagreement(found[0].flow_id, f"it was found by a name that it does not have: {name}")

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
            raise self.model.disagreement(flow_id, f"flow_exists says {exists}")

    def _read(self, call: Callable[[], T]) -> T | None:
        try:
            return call()
        except ViError as error:
            self.tally.errors[type(error).__name__] += 1
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
        # Now and then what is there already: a write that must move nothing.
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
            # The other way round is nothing to insist on: a 404 after a lost answer may mean either.
            if there and not deleted.deleted:
                raise self.model.disagreement(flow_id, "delete_flow says that it was absent already")

        self._write(flow_id, None, call)

    def _put(self, flow_id: str, spec: Any, attributes: Any) -> Expected:
        before = self.model[flow_id]
        return Expected(spec, attributes) if before is None else before.changed(spec, attributes)

    def _write(self, flow_id: str, after: Expected | None, call: Callable[[], Flow | None]) -> bool:
        """Carry out a write, and take its answer for the truth; without one, find out what became of it."""
        before = self.model[flow_id]
        what = f"from {_short(before)} to {_short(after)}"
        try:
            answer = call()
        except ViError as error:
            self.tally.errors[type(error).__name__] += 1
            self.model.note(flow_id, f"{what}: {type(error).__name__} ({error.attempts} attempts)")
            settled = self.model.settle(flow_id, self._look_closely(flow_id), before, after)
            applied = _short(settled) == _short(after)
            self.tally.applied_all_the_same += applied
            self.tally.not_applied += not applied
            return applied
        self.model.note(flow_id, f"{what}: done")
        self.model.settle(flow_id, answer, after)
        return True

    def _look_closely(self, flow_id: str) -> Flow | None:
        for _ in range(MAX_READS):
            found = self._read(lambda: [self._vi.find_flow(flow_id=flow_id)])
            if found is not None:
                return found[0]
        raise self.model.disagreement(flow_id, f"{MAX_READS} reads failed, one after the other")

    def _insist(self, flow_id: str, after: Expected | None, call: Callable[[], Flow | None]) -> None:
        """Write until it is applied."""
        while not self._write(flow_id, after, call):
            pass

    # --- gates -------------------------------------------------------------------------------------------------

    def _some_kind(self) -> Kind:
        return self._rng.choice((Kind.APPEARS, Kind.CHANGES, Kind.VANISHES))

    def _add_gate(self, kind: Kind) -> None:
        gate = Waiting(f"{self.name}-gate-{next(self._serial)}", kind, self._opened.append)
        if kind in (Kind.CHANGES, Kind.VANISHES):
            self._create_for(gate)
        if kind is not Kind.NEVER:
            self._closed.append(gate)
        self._keeper.add(gate)

    def _create_for(self, gate: Waiting) -> None:
        spec = self._spec(gate.flow_id)
        self._insist(gate.flow_id, Expected(spec), lambda: self._vi.create_flow(spec, flow_id=gate.flow_id))

    def _open_a_gate(self) -> None:
        if not self._closed:
            return
        gate = self._closed.pop(self._rng.randrange(len(self._closed)))
        gate.ready = time.monotonic()
        if gate.kind is Kind.APPEARS:
            self._create_for(gate)
        elif gate.kind is Kind.VANISHES:
            while self.model[gate.flow_id] is not None:
                self._delete_flow(gate.flow_id)
        else:
            before, changes = self.model[gate.flow_id], {"settings": {"ready": True}}
            assert before is not None
            after = before.changed({**before.spec, **changes}, before.attributes)
            self._insist(gate.flow_id, after, lambda: self._vi.update_flow(gate.flow_id, spec=changes))
        gate.due = time.monotonic()
        self._due[gate.flow_id] = gate

    def _harvest(self, *, replace: bool) -> None:
        """Look at what the gates that have opened were given, and put others in their place."""
        while self._opened:
            gate = self._opened.popleft()
            assert gate.ended is not None
            assert gate.opened_at is not None
            self.model.check(gate.flow_id, None if gate.ended.flow is None else Flow.model_validate(gate.ended.flow))
            assert gate.due is not None
            del self._due[gate.flow_id]
            self.tally.opened[gate.kind] += 1
            self.tally.slowest_gate = max(self.tally.slowest_gate, gate.opened_at - gate.due)
            while self.model[gate.flow_id] is not None:
                self._delete_flow(gate.flow_id)
            self.model.forget(gate.flow_id)
            if replace:
                self._add_gate(self._some_kind())
        if late := next((gate for gate in self._due.values() if gate.overdue), None):
            what = f"the gate that waits until it {late.kind} is still closed after {PATIENCE:.0f} s"
            raise self.model.disagreement(late.flow_id, what)

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
