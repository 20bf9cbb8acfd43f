"""Flows of a listing whose consumer reads their contents: checked and decoded in one pass.

``lazy_flow`` checks a flow first and decodes it when its contents are read, so a consumer of the contents pays for two
passes. :class:`ListedFlows` notices such a consumer by the flows it has read before, and decodes the next ones at once.
A flow that is not plain, because it has an unknown field or violates the contract, goes the other way, which knows
what to do with it.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from vi_airflow_provider.api.lazy_model import completed, incomplete
from vi_airflow_provider.api.models import Flow, FlowBlock, FlowSpec, ResourceMetadata
from vi_airflow_provider.api.protocol.lazy_flow import Int64, parse_listed_flow
from vi_airflow_provider.api.protocol.outcomes import NOT_JSON, ErrorContext
from vi_airflow_provider.api.protocol.strict_json import nests_too_deep

#: Flows after which the consumer has to show again that it reads contents.
SAMPLE: Final = 32


class _Block(msgspec.Struct, forbid_unknown_fields=True):
    block: str
    settings: dict[str, Any]
    style: dict[str, Any]


class _Spec(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    name: str
    schema: str
    tolerations: dict[str, list[str]]
    settings: dict[str, Any]
    blocks: list[_Block]
    training_project: str | UnsetType | None = UNSET


class _Metadata(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    time_created: Int64
    last_updated: Int64
    generation: Int64
    attributes: dict[str, str]


class _Flow(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    kind: Literal["Flow"]
    workspace_id: str
    flow_id: str
    spec: _Spec
    metadata: _Metadata
    self_link: str
    etag: str


_decode: Final = msgspec.json.Decoder(_Flow).decode


class Given:
    """What an instance lacks that has all its fields: which of them the document had, and no unknown ones."""

    __slots__ = ("_names",)

    def __init__(self, names: set[str]) -> None:
        self._names = names

    def decode(self, instance: Any, _asked: str | None) -> None:
        """Complete the instance."""
        completed(instance, self._names.copy(), {})

    def wire(self, _flow: Flow) -> None:
        """Return nothing: the contents may have been changed."""


_FLOW: Final = Given(set(Flow.model_fields))
_BLOCK: Final = Given(set(FlowBlock.model_fields))
_METADATA: Final = Given(set(ResourceMetadata.model_fields))
_SPEC: Final = Given(set(FlowSpec.model_fields))
_SPEC_WITHOUT_PROJECT: Final = Given(set(FlowSpec.model_fields) - {"training_project"})


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
            if self._since_sample < SAMPLE and (flow := self._whole(content)) is not None:
                return flow
            self._contents_are_read, self._since_sample = self._since_sample < SAMPLE, 0
        return parse_listed_flow(self._organization_id, content, context, json_path, self._note_read)

    def _note_read(self) -> None:
        self._contents_are_read = True

    def _whole(self, content: bytes) -> Flow | None:
        try:
            flow = _decode(content)
        except NOT_JSON:
            return None
        if flow.workspace_id != self._organization_id or nests_too_deep(content):
            return None
        known = {
            "kind": flow.kind,
            "organization_id": flow.workspace_id,
            "flow_id": flow.flow_id,
            "spec": _spec(flow.spec),
            "metadata": _metadata(flow.metadata),
            "self_link": flow.self_link,
            "etag": flow.etag,
        }
        return incomplete(Flow, known, _FLOW)


def _spec(spec: _Spec) -> FlowSpec:
    blocks = [
        incomplete(FlowBlock, {"block": each.block, "settings": each.settings, "style": each.style}, _BLOCK)
        for each in spec.blocks
    ]
    project = spec.training_project
    known = {
        "name": spec.name,
        "schema": spec.schema,
        "tolerations": spec.tolerations,
        "settings": spec.settings,
        "blocks": blocks,
        "training_project": None if project is UNSET else project,
    }
    return incomplete(FlowSpec, known, _SPEC_WITHOUT_PROJECT if project is UNSET else _SPEC)


def _metadata(metadata: _Metadata) -> ResourceMetadata:
    known = {
        "time_created": metadata.time_created,
        "last_updated": metadata.last_updated,
        "generation": metadata.generation,
        "attributes": metadata.attributes,
    }
    return incomplete(ResourceMetadata, known, _METADATA)
