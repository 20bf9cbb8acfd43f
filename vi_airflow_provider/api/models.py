"""The documents of the Vi API (VI_API.md section 4), as frozen pydantic models.

Each model reads two forms of itself: the wire (camelCase) and its own dump (snake_case, the XCom form), so
``Flow.model_validate(xcom_value)`` works in a downstream task. Fields that this version does not know are
kept in both, and a field that was absent stays absent: what was read is what is written back.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, model_validator
from pydantic.alias_generators import to_camel

from vi_airflow_provider.api.canonical import canonical_spec, fingerprint, spec_digest
from vi_airflow_provider.api.lazy_model import LazyModel, undecoded_wire

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: What is wrong with an unknown field whose name is the one that we give to another field.
TWIN: Final = "the document has a field of this name beside the one that we call so: which one is meant?"


class Document(LazyModel):
    """Base of everything that is read from the wire."""

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        protected_namespaces=(),
        ser_json_inf_nan="constants",  # not null, which would be another document; encode_body refuses them
    )

    @model_validator(mode="after")
    def _without_twins(self) -> Self:
        # In the XCom form, an unknown field of the name that we give to another one would take its place.
        if self.__pydantic_extra__ and (twins := self.__pydantic_extra__.keys() & type(self).model_fields.keys()):
            raise ValueError(f"{min(twins)}: {TWIN}")
        return self

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """Dump as pydantic does, but without fields that the document did not have.

        ``mode="json"`` gives the XCom form: snake_case keys, JSON types only.
        """
        return super().model_dump(**{"exclude_unset": True, **options})

    def model_dump_json(self, **options: Any) -> str:
        """Dump to JSON text under the same rule as :meth:`model_dump`."""
        return super().model_dump_json(**{"exclude_unset": True, **options})

    def to_wire(self) -> dict[str, Any]:
        """Return the document as the API writes it: camelCase keys, JSON types only."""
        return self.model_dump(mode="json", by_alias=True)


class ResourceMetadata(Document):
    """Bookkeeping of the server about a document. Times are integers: milliseconds since the epoch, UTC."""

    time_created: StrictInt
    last_updated: StrictInt
    generation: StrictInt
    attributes: dict[str, str]


class FlowBlock(Document):
    """One step of a training pipeline."""

    block: str
    settings: dict[str, Any]
    style: dict[str, Any]


# Vi calls this field `schema`, and so do we; pydantic's base class has a deprecated method of that name,
# whose shadowing it reports.
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message='Field name "schema"', category=UserWarning)

    class FlowSpec(Document):
        """What a flow trains, and how: the part of it that its author writes."""

        name: str
        schema: str = Field()  # type: ignore[assignment]
        tolerations: dict[str, list[str]]
        settings: dict[str, Any]
        blocks: list[FlowBlock]
        training_project: str | None = None

        @classmethod
        def complete(cls, spec: FlowSpec | Mapping[str, Any]) -> FlowSpec:
            """Build a spec from what an author writes, who may leave empty containers out.

            :param spec: a spec, or its fields in snake_case or camelCase
            :raises pydantic.ValidationError: a required field is missing or of a wrong type
            """
            if isinstance(spec, FlowSpec):
                return spec
            return cls.model_validate({"tolerations": {}, "settings": {}, **_with_complete_blocks(spec)})

        def canonical(self) -> dict[str, Any]:
            """Return what this spec trains as JSON data: no layout (``style``), no training project of null."""
            return canonical_spec(self.to_wire())

    class FlowSpecPatch(Document):
        """The fields of a spec that a PATCH changes; ``blocks`` replaces all blocks."""

        name: str = ""
        schema: str = ""  # type: ignore[assignment]
        tolerations: dict[str, list[str]] = Field({})
        settings: dict[str, Any] = Field({})
        blocks: list[FlowBlock] = Field([])
        training_project: str | None = None

        @classmethod
        def complete(cls, spec: FlowSpec | Mapping[str, Any]) -> FlowSpecPatch:
            """Check the given fields; as :meth:`FlowSpec.complete`, but any field may be left out."""
            fields = spec.model_dump() if isinstance(spec, FlowSpec) else spec
            return cls.model_validate(_with_complete_blocks(fields))


def _with_complete_blocks(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Give each block the empty containers that the API requires and an author may leave out."""
    blocks = spec.get("blocks")
    if not isinstance(blocks, list):
        return dict(spec)
    empty: dict[str, Any] = {"settings": {}, "style": {}}
    return {**spec, "blocks": [empty | dict(b) if isinstance(b, Mapping) else b for b in blocks]}


