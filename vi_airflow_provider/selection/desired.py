"""What a flow is to be: a spec and attributes, and whether a flow that exists is that already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from vi_airflow_provider.api.models import FlowSpec, FlowSpecPatch
from vi_airflow_provider.api.protocol.codec import wire_metadata, wire_spec

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import Flow


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

        :param additions: also accept fields and attributes that were not asked for, such as a server's defaults
        """
        return _covers(flow.spec.canonical(), self.spec.canonical(), additions) and (
            self.attributes is None or _covers(flow.metadata.attributes, self.attributes, additions)
        )


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
