"""Canonical JSON and the two checksums of a flow, as pure functions.

* ``digest`` identifies what a flow trains: the sha256 of its canonical spec, without layout (``style``).
* ``fingerprint`` identifies what an export compares: the sha256 of the canonical spec and the attributes.

Neither depends on times, generations or etags.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, Final, Protocol

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
    """Return the wire form of a spec reduced to what it trains: no layout, no training project of null."""
    spec = {key: value for key, value in wire.items() if key != "trainingProject" or value is not None}
    spec["blocks"] = [{key: value for key, value in block.items() if key != "style"} for block in wire["blocks"]]
    return spec


def spec_digest(wire: dict[str, Any]) -> str:
    """Return the hexadecimal sha256 of what a spec trains, from its wire form."""
    return hashlib.sha256(canonical_json(canonical_spec(wire))).hexdigest()


def comparable(wire: dict[str, Any]) -> dict[str, Any]:
    """Return what counts when two versions of a flow are compared, spec and attributes, from its wire form."""
    return {"spec": canonical_spec(wire["spec"]), "metadata": {"attributes": wire["metadata"]["attributes"]}}


class CanonicalForms(Protocol):
    """What is computed from all of a flow. Computing it does not change the flow."""

    def text(self) -> bytes:
        """Return the flow as canonical JSON."""
        ...

    def spec_text(self) -> bytes:
        """Return the spec, layout included, as canonical JSON."""
        ...

    def digest(self) -> str:
        """Return the hexadecimal sha256 of the canonical spec."""
        ...

    def fingerprint(self) -> str:
        """Return the hexadecimal sha256 of the canonical spec and the attributes."""
        ...


class WireForms:
    """The canonical forms of any flow, from its wire form."""

    def __init__(self, wire: dict[str, Any]) -> None:
        self._wire = wire

    def text(self) -> bytes:
        """Return the flow as canonical JSON."""
        return canonical_json(self._wire)

    def spec_text(self) -> bytes:
        """Return the spec, layout included, as canonical JSON."""
        return canonical_json(self._wire["spec"])

    def digest(self) -> str:
        """Return the hexadecimal sha256 of the canonical spec."""
        return spec_digest(self._wire["spec"])

    def fingerprint(self) -> str:
        """Return the hexadecimal sha256 of the canonical spec and the attributes."""
        return hashlib.sha256(canonical_json(comparable(self._wire))).hexdigest()
