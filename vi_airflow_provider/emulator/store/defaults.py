"""What a server adds to a flow spec that is written. The fields are invented."""

from __future__ import annotations

import copy

from vi_airflow_provider.emulator.store.schema import Document


def with_defaults(spec: Document) -> Document:
    """A spec as a server returns it that fills in what the client left out."""
    completed = copy.deepcopy(spec)
    completed.setdefault("trainingProject", None)
    completed["settings"].setdefault("seed", 0)
    for block in completed["blocks"]:
        if "model" in block["block"]:
            block["settings"].setdefault("compute", {"precisionType": "bfloat16"})
    return completed
