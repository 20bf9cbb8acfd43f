"""Flows of a listing: each is checked as a whole when it is yielded, and decoded when more of it is read.

Most of a flow is the settings of its blocks, and most callers of a listing read names and times only. So a flow is
checked without building its contents: JSON syntax, and presence and type of each required field. Only ids, names,
labels and times are built. That costs a third of pydantic's validation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from vi_airflow_provider.api.errors import ViError, refusing
from vi_airflow_provider.api.lazy_model import LazyModel, completed, incomplete
from vi_airflow_provider.api.models import TWIN, Flow, FlowBlock, FlowSpec, ResourceMetadata
from vi_airflow_provider.api.protocol.codec import check_identity, one_line_of, parse_document
from vi_airflow_provider.api.protocol.outcomes import NOT_JSON, ErrorContext
from vi_airflow_provider.api.protocol.strict_json import find_flaw, nests_too_deep, unreadable

#: The keys from a document to a part of it.
Path: TypeAlias = tuple[str, ...]

# The contract (VI_API.md section 4) in the wire's names. Other fields are skipped here, and kept by what follows.


#: An integer that the models accept.
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Object(msgspec.Struct):
    """Any JSON object."""


class _Block(msgspec.Struct):
    block: str
    settings: _Object
    style: _Object


class Spec(msgspec.Struct, rename="camel"):
    """The required fields of a spec."""

    name: str
    schema: str
    tolerations: dict[str, list[str]]
    settings: _Object
    blocks: list[_Block]
    training_project: str | None = None


class Metadata(msgspec.Struct, rename="camel"):
    """The required fields of a document's metadata."""

    time_created: Int64
    last_updated: Int64
    generation: Int64
    attributes: dict[str, str]


class _Flow(msgspec.Struct, rename="camel"):
    workspace_id: str
    flow_id: str
    spec: Spec
    metadata: Metadata
    self_link: str
    etag: str
    kind: Literal["Flow"] = "Flow"


_check: Final = msgspec.json.Decoder(_Flow).decode


def parse_listed_flow(
    organization_id: str,
    content: bytes,
    context: ErrorContext,
    json_path: str,
    on_decoding: Callable[[], None] | None = None,
) -> Flow:
    """Check one flow of a page.

    :param organization_id: the organization whose flows were requested
    :param content: its JSON text, known to be UTF-8
    :param on_decoding: is called when the contents of the flow are read
    :raises ViResponseError: a required field is missing or of a wrong type; the message names its path. Reading the
        settings raises it as well if they hold a number that is too large, or are nested too deeply
    """
    try:
        checked = _check(content)
    except NOT_JSON:
        flow = parse_document(Flow, content, context, json_path)  # which describes what is wrong, or accepts it
        check_identity("organization", flow.organization_id, organization_id, context, json_path)
        return flow
    check_identity("organization", checked.workspace_id, organization_id, context, json_path)
    text = Text(content, context, json_path, on_decoding)
    known = {
        "kind": checked.kind,
        "organization_id": checked.workspace_id,
        "flow_id": checked.flow_id,
        "spec": lazy_spec(checked.spec, text, ("spec",)),
        "metadata": lazy_metadata(checked.metadata, text),
        "self_link": checked.self_link,
        "etag": checked.etag,
    }
    return incomplete(Flow, known, _RestOfFlow(text))


def lazy_spec(checked: Spec, text: Text, path: Path) -> FlowSpec:
    """Return a spec that is decoded when more of it is read.

    :param path: where the spec stands in the text
    """
    known = {
        "name": checked.name,
        "schema": checked.schema,
        "tolerations": checked.tolerations,
        "training_project": checked.training_project,
    }
    return incomplete(FlowSpec, known, _RestOfSpec(text, checked.blocks, path))


def lazy_metadata(checked: Metadata, text: Text) -> ResourceMetadata:
    """Return metadata whose unknown fields are decoded when they are read."""
    known = {
        "time_created": checked.time_created,
        "last_updated": checked.last_updated,
        "generation": checked.generation,
        "attributes": checked.attributes,
    }
    return incomplete(ResourceMetadata, known, _RestOfMetadata(text))


