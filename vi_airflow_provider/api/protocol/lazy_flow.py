"""Flows of a listing: each is checked as a whole when it is yielded, and decoded when more of it is read.

Most of a flow is the settings of its blocks, and most callers of a listing read names and times only. So a flow is
checked without building its contents: JSON syntax, and presence and type of each required field. Only ids, names,
labels and times are built. That costs a third of pydantic's validation.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from vi_airflow_provider.api.errors import one_line, refusing
from vi_airflow_provider.api.lazy_model import LazyModel, completed, incomplete
from vi_airflow_provider.api.models import TWIN, Flow, FlowBlock, FlowSpec, ResourceMetadata
from vi_airflow_provider.api.protocol.codec import parse_document
from vi_airflow_provider.api.protocol.outcomes import NOT_JSON, ErrorContext

# The contract (VI_API.md section 4) in the wire's names. Other fields are skipped here, and kept by what follows.


class _Object(msgspec.Struct):
    """Any JSON object."""


class _Block(msgspec.Struct):
    block: str
    settings: _Object
    style: _Object


class _Spec(msgspec.Struct, rename="camel"):
    name: str
    schema: str
    tolerations: dict[str, list[str]]
    settings: _Object
    blocks: list[_Block]
    training_project: str | None = None


class _Metadata(msgspec.Struct, rename="camel"):
    time_created: int
    last_updated: int
    generation: int
    attributes: dict[str, str]


class _Flow(msgspec.Struct, rename="camel"):
    workspace_id: str
    flow_id: str
    spec: _Spec
    metadata: _Metadata
    self_link: str
    etag: str
    kind: Literal["Flow"] = "Flow"


_check: Final = msgspec.json.Decoder(_Flow).decode


def parse_listed_flow(content: bytes, context: ErrorContext, json_path: str) -> Flow:
    """Check one flow of a page.

    :param content: its JSON text, known to be UTF-8
    :raises ViResponseError: a required field is missing or of a wrong type; the message names its path. Reading the
        settings raises it as well if they hold a number that is too large
    """
    try:
        checked = _check(content)
    except NOT_JSON:
        return parse_document(Flow, content, context, json_path)  # which describes what is wrong, or accepts it
    text = _Text(content, context, json_path)
    spec, metadata = checked.spec, checked.metadata
    known_spec = {
        "name": spec.name,
        "schema": spec.schema,
        "tolerations": spec.tolerations,
        "training_project": spec.training_project,
    }
    known_metadata = {
        "time_created": metadata.time_created,
        "last_updated": metadata.last_updated,
        "generation": metadata.generation,
        "attributes": metadata.attributes,
    }
    known = {
        "kind": checked.kind,
        "organization_id": checked.workspace_id,
        "flow_id": checked.flow_id,
        "spec": incomplete(FlowSpec, known_spec, _RestOfSpec(text, spec.blocks)),
        "metadata": incomplete(ResourceMetadata, known_metadata, _RestOfMetadata(text)),
        "self_link": checked.self_link,
        "etag": checked.etag,
    }
    return incomplete(Flow, known, _RestOfFlow(text))


class _Text:
    """The JSON text of a flow, decoded once for all the documents in it."""

    __slots__ = ("_content", "_context", "_json_path", "_wire")

    def __init__(self, content: bytes, context: ErrorContext, json_path: str) -> None:
        self._content = content
        self._context = context
        self._json_path = json_path
        self._wire: dict[str, Any] | None = None

    @property
    def wire(self) -> dict[str, Any]:
        if self._wire is None:
            self._wire = self.decoded()
        return self._wire

    @property
    def is_shared(self) -> bool:
        """Do documents hold parts of what was decoded?"""
        return self._wire is not None

    def decoded(self) -> dict[str, Any]:
        def describe(error: Exception) -> str:  # well-formed, but without a value: a huge number
            return f"the response violates the contract: {one_line(f'{self._json_path}: {error}')}"

        with refusing(self._context.response_error, *NOT_JSON, describe=describe):
            wire: dict[str, Any] = msgspec.json.decode(self._content)
            return wire

    def given(self, model: type[LazyModel], wire: dict[str, Any]) -> tuple[set[str], dict[str, Any]]:
        """Return which fields a document within the flow has, and those that its model does not know."""
        names, every = _NAMES[model]
        if wire.keys() == names.keys():
            return every.copy(), {}
        extra = {key: wire[key] for key in wire if key not in names}
        if twins := extra.keys() & every:
            raise self._context.response_error(f"{self._json_path}: {min(twins)}: {TWIN}")
        return {names.get(key, key) for key in wire}, extra


class _RestOfFlow:
    __slots__ = ("_text",)

    def __init__(self, text: _Text) -> None:
        self._text = text

    def decode(self, flow: Flow, _asked: str | None) -> None:
        completed(flow, *self._text.given(Flow, self._text.wire))

    def wire(self, flow: Flow) -> dict[str, Any] | None:
        if self._text.is_shared or "blocks" in flow.spec.__dict__:
            return None
        wire = self._text.decoded()
        wire["metadata"]["attributes"] = dict(flow.metadata.attributes)
        wire["spec"]["tolerations"] = {key: list(values) for key, values in flow.spec.tolerations.items()}
        return wire


class _RestOfMetadata:
    __slots__ = ("_text",)

    def __init__(self, text: _Text) -> None:
        self._text = text

    def decode(self, metadata: ResourceMetadata, _asked: str | None) -> None:
        completed(metadata, *self._text.given(ResourceMetadata, self._text.wire["metadata"]))


class _RestOfSpec:
    __slots__ = ("_blocks", "_text")

    def __init__(self, text: _Text, blocks: list[_Block]) -> None:
        self._text = text
        self._blocks = blocks

    def decode(self, spec: FlowSpec, asked: str | None) -> None:
        fields = spec.__dict__
        if "blocks" not in fields:
            fields["blocks"] = list(_RestOfBlocks(self._text, self._blocks).blocks)
            if asked == "blocks":  # their number and names are known without decoding
                return
        wire = self._text.wire["spec"]
        fields["settings"] = wire["settings"]
        completed(spec, *self._text.given(FlowSpec, wire))


class _RestOfBlocks:
    __slots__ = ("_text", "blocks")

    def __init__(self, text: _Text, blocks: list[_Block]) -> None:
        self._text = text
        self.blocks = [incomplete(FlowBlock, {"block": block.block}, self) for block in blocks]

    def decode(self, _block: FlowBlock, _asked: str | None) -> None:
        # All at once: a caller that reads the settings of one block reads those of the next.
        for block, wire in zip(self.blocks, self._text.wire["spec"]["blocks"], strict=True):
            fields = block.__dict__
            fields["settings"] = wire["settings"]
            fields["style"] = wire["style"]
            completed(block, *(self._text.given(FlowBlock, wire) if len(wire) > len(_BLOCK) else (_BLOCK.copy(), {})))


def _names(model: type[LazyModel]) -> tuple[dict[str, str], set[str]]:
    names = {field.alias or name: name for name, field in model.model_fields.items()}
    return names, set(names.values())


#: The names of a model's fields by those of the wire, and all of them.
_NAMES: Final[dict[type[LazyModel], tuple[dict[str, str], set[str]]]] = {
    model: _names(model) for model in (Flow, FlowSpec, FlowBlock, ResourceMetadata)
}
_BLOCK: Final = _NAMES[FlowBlock][1]
