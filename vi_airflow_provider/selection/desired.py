"""What a flow is to be: a spec and attributes, and whether a flow that exists is that already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from vi_airflow_provider.api.models import FlowSpec, FlowSpecPatch
from vi_airflow_provider.api.protocol.codec import wire_metadata, wire_spec

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import Flow, GuardedWrite


class DesiredFlow(NamedTuple):
    """A spec, and the attributes if there are any to compare."""

    spec: FlowSpec
    attributes: Mapping[str, str] | None

    @classmethod
    def build(cls, spec: object, attributes: Mapping[str, str] | None) -> DesiredFlow:
        """Check what a DAG author writes.

        :raises ViValidationError: the spec or an attribute is unusable; the message names its path
        """
        wire_metadata(attributes)
        return cls(FlowSpec.model_validate(wire_spec(FlowSpec.complete, spec)), attributes)

    def document(self) -> dict[str, Any]:
        """Return the part of the flow that a write of it contains."""
        return {"spec": self.spec.to_wire()} | wire_metadata(self.attributes)

    def is_met_by(self, flow: Flow, *, additions: bool = False) -> bool:
        """Decide whether a flow has this spec and these attributes.

        The layout of blocks is ignored, and all attributes are if none are given.

        :param additions: also accept fields and attributes that were not requested, such as a server's defaults
        """
        return _covers(flow.spec.canonical(), self.spec.canonical(), additions) and (
            self.attributes is None or _covers(flow.metadata.attributes, self.attributes, additions)
        )


_Version: TypeAlias = tuple[str, int, int] | None


class WriteGuard:
    """Decides, before each attempt to write a flow, whether what exists under its id may be written over.

    An attempt is allowed only while the flow is as the first read found it. So a retry within the call neither
    overwrites what another client wrote between two attempts nor recreates what it deleted.

    :param replace: may a flow that differs be overwritten? Without it, only an absent flow is written
    """

    def __init__(self, desired: DesiredFlow, *, replace: bool) -> None:
        self._desired = desired
        self._replace = replace
        self._versions: list[_Version] = []

    def __call__(self, flow: Flow | None) -> bool:
        """Decide on what the latest read found."""
        self._versions.append(_version(flow))
        return not self._has_changed and (flow is None or (self._replace and not self._desired.is_met_by(flow)))

    def accepted(self, write: GuardedWrite, *, earlier_try: bool) -> Flow | None:
        """Return the flow that was written or is as desired, ``None`` if the write was refused.

        What this task itself may have created is accepted with additions, since the server may have added defaults.
        What another client wrote must be equal, and so must a replacement: it may remove fields.

        :param earlier_try: may an earlier try of the task have created the flow?
        """
        additions = not self._replace and (self._has_changed or earlier_try)
        if write.written or (write.flow is not None and self._desired.is_met_by(write.flow, additions=additions)):
            return write.flow
        return None

    @property
    def _has_changed(self) -> bool:
        """Does the latest read differ from the first one, because of an attempt of this call or of another client?"""
        return self._versions[-1] != self._versions[0]


def _version(flow: Flow | None) -> _Version:
    return None if flow is None else (flow.etag, flow.metadata.generation, flow.metadata.last_updated)


def patch_document(spec: object, attributes: Mapping[str, str | None] | None) -> dict[str, Any]:
    """Return the part of a flow that a change writes, checked.

    :raises ViValidationError: the spec or an attribute is unusable; the message names its path
    """
    document = {} if spec is None else {"spec": wire_spec(FlowSpecPatch.complete, spec)}
    return document | wire_metadata(attributes, removable=True)


def _covers(actual: Any, wanted: Any, additions: bool) -> bool:
    """Does JSON data hold all that is wanted, and nothing else in any object unless additions are accepted?"""
    if isinstance(wanted, Mapping):
        return (
            isinstance(actual, Mapping)
            and (additions or len(actual) == len(wanted))
            and all(key in actual and _covers(actual[key], value, additions) for key, value in wanted.items())
        )
    if isinstance(wanted, list):
        return (
            isinstance(actual, list)
            and len(actual) == len(wanted)
            and all(_covers(*pair, additions) for pair in zip(actual, wanted, strict=True))
        )
    # For Python, 1 equals True.
    return bool(actual == wanted) and isinstance(actual, bool) == isinstance(wanted, bool)
