"""The fields that are read of each listed flow. Both typed clients name their attributes alike."""

from __future__ import annotations

from typing import Any


def key(flow: Any) -> None:
    """Read the key fields: id, name and last update."""
    flow.flow_id, flow.spec.name, flow.metadata.last_updated  # noqa: B018


def every(flow: Any) -> None:
    """Read every field, down to a value in each block's settings and style."""
    key(flow)
    flow.organization_id, flow.self_link, flow.etag, flow.spec.schema, flow.spec.training_project  # noqa: B018
    flow.spec.tolerations["spot"], flow.spec.settings["seed"]
    flow.metadata.time_created, flow.metadata.generation, flow.metadata.attributes["team"]
    for block in flow.spec.blocks:
        block.block, block.settings["label"], block.style["x"]


def reader(*, everything: bool) -> Any:
    """Return the function that reads every field, or only the key fields."""
    return every if everything else key
