"""The flows that the server offers: 8 blocks and about 4.1 KB of JSON each, a pure function of their number.

They are built as bytes, ready to send. No code is shared with the emulator or with a client under measurement.
"""

from __future__ import annotations

import json
from typing import Any, Final

ORGANIZATION_ID: Final = "acme-vision"
DAY: Final = 86_400_000  # milliseconds
#: Greatest age in days; ages are spread evenly up to it.
OLDEST: Final = 400

_BLOCKS: Final = ("system-prompt", "dataset", "resize", "augment", "vlm-model", "evaluate", "checkpoint", "notify")
_PARTS: Final = ("weld seams", "solder joints", "Schweißnähte", "paint defects", "bottle caps", "palette labels")
#: Number of different documents, apart from ids and times.
_VARIANTS: Final = 24


def flow_id(number: int) -> str:
    """Return the id of the flow with this number, in the format of the vendor's SDK."""
    return f"{number:08x}-7a53-4f0e-8f0d-{number * 2_654_435_761 % 2**48:012x}"


def age_in_days(number: int) -> int:
    """Return the number of days since a flow was last updated."""
    return 1 + number * 137 % OLDEST


def flow(number: int, now: int) -> bytes:
    """Return the document of the flow with this number, as sent over the wire. A higher number was created later.

    :param now: reference time for its age, in milliseconds since the epoch
    """
    last_updated = now - age_in_days(number) * DAY
    created = now - (OLDEST + 10) * DAY + number
    return _TEMPLATES[number % _VARIANTS] % {
        b"id": flow_id(number).encode(),
        b"number": b"%d" % number,
        b"created": b"%d" % created,
        b"updated": b"%d" % last_updated,
    }


def _template(variant: int) -> bytes:
    part = _PARTS[variant % len(_PARTS)]
    document = {
        "kind": "Flow",
        "workspaceId": ORGANIZATION_ID,
        "flowId": "%(id)s",
        "spec": {
            "name": f"{part} %(number)s",
            "schema": "v1",
            "tolerations": {"spot": ["preemption", "eviction"]},
            "settings": {"seed": variant, "priority": "normal", "notes": f"Line 3, {part}. " * 4},
            "blocks": [
                {"block": block, "settings": _settings(block, variant, part), "style": _style(place)}
                for place, block in enumerate(_BLOCKS)
            ],
            "trainingProject": f"project-{variant % 7}",
        },
        "metadata": {
            "timeCreated": "%(created)s",
            "lastUpdated": "%(updated)s",
            "generation": 1 + variant % 5,
            "attributes": {"team": f"line-{variant % 4}", "stage": "production", "owner": "vision-platform"},
        },
        "selfLink": f"/workspaces/{ORGANIZATION_ID}/flows/%(id)s",
        "etag": '"%(number)s-9d2f61"',
    }
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    # Times are numbers on the wire, but json.dumps can write a placeholder only as text.
    text = text.replace('"%(created)s"', "%(created)s").replace('"%(updated)s"', "%(updated)s")
    return text.encode()


def _settings(block: str, variant: int, part: str) -> dict[str, Any]:
    return {
        "label": f"{block} for {part}",
        "architecture": {"name": "qwen3vl", "size": f"{2 + variant % 3}B", "revision": f"2026-{1 + variant % 9:02}"},
        "hyperparameters": {"epochs": 20 + variant, "batchSize": 4, "learningRate": 0.0001},
        "compute": {"precisionType": "bfloat16", "quantization": {"enabled": variant % 2 == 0, "type": "nf4"}},
        "prompt": f"Find every defect on {part}, name it, and say how sure you are.",
    }


def _style(place: int) -> dict[str, Any]:
    return {"x": 320 + 8 * place, "y": 40 + 180 * place, "color": "#4e79a7", "collapsed": False}


_TEMPLATES: Final = tuple(_template(variant) for variant in range(_VARIANTS))