class Text:
    """The JSON text of a document, decoded once for all the documents within it."""

    __slots__ = ("_content", "_context", "_json_path", "_on_decoding", "_wire")

    def __init__(
        self, content: bytes, context: ErrorContext, json_path: str, on_decoding: Callable[[], None] | None = None
    ) -> None:
        self._content = content
        self._context = context
        self._json_path = json_path
        self._on_decoding = on_decoding
        self._wire: dict[str, Any] | None = None

    @property
    def wire(self) -> dict[str, Any]:
        """The document, decoded; parts of it may be shared with models."""
        if self._wire is None:
            self._wire = self.decoded()
            self.note_read()
        return self._wire

    def at(self, path: Path) -> Any:
        """Return a part of what was decoded."""
        part: Any = self.wire
        for key in path:
            part = part[key]
        return part

    @property
    def is_shared(self) -> bool:
        """Do documents hold parts of what was decoded?"""
        return self._wire is not None

    def decoded(self) -> dict[str, Any]:
        """Decode the document for the caller alone."""

        def refuse(reason: str) -> ViError:  # well-formed, but not readable: a huge number, deep nesting
            flaw = find_flaw(self._content, self._json_path)
            return unreadable(self._context, flaw, f"the response cannot be read: {self._json_path}: {reason}")

        with refusing(refuse, *NOT_JSON, describe=one_line_of):
            wire: dict[str, Any] = msgspec.json.decode(self._content)
        if nests_too_deep(self._content):  # checked here and not before: it would cost a fifth of a listing's time
            raise refuse("nested too deeply")
        return wire

    def note_read(self) -> None:
        """Report that the contents of the document are read."""
        if self._on_decoding is not None:
            self._on_decoding()

    def given(self, model: type[LazyModel], wire: dict[str, Any]) -> tuple[set[str], dict[str, Any]]:
        """Return which fields a document within the flow has, and those that its model does not define."""
        names, every = _names(model)
        if wire.keys() == names.keys():
            return every.copy(), {}
        extra = {key: wire[key] for key in wire if key not in names}
        if twins := extra.keys() & every:
            raise self._context.response_error(f"{self._json_path}: {min(twins)}: {TWIN}")
        return {names.get(key, key) for key in wire}, extra


class _RestOfFlow:
    __slots__ = ("_text",)

    def __init__(self, text: Text) -> None:
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

    def forms(self, _flow: Flow) -> None:
        """Return nothing: the wire form is needed. The next flows of the listing are decoded at once."""
        self._text.note_read()


class _RestOfMetadata:
    __slots__ = ("_text",)

    def __init__(self, text: Text) -> None:
        self._text = text

    def decode(self, metadata: ResourceMetadata, _asked: str | None) -> None:
        completed(metadata, *self._text.given(ResourceMetadata, self._text.wire["metadata"]))


class _RestOfSpec:
    __slots__ = ("_blocks", "_path", "_text")

    def __init__(self, text: Text, blocks: list[_Block], path: Path) -> None:
        self._text = text
        self._blocks = blocks
        self._path = path

    def decode(self, spec: FlowSpec, asked: str | None) -> None:
        fields = spec.__dict__
        if "blocks" not in fields:
            fields["blocks"] = list(_RestOfBlocks(self._text, self._blocks, self._path).blocks)
            if asked == "blocks":  # their number and names are known without decoding
                return
        wire = self._text.at(self._path)
        fields["settings"] = wire["settings"]
        completed(spec, *self._text.given(FlowSpec, wire))


class _RestOfBlocks:
    __slots__ = ("_path", "_text", "blocks")

    def __init__(self, text: Text, blocks: list[_Block], path: Path) -> None:
        self._text = text
        self._path = path
        self.blocks = [incomplete(FlowBlock, {"block": block.block}, self) for block in blocks]

    def decode(self, _block: FlowBlock, _asked: str | None) -> None:
        # All at once: a caller that reads the settings of one block reads those of the next.
        for block, wire in zip(self.blocks, self._text.at(self._path)["blocks"], strict=True):
            fields = block.__dict__
            fields["settings"] = wire["settings"]
            fields["style"] = wire["style"]
            completed(block, *(self._text.given(FlowBlock, wire) if len(wire) > len(_BLOCK) else (_BLOCK.copy(), {})))


@cache
def _names(model: type[LazyModel]) -> tuple[dict[str, str], set[str]]:
    """Return the names of a model's fields by those of the wire, and all of them."""
    names = {field.alias or name: name for name, field in model.model_fields.items()}
    return names, set(names.values())


_BLOCK: Final = _names(FlowBlock)[1]
