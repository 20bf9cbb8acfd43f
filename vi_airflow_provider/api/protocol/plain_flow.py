"""Plain flows: those with the fields of the contract (VI_API.md section 4) and no others.

One pass over their JSON text checks them and decodes them into structs, from which their canonical forms are written.
``api.canonical`` defines the forms by the wire form of any flow. Here, they take half of the time and are the same
bytes: the encoder writes the fields of a struct in their order, which is that of their names on the wire, and sorts
the keys within them. What was decoded from JSON text has no value that the encoder cannot write. If you add a field,
keep the order.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from vi_airflow_provider.api.protocol.lazy_flow import Int64
from vi_airflow_provider.api.protocol.outcomes import NOT_JSON
from vi_airflow_provider.api.protocol.strict_json import nests_too_deep


class PlainBlock(msgspec.Struct, forbid_unknown_fields=True):
    """A block of a plain flow."""

    block: str
    settings: dict[str, Any]
    style: dict[str, Any]


class PlainSpec(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The spec of a plain flow."""

    blocks: list[PlainBlock]
    name: str
    schema: str
    settings: dict[str, Any]
    tolerations: dict[str, list[str]]
    training_project: str | UnsetType | None = UNSET


class PlainMetadata(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The metadata of a plain flow."""

    attributes: dict[str, str]
    generation: Int64
    last_updated: Int64
    time_created: Int64


class PlainFlow(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A plain flow; nothing changes what it holds, apart from a caller that changes attributes or tolerations."""

    etag: str
    flow_id: str
    kind: Literal["Flow"]
    metadata: PlainMetadata
    self_link: str
    spec: PlainSpec
    workspace_id: str

    def text(self) -> bytes:
        """Return the flow as canonical JSON."""
        return _encode(self)

    def spec_text(self) -> bytes:
        """Return the spec, layout included, as canonical JSON."""
        return _encode(self.spec)

    def digest(self) -> str:
        """Return the hexadecimal sha256 of the canonical spec."""
        return _sha256(_trained(self.spec))

    def fingerprint(self) -> str:
        """Return the hexadecimal sha256 of the canonical spec and the attributes."""
        return _sha256(_Comparable(_Attributes(self.metadata.attributes), _trained(self.spec)))


class _TrainedBlock(msgspec.Struct):
    block: str
    settings: dict[str, Any]


class _TrainedSpec(msgspec.Struct, rename="camel"):
    """What a spec trains: no layout, no training project of null."""

    blocks: list[_TrainedBlock]
    name: str
    schema: str
    settings: dict[str, Any]
    tolerations: dict[str, list[str]]
    training_project: str | UnsetType


class _Attributes(msgspec.Struct):
    attributes: dict[str, str]


class _Comparable(msgspec.Struct):
    metadata: _Attributes
    spec: _TrainedSpec


_decode: Final = msgspec.json.Decoder(PlainFlow).decode
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


def parse_plain_flow(content: bytes) -> PlainFlow | None:
    """Check and decode a flow; ``None`` if it is not plain, or cannot be read."""
    try:
        flow = _decode(content)
    except NOT_JSON:
        return None
    return None if nests_too_deep(content) else flow


def _trained(spec: PlainSpec) -> _TrainedSpec:
    blocks = [_TrainedBlock(each.block, each.settings) for each in spec.blocks]
    project = UNSET if spec.training_project is None else spec.training_project
    return _TrainedSpec(blocks, spec.name, spec.schema, spec.settings, spec.tolerations, project)


def _sha256(value: msgspec.Struct) -> str:
    return hashlib.sha256(_encode(value)).hexdigest()
