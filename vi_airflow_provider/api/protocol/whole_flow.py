"""Flows of a listing whose consumer reads their contents: checked and decoded in one pass.

``lazy_flow`` checks a flow first and decodes it when its contents are read, so a consumer of the contents pays for two
passes. :class:`ListedFlows` recognizes such a consumer by the flows it has read before, and decodes the next ones at
once. A flow that is not plain, because it has an unknown field or violates the contract, is left to ``lazy_flow``.

What is decoded becomes models when it is read, so that an export, which needs none, does not pay for them.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET

from vi_airflow_provider.api.lazy_model import completed, incomplete
from vi_airflow_provider.api.models import Flow, FlowBlock, FlowSpec, ResourceMetadata
from vi_airflow_provider.api.protocol.lazy_flow import parse_listed_flow
from vi_airflow_provider.api.protocol.outcomes import ErrorContext
from vi_airflow_provider.api.protocol.plain_flow import PlainFlow, PlainMetadata, PlainSpec, parse_plain_flow

#: Flows after which the consumer has to show again that it reads contents.
SAMPLE: Final = 32


class Given:
    """What an instance lacks that has all its fields: which of them the document had, and no unknown ones."""

    __slots__ = ("_names",)

    def __init__(self, names: set[str]) -> None:
        self._names = names

    def decode(self, instance: Any, _asked: str | None) -> None:
        """Complete the instance."""
        completed(instance, self._names.copy(), {})


_FLOW: Final = frozenset(Flow.model_fields)
_BLOCK: Final = Given(set(FlowBlock.model_fields))
_METADATA: Final = Given(set(ResourceMetadata.model_fields))
_SPEC: Final = frozenset(FlowSpec.model_fields)
_SPEC_WITHOUT_PROJECT: Final = _SPEC - {"training_project"}


class ListedFlows:
    """Makes flows of the items of a listing.

    :param organization_id: the organization whose flows are listed
    """

    def __init__(self, organization_id: str) -> None:
        self._organization_id = organization_id
        self._contents_are_read = False
        self._since_sample = 0

    def parse(self, content: bytes, context: ErrorContext, json_path: str) -> Flow:
        """Check one flow of a page; see :func:`parse_listed_flow`."""
        if self._contents_are_read:
            self._since_sample += 1
            plain = parse_plain_flow(content) if self._since_sample < SAMPLE else None
            if plain is not None and plain.workspace_id == self._organization_id:
                return whole_flow(plain)
            self._contents_are_read, self._since_sample = self._since_sample < SAMPLE, 0
        return parse_listed_flow(self._organization_id, content, context, json_path, self._note_read)

    def _note_read(self) -> None:
        self._contents_are_read = True


def whole_flow(plain: PlainFlow) -> Flow:
    """Return the model of a plain flow."""
    known = {
        "kind": plain.kind,
        "organization_id": plain.workspace_id,
        "flow_id": plain.flow_id,
        "spec": _spec(plain.spec),
        "metadata": _metadata(plain.metadata),
        "self_link": plain.self_link,
        "etag": plain.etag,
    }
    return incomplete(Flow, known, _RestOfFlow(plain))


def parse_stored_flow(content: bytes) -> Flow:
    """Validate a flow that was stored as JSON, as ``Flow.model_validate_json`` does; plain flows take a third of it.

    :raises pydantic.ValidationError: it is not a flow
    """
    plain = parse_plain_flow(content)
    return Flow.model_validate_json(content) if plain is None else whole_flow(plain)


def _spec(plain: PlainSpec) -> FlowSpec:
    project = plain.training_project
    known = {
        "name": plain.name,
        "schema": plain.schema,
        "tolerations": plain.tolerations,
        "training_project": None if project is UNSET else project,
    }
    return incomplete(FlowSpec, known, _RestOfSpec(plain))


def _metadata(plain: PlainMetadata) -> ResourceMetadata:
    known = {
        "time_created": plain.time_created,
        "last_updated": plain.last_updated,
        "generation": plain.generation,
        "attributes": plain.attributes,
    }
    return incomplete(ResourceMetadata, known, _METADATA)


class _RestOfFlow:
    __slots__ = ("_plain",)

    def __init__(self, plain: PlainFlow) -> None:
        self._plain = plain

    def decode(self, flow: Flow, _asked: str | None) -> None:
        completed(flow, set(_FLOW), {})

    def wire(self, flow: Flow) -> dict[str, Any] | None:
        return None if "blocks" in flow.spec.__dict__ else msgspec.to_builtins(self._plain)

    def forms(self, flow: Flow) -> PlainFlow | None:
        return None if "blocks" in flow.spec.__dict__ else self._plain


class _RestOfSpec:
    __slots__ = ("_plain",)

    def __init__(self, plain: PlainSpec) -> None:
        self._plain = plain

    def decode(self, spec: FlowSpec, _asked: str | None) -> None:
        plain, fields = self._plain, spec.__dict__
        project = fields.pop("training_project")
        fields["settings"] = plain.settings
        fields["blocks"] = [
            incomplete(FlowBlock, {"block": each.block, "settings": each.settings, "style": each.style}, _BLOCK)
            for each in plain.blocks
        ]
        fields["training_project"] = project  # behind the others, as in the model
        completed(spec, set(_SPEC_WITHOUT_PROJECT if plain.training_project is UNSET else _SPEC), {})
