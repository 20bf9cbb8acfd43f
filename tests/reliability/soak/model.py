"""The expected flows: a model in plain data, updated by each operation and compared with each response."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vi_airflow_provider.api.models import Flow


class MismatchError(Exception):
    """A flow, as read through the client, contradicts the model."""


@dataclass(frozen=True)
class Expected:
    """An expected flow. The server assigns the etag: it is unknown until it is read, and must then stay the same."""

    spec: Mapping[str, Any]
    attributes: Mapping[str, str] = field(default_factory=dict)
    generation: int = 1
    etag: str | None = None

    def changed(self, spec: Mapping[str, Any], attributes: Mapping[str, str]) -> Expected:
        """Return the flow after a write."""
        if (spec, attributes) == (self.spec, self.attributes):
            return self  # a write without changes leaves generation and etag alone
        return Expected(spec, attributes, self.generation + (spec != self.spec))

    def differences(self, wire: Mapping[str, Any]) -> list[str]:
        """Describe the differences between a wire document and the expectation."""
        metadata = wire["metadata"]
        pairs = {
            "spec": (self.spec, wire["spec"]),
            "attributes": (self.attributes, metadata["attributes"]),
            "generation": (self.generation, metadata["generation"]),
            "etag": (self.etag or wire["etag"], wire["etag"]),
        }
        return [f"{name}: expected {want}, found {got}" for name, (want, got) in pairs.items() if want != got]


class Model:
    """The flows of one thread, their only writer. A flow that is not in the model must not exist."""

    def __init__(self) -> None:
        self._flows: dict[str, Expected] = {}
        self._history: defaultdict[str, deque[str]] = defaultdict(lambda: deque(maxlen=8))

    def __getitem__(self, flow_id: str) -> Expected | None:
        return self._flows.get(flow_id)

    def ids(self) -> frozenset[str]:
        """Return the ids of the flows that exist."""
        return frozenset(self._flows)

    def note(self, flow_id: str, event: str) -> None:
        """Record an operation on a flow, for the report of a mismatch."""
        self._history[flow_id].append(event)

    def forget(self, flow_id: str) -> None:
        """Drop the history of a flow that is not used again."""
        self._history.pop(flow_id, None)

    def resolve(self, flow_id: str, found: Flow | None, *possible: Expected | None) -> Expected | None:
        """Accept a flow that was read if it is in one of the possible states, and return that state."""
        wire = None if found is None else found.to_wire()
        reasons = []
        for state in possible:
            difference = _difference(state, wire)
            if not difference:
                if state is None or wire is None:
                    self._flows.pop(flow_id, None)
                else:
                    self._flows[flow_id] = state = replace(state, etag=wire["etag"])
                return state
            reasons.append(difference)
        raise self.mismatch(flow_id, "\n  or ".join(reasons))

    def check(self, flow_id: str, found: Flow | None) -> None:
        """Compare a flow that was read with the model."""
        self.check_wire(flow_id, None if found is None else found.to_wire())

    def check_wire(self, flow_id: str, wire: Mapping[str, Any] | None) -> None:
        """Compare a wire document with the model."""
        if difference := _difference(self[flow_id], wire):
            raise self.mismatch(flow_id, difference)

    def mismatch(self, flow_id: str, what: str) -> MismatchError:
        """Return an error with the mismatch and the latest operations on the flow."""
        history = "".join(f"\n    {event}" for event in self._history[flow_id])
        return MismatchError(f"flow {flow_id}:\n  {what}\n  latest operations:{history or ' none'}")


def _difference(expected: Expected | None, wire: Mapping[str, Any] | None) -> str:
    if expected is None:
        return "" if wire is None else f"expected no flow, found generation {wire['metadata']['generation']}"
    if wire is None:
        return f"expected generation {expected.generation}, found no flow"
    return "; ".join(expected.differences(wire))
