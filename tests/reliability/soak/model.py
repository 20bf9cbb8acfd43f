"""What the flows must be like: a model in plain data, moved by each operation and compared with each answer."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vi_airflow_provider.api.models import Flow


class Disagreement(Exception):  # noqa: N818 - a finding, and no error of ours
    """The service, or what the client made of its answers, is not what the model says."""


@dataclass(frozen=True)
class Expected:
    """A flow as it must be. The etag is the server's to make: unknown until it was seen, the same from then on."""

    spec: Mapping[str, Any]
    attributes: Mapping[str, str] = field(default_factory=dict)
    generation: int = 1
    etag: str | None = None

    def changed(self, spec: Mapping[str, Any], attributes: Mapping[str, str]) -> Expected:
        """Return the flow after a write."""
        if (spec, attributes) == (self.spec, self.attributes):
            return self  # a write that changes nothing moves nothing
        return Expected(spec, attributes, self.generation + (spec != self.spec))

    def differences(self, wire: Mapping[str, Any]) -> list[str]:
        """Say what of a document on the wire is not as expected."""
        metadata = wire["metadata"]
        pairs = {
            "spec": (self.spec, wire["spec"]),
            "attributes": (self.attributes, metadata["attributes"]),
            "generation": (self.generation, metadata["generation"]),
            "etag": (self.etag or wire["etag"], wire["etag"]),
        }
        return [f"{name}: expected {want}, found {got}" for name, (want, got) in pairs.items() if want != got]


class Model:
    """The flows of one thread, which alone writes them; what is not in it does not exist."""

    def __init__(self) -> None:
        self._flows: dict[str, Expected] = {}
        self._history: defaultdict[str, deque[str]] = defaultdict(lambda: deque(maxlen=8))

    def __getitem__(self, flow_id: str) -> Expected | None:
        return self._flows.get(flow_id)

    def ids(self) -> frozenset[str]:
        """Return the ids of the flows that exist."""
        return frozenset(self._flows)

    def note(self, flow_id: str, event: str) -> None:
        """Remember what was done to a flow, for the report of a disagreement."""
        self._history[flow_id].append(event)

    def forget(self, flow_id: str) -> None:
        """Drop the history of a flow that will not come back."""
        self._history.pop(flow_id, None)

    def settle(self, flow_id: str, found: Flow | None, *possible: Expected | None) -> Expected | None:
        """Take what was found for the truth, if it is one of the possible states, and return it."""
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
        raise self.disagreement(flow_id, "\n  or ".join(reasons))

    def check(self, flow_id: str, found: Flow | None) -> None:
        """Compare a flow that was read with what it must be."""
        self.check_wire(flow_id, None if found is None else found.to_wire())

    def check_wire(self, flow_id: str, wire: Mapping[str, Any] | None) -> None:
        """Compare a document on the wire."""
        if difference := _difference(self[flow_id], wire):
            raise self.disagreement(flow_id, difference)

    def disagreement(self, flow_id: str, what: str) -> Disagreement:
        """Return the error that says what is wrong with a flow, and how it came there."""
        history = "".join(f"\n    {event}" for event in self._history[flow_id])
        return Disagreement(f"flow {flow_id}:\n  {what}\n  what was done to it last:{history or ' nothing'}")


def _difference(expected: Expected | None, wire: Mapping[str, Any] | None) -> str:
    if expected is None:
        return "" if wire is None else f"expected no flow, found generation {wire['metadata']['generation']}"
    if wire is None:
        return f"expected generation {expected.generation}, found no flow"
    return "; ".join(expected.differences(wire))
