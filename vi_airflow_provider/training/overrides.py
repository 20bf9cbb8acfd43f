"""Changes to the copy of a flow that a run trains; the flow itself stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.models import FlowSpec
from vi_airflow_provider.api.protocol.codec import wire_spec
from vi_airflow_provider.selection.overrides import checked_overrides


def apply_overrides(spec: FlowSpec, overrides: Mapping[str, Any] | None) -> FlowSpec:
    """Return the spec with a JSON merge patch (RFC 7386) applied, in which blocks are named by their type.

    ``{"settings": {"seed": 8}, "blocks": {"trainer": {"settings": {"epochs": 3}}}}``

    :raises ViValidationError: a field does not exist, or a block type is absent or stands twice; the message names it
    """
    checked = checked_overrides("overrides", overrides)
    if checked is None:
        return spec
    wire = spec.to_wire()
    for kind, patch in checked.get("blocks", {}).items():
        block = _only_block(wire["blocks"], kind)
        block.update(merge_patch(block, patch))
    rest = {key: value for key, value in checked.items() if key != "blocks"}
    return checked_spec(merge_patch(wire, rest))


def checked_spec(spec: FlowSpec | Mapping[str, Any]) -> FlowSpec:
    """Return a spec as it is sent, and as any try of the task will have it.

    :raises ViValidationError: it is no spec, or holds something that JSON cannot express; the message names its path
    """
    return FlowSpec.model_validate(wire_spec(FlowSpec.complete, spec))


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7386): objects are merged, ``None`` removes, anything else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def _only_block(blocks: list[dict[str, Any]], kind: object) -> dict[str, Any]:
    found = [block for block in blocks if block["block"] == kind]
    if len(found) != 1:
        known = ", ".join(sorted({block["block"] for block in blocks})) or "none"
        how = "no block" if not found else f"{len(found)} blocks"
        raise ViValidationError(f"overrides.blocks: the flow has {how} of type {kind!r:.80}; it has {known:.200}")
    return found[0]
