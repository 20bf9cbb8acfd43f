"""Valid wire documents and credentials, of which tests change one aspect."""

from __future__ import annotations

import copy
import json
from typing import Any, Final

ORGANIZATION_ID: Final = "5b1d7c1e-2f64-4a0b-9a55-0c6f2f1f7a10"
#: In the format of a real key: 103 characters.
SECRET_KEY: Final = "dtvi_" + "s3cr3t-K3y" * 9 + "tail0123"
FLOW_ID: Final = "0f4c9c1e-7a53-4f0e-8f0d-2b1f6f3a9d21"
RUN_ID: Final = "7e2a5d0c-91b4-4c6e-a3d7-55b0c2f4e812"

#: The example of VI_API.md section 9, shortened.
_FLOW: Final[dict[str, Any]] = {
    "kind": "Flow",
    "workspaceId": ORGANIZATION_ID,
    "flowId": FLOW_ID,
    "spec": {
        "name": "Weld seam defects - Qwen3-VL 4B",
        "schema": "v1",
        "tolerations": {"gpu": ["T4", "A100"]},
        "settings": {"seed": 7},
        "blocks": [
            {
                "block": "system-prompt",
                "settings": {"systemPrompt": "Find weld defects, größer als 1 mm."},
                "style": {"x": 320, "y": 40},
            },
            {
                "block": "vlm-model",
                "settings": {
                    "architecture": {"name": "qwen3vl", "size": "4B"},
                    "evaluation": {"temperature": 0.7, "max_new_tokens": 512},
                },
                "style": {"x": 320, "y": 420},
            },
        ],
        "trainingProject": "weld-inspection",
    },
    "metadata": {
        "timeCreated": 1_782_864_000_123,
        "lastUpdated": 1_783_209_600_456,
        "generation": 4,
        "attributes": {"team": "line-3"},
    },
    "selfLink": f"/workspaces/{ORGANIZATION_ID}/flows/{FLOW_ID}",
    "etag": '"4-9d2f61"',
}

#: As the value of a change: the field is left out.
ABSENT: Final = object()


def wire_flow(**changes: Any) -> dict[str, Any]:
    """Return a valid flow as the API sends it, with changes.

    A change names a field by its path on the wire, ``__`` between the steps, numbers for places in a list:
    ``wire_flow(flowId="f1", spec__name="x", spec__blocks__0__style={}, etag=ABSENT)``.
    """
    flow = copy.deepcopy(_FLOW)
    if "flowId" in changes and "selfLink" not in changes:
        flow["selfLink"] = f"/workspaces/{ORGANIZATION_ID}/flows/{changes['flowId']}"
    return _changed(flow, changes)


def _changed(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    for path, value in changes.items():
        *parents, last = path.split("__")
        place: Any = document
        for step in parents:
            place = place[int(step) if isinstance(place, list) else step]
        key = int(last) if isinstance(place, list) else last
        if value is ABSENT:
            del place[key]
        else:
            place[key] = value
    return document


def wire_spec(**changes: Any) -> dict[str, Any]:
    """Return a valid spec as the API has it; changes as of :func:`wire_flow`."""
    spec: dict[str, Any] = wire_flow(**{f"spec__{path}": value for path, value in changes.items()})["spec"]
    return spec


def wire_run(**changes: Any) -> dict[str, Any]:
    """Return a valid run that is in progress, as the API sends it; changes as of :func:`wire_flow`."""
    run_id = changes.get("runId", RUN_ID)
    run = {
        "kind": "Run",
        "workspaceId": ORGANIZATION_ID,
        "runId": run_id,
        "spec": {"flow": wire_spec(), "killedAt": None, "trainingProject": "weld-inspection"},
        "status": {
            "log": "",
            "observedGeneration": 1,
            "conditions": [
                {"condition": "Finished", "status": "Waiting", "lastTransitionTime": 1_783_210_000_000},
                {
                    "condition": "Started",
                    "status": "Reached",
                    "lastTransitionTime": 1_783_210_095_000,
                    "message": "Training started.",
                },
            ],
        },
        "metadata": {
            "timeCreated": 1_783_210_000_000,
            "lastUpdated": 1_783_210_095_000,
            "generation": 1,
            "attributes": {"vi_airflow.flow_id": FLOW_ID},
        },
        "selfLink": f"/workspaces/{ORGANIZATION_ID}/runs/{run_id}",
        "etag": '"1-03aa7e"',
    }
    return _changed(run, changes)


def wire_run_output(**changes: Any) -> dict[str, Any]:
    """Return a valid checkpoint of the run of :func:`wire_run`; changes as of :func:`wire_flow`."""
    output_id = changes.get("runOutputId", "ckpt-40")
    output = {
        "kind": "RunOutput",
        "workspaceId": ORGANIZATION_ID,
        "runId": changes.get("runId", RUN_ID),
        "runOutputId": output_id,
        "spec": {"kind": "Checkpoint", "epoch": 40, "evaluationMetrics": {"validationLoss": 0.412, "f1": 0.87}},
        "status": {"observedGeneration": 1, "conditions": [], "storageObject": f"runs/7e2a5d0c/{output_id}"},
        "metadata": {
            "timeCreated": 1_783_219_000_000,
            "lastUpdated": 1_783_219_000_000,
            "generation": 1,
            "attributes": {},
        },
        "selfLink": f"/workspaces/{ORGANIZATION_ID}/runs/{RUN_ID}/outputs/{output_id}",
        "etag": '"1-77c0d1"',
    }
    return _changed(output, changes)


def wire_page(*items: Any, **envelope: Any) -> dict[str, Any]:
    """Return a page of a listing; ``nextPage`` and ``prevPage`` only where they are given."""
    return {"items": list(items), **envelope}


def wire_bytes(document: Any) -> bytes:
    """Write a document as the API does: compact UTF-8."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