class Flow(Document):
    """A flow: the definition of a training pipeline, with its identity and bookkeeping."""

    kind: Literal["Flow"] = "Flow"
    organization_id: str = Field(alias="workspaceId")
    flow_id: str
    spec: FlowSpec
    metadata: ResourceMetadata
    self_link: str
    etag: str

    @property
    def digest(self) -> str:
        """Hexadecimal sha256 of the canonical spec: a change of layout or metadata does not change it."""
        return spec_digest(self.to_wire()["spec"])

    @property
    def fingerprint(self) -> str:
        """Hexadecimal sha256 of the canonical spec and the attributes: what the manifest of an export lists."""
        return fingerprint(self.to_wire())

    def to_wire(self) -> dict[str, Any]:
        """Return the flow as the API writes it: camelCase keys, JSON types only."""
        if (wire := undecoded_wire(self)) is not None:
            return wire
        return super().to_wire()

    def info(self) -> str:
        """Print a summary of the flow for a person, and return its text."""
        text = _summary(self)
        print(text)
        return text


class SimpleFlow(Document):
    """The short form of a flow (``simpleFlows``): its id and, maybe, its name."""

    flow_id: str
    name: str | None = None


class FlowPage(Document):
    """One page of a listing; ``next_page`` is the cursor of the page after it, ``None`` at the end."""

    items: list[Flow]
    next_page: str | None = None
    prev_page: str | None = None


class DeletedFlow(BaseModel):
    """What became of a delete: the flow is gone either way.

    ``deleted`` says that this call removed it, ``already_absent`` that there was nothing to remove.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    deleted: StrictBool
    already_absent: StrictBool


class GuardedWrite(NamedTuple):
    """What became of a write that is allowed only while the current document matches.

    ``flow`` is what was written, or what was found instead and does not match (``None``: no such flow).
    """

    written: bool
    flow: Flow | None


def format_time(ms: int) -> str:
    """Write a wire time (milliseconds since the epoch) for a person; a nonsensical one as the bare number."""
    try:
        return (_EPOCH + timedelta(milliseconds=ms)).strftime("%Y-%m-%d %H:%M:%S UTC")
    except OverflowError:
        return f"{ms} ms"


def last_update(flow: Flow) -> tuple[int, str]:
    """Sort key by which the flow that was updated last is the greatest; never a tie."""
    return flow.metadata.last_updated, flow.flow_id


def _summary(flow: Flow) -> str:
    spec, metadata = flow.spec, flow.metadata
    facts = {
        "Flow ID": flow.flow_id,
        "Organization": flow.organization_id,
        "Schema": spec.schema,
        "Training project": spec.training_project or "-",
        "Created": format_time(metadata.time_created),
        "Last updated": format_time(metadata.last_updated),
        "Generation": metadata.generation,
        "Attributes": ", ".join(f"{key}={value}" for key, value in sorted(metadata.attributes.items())) or "-",
        "Tolerations": ", ".join(f"{key}: {values}" for key, values in sorted(spec.tolerations.items())) or "-",
        "Settings": ", ".join(f"{key}={value!r}" for key, value in sorted(spec.settings.items())) or "-",
        "Digest": flow.digest,
    }
    lines = [f"Flow: {spec.name}", *(f"  {label + ':':<18}{fact}" for label, fact in facts.items())]
    lines.append(f"  Blocks ({len(spec.blocks)}):")
    lines += [f"    {number}. {block.block}" for number, block in enumerate(spec.blocks, 1)]
    return "\n".join(lines)
