"""Canonical JSON and the two checksums of a flow, as pure functions.

* ``digest`` identifies what a flow trains: the sha256 of its canonical spec, without layout (``style``).
* ``fingerprint`` identifies what an export compares: the sha256 of the canonical spec and the attributes.

Neither depends on times, generations or etags.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, Final

import msgspec

_encode: Final = msgspec.json.Encoder(order="sorted").encode


def canonical_json(value: Any) -> bytes:
    """Serialize JSON data so that equal data gives equal bytes: sorted keys, compact, UTF-8.

    :raises TypeError: the value is not JSON data
    """
    try:
        text = _encode(value)
    except UnicodeEncodeError:  # a lone surrogate, which JSON can escape
        text = b"null"
    if b"null" in text and not _encodable(value):
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
            "utf-8", "surrogatepass"
        )
    return text


def _encodable(value: Any) -> bool:
    """Can msgspec write this without loss? It writes null for a number that is not finite."""
    match value:
        case dict():
            return all(map(_encodable, value)) and all(map(_encodable, value.values()))
        case list() | tuple():
            return all(map(_encodable, value))
        case float():
            return math.isfinite(value)
        case str():
            return not any("\ud800" <= character <= "\udfff" for character in value)
    return True


def canonical_spec(wire: dict[str, Any]) -> dict[str, Any]:
    """Reduce the wire form of a spec, in place, to what it trains: no layout, no training project of null."""
    for block in wire["blocks"]:
        block.pop("style", None)
    if wire.get("trainingProject") is None:
        wire.pop("trainingProject", None)
    return wire


def spec_digest(spec: dict[str, Any]) -> str:
    """Return the hexadecimal sha256 of a spec in its wire form, which is reduced in place to what it trains."""
    return hashlib.sha256(canonical_json(canonical_spec(spec))).hexdigest()


def comparable(wire: dict[str, Any]) -> dict[str, Any]:
    """Return what counts when two versions of a flow are compared: spec and attributes, as JSON data.

    :param wire: the wire form of a flow, whose spec is reduced in place
    """
    return {"spec": canonical_spec(wire["spec"]), "metadata": {"attributes": wire["metadata"]["attributes"]}}


def fingerprint(wire: dict[str, Any]) -> str:
    """Return the hexadecimal sha256 of what counts in a comparison.

    :param wire: the wire form of a flow, whose spec is reduced in place
    """
    return hashlib.sha256(canonical_json(comparable(wire))).hexdigest()
