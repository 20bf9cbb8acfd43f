"""What is read of each flow that is listed: the same of both typed clients, whose attributes have the same names."""

from __future__ import annotations

from typing import Any


def key(flow: Any) -> None:
    """Read what tells flows apart: id, name and last update."""
    flow.flow_id, flow.spec.name, flow.metadata.last_updated  # noqa: B018


def every(flow: Any) -> None:
    """Read all of it, down to a value in each block's settings and style."""
    key(flow)
    flow.organization_id, flow.self_link, flow.etag, flow.spec.schema, flow.spec.training_project  # noqa: B018
    flow.spec.tolerations["spot"], flow.spec.settings["seed"]
    flow.metadata.time_created, flow.metadata.generation, flow.metadata.attributes["team"]
    for block in flow.spec.blocks:
        block.block, block.settings["label"], block.style["x"]


def reader(*, everything: bool) -> Any:
    """Return one of the two."""
    return every if everything else key
