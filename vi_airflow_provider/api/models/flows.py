"""Flows (VI_API.md section 4)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pydantic import Field

from vi_airflow_provider.api.canonical import CanonicalForms, WireForms, canonical_spec
from vi_airflow_provider.api.lazy_model import undecoded_forms, undecoded_wire
from vi_airflow_provider.api.models.document import DeletedDocument, Document, ResourceMetadata, format_time


class FlowBlock(Document):
    """One step of a training pipeline."""

    block: str
    settings: dict[str, Any]
    style: dict[str, Any]


# The API calls this field `schema`; pydantic's base class has a deprecated method of that name and warns that it is
# shadowed.
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message='Field name "schema"', category=UserWarning)

    class FlowSpec(Document):
        """What a flow trains, and how: the part that its author writes."""

        name: str
        schema: str = Field()  # type: ignore[assignment]
        tolerations: dict[str, list[str]]
        settings: dict[str, Any]
        blocks: list[FlowBlock]
        training_project: str | None = None

        @classmethod
        def complete(cls, spec: FlowSpec | Mapping[str, Any]) -> FlowSpec:
            """Build a spec from what an author writes, where empty containers may be omitted.

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
            """Check the given fields; as :meth:`FlowSpec.complete`, but any field may be omitted."""
            fields = spec.model_dump() if isinstance(spec, FlowSpec) else spec
            return cls.model_validate(_with_complete_blocks(fields))


def _with_complete_blocks(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Give each block the empty containers that the API requires and an author may omit."""
    blocks = spec.get("blocks")
    if not isinstance(blocks, list):
        return dict(spec)
    empty: dict[str, Any] = {"settings": {}, "style": {}}
    return {**spec, "blocks": [empty | dict(b) if isinstance(b, Mapping) else b for b in blocks]}


class Flow(Document):
    """A flow: the definition of a training pipeline, with its identity and metadata."""

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
        return self.canonical_forms().digest()

    @property
    def fingerprint(self) -> str:
        """Hexadecimal sha256 of the canonical spec and the attributes: what the manifest of an export lists."""
        return self.canonical_forms().fingerprint()

    def canonical_forms(self) -> CanonicalForms:
        """Return what computes the canonical forms of this flow, as long as it is not changed."""
        return undecoded_forms(self) or WireForms(self.to_wire())

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
    """The short form of a flow (``simpleFlows``): its id and, if set, its name."""

    flow_id: str
    name: str | None = None


class FlowPage(Document):
    """One page of a listing; ``next_page`` is the cursor of the page after it, ``None`` at the end."""

    items: list[Flow]
    next_page: str | None = None
    prev_page: str | None = None


class DeletedFlow(DeletedDocument):
    """What became of the delete of a flow."""


class GuardedWrite(NamedTuple):
    """The outcome of a write that is allowed only while the current flow matches.

    ``flow`` is what was written, or what was found instead and does not match (``None``: no such flow).
    """

    written: bool
    flow: Flow | None


def last_update(flow: Flow) -> tuple[int, str]:
    """Return a sort key without ties; the flow that was updated last is the greatest."""
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
