"""Documents on the wire: validation of request bodies, and encoding.

Each check names the path that is wrong, as in `spec.blocks[2].settings must be an object`. Nothing is dropped or
converted: unknown fields inside a document that was PUT are kept unchanged.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn

from vi_airflow_provider.emulator.store.errors import ApiError

Document = dict[str, Any]
Check = Callable[[object, str], None]

PROJECT_TYPES = ("phrase-grounding", "vqa", "freeform")

_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")


def encode(value: object, *, allow_nan: bool = False) -> bytes:
    """JSON as Vi writes it: UTF-8, compact, non-ASCII unescaped; ValueError for values that JSON cannot express.

    With `allow_nan`, NaN and infinities are written as bare tokens, as servers in Python do.
    """
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=allow_nan).encode()


def equal(one: object, other: object) -> bool:
    """Whether two values are the same JSON; in Python, 1, 1.0 and True are equal."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def decode_object(body: bytes) -> Document:
    """The JSON object of a request body."""
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
        encode(value)  # refuse what cannot be written back: a lone surrogate, 1e999
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"The body is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ApiError(400, "The body must be a JSON object")
    return value


def check_id(value: str, what: str) -> None:
    """Ids have the alphabet that the vendor's SDK checks (observed in vi-sdk 0.1.0b7)."""
    if not _ID.fullmatch(value):
        raise ApiError(400, f"{what} id must be 1 to 255 letters, digits, '-' or '_'")


def etag(*parts: object) -> str:
    """An opaque tag that changes with its parts. The form `"<hex>"` is assumed."""
    return f'"{hashlib.sha256(encode(parts)).hexdigest()[:16]}"'


# -- bodies of PUT and PATCH --------------------------------------------------------------------------


def flow_to_put(body: Document) -> tuple[Document, dict[str, str]]:
    """The spec and the attributes of a PUT; other top-level keys are discarded, as the vendor documents."""
    return _put(body, _FLOW_SPEC, optional={"trainingProject"})


def run_to_put(body: Document) -> tuple[Document, dict[str, str]]:
    """As `flow_to_put`, for a run."""
    return _put(body, _RUN_SPEC, optional={"killedAt", "trainingProject"})


def flow_to_patch(body: Document) -> tuple[Document, dict[str, str | None]]:
    """The changes to spec and attributes of a PATCH; unknown keys are refused, as the vendor documents."""
    return _patch(body, _FLOW_SPEC)


def run_to_patch(body: Document) -> tuple[Document, dict[str, str | None]]:
    """As `flow_to_patch`; the flow inside a run cannot be patched."""
    return _patch(body, {name: _RUN_SPEC[name] for name in ("killedAt", "trainingProject")})


def project_to_put(body: Document) -> tuple[Document, dict[str, str]]:
    """As `flow_to_put`, for a training project."""
    return _put(body, _PROJECT_SPEC, optional={"description"})


def project_to_patch(body: Document) -> tuple[Document, dict[str, str | None]]:
    """As `flow_to_patch`; the type of a training project cannot change."""
    return _patch(body, {name: _PROJECT_SPEC[name] for name in ("name", "description")})


def candidate_spec(body: Document) -> Document:
    """The flow spec of a preview."""
    return _put(body, _FLOW_SPEC, optional={"trainingProject"})[0]


def check_name(value: object, path: str) -> None:
    """A string."""
    _string(value, path)


def merge_attributes(old: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Attributes merge and null removes (documented for training projects, assumed for flows and runs)."""
    return {name: value for name, value in {**old, **changes}.items() if value is not None}


def check_flow_spec(value: object, path: str = "spec") -> None:
    """A complete flow spec."""
    _fields(value, path, _FLOW_SPEC, optional={"trainingProject"})


def check_run_spec(value: object, path: str = "spec") -> None:
    """A complete run spec."""
    _fields(value, path, _RUN_SPEC, optional={"killedAt", "trainingProject"})


def check_project_spec(value: object, path: str = "spec") -> None:
    """A complete training project spec."""
    _fields(value, path, _PROJECT_SPEC, optional={"description"})


def check_metadata(value: object, path: str = "metadata") -> None:
    """Complete metadata, as the server writes it and a state file holds it."""
    _fields(value, path, _METADATA)


def _put(body: Document, fields: Mapping[str, Check], optional: Collection[str]) -> tuple[Document, dict[str, str]]:
    if "spec" not in body:
        raise ApiError(400, "spec is required")
    _fields(body["spec"], "spec", fields, optional)
    metadata = body.get("metadata", {})
    _object(metadata, "metadata")
    attributes = metadata.get("attributes", {})
    _attributes(attributes, "metadata.attributes")
    return body["spec"], attributes


def _patch(body: Document, fields: Mapping[str, Check]) -> tuple[Document, dict[str, str | None]]:
    _only_known(body, "", ("spec", "metadata"))
    spec, metadata = body.get("spec", {}), body.get("metadata", {})
    _object(spec, "spec")
    _only_known(spec, "spec.", fields)
    for name, value in spec.items():
        fields[name](value, f"spec.{name}")
    _object(metadata, "metadata")
    _only_known(metadata, "metadata.", ("attributes",))
    attributes = metadata.get("attributes", {})
    _object(attributes, "metadata.attributes")
    for name, value in attributes.items():
        _string_or_null(value, f"metadata.attributes.{name}")
    return spec, attributes


# -- checks -------------------------------------------------------------------------------------------


def _refuse(path: str, expected: str) -> NoReturn:
    raise ApiError(400, f"{path} must be {expected}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _string(value: object, path: str) -> None:
    if not isinstance(value, str):
        _refuse(path, "a string")


def _string_or_null(value: object, path: str) -> None:
    if not isinstance(value, str | None):
        _refuse(path, "a string or null")


def _integer(value: object, path: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        _refuse(path, "an integer")


def _integer_or_null(value: object, path: str) -> None:
    if value is not None:
        _integer(value, path)


def _object(value: object, path: str) -> None:
    if not isinstance(value, dict):
        _refuse(path, "an object")


def _array_of(check: Check) -> Check:
    def array(value: object, path: str) -> None:
        if not isinstance(value, list):
            _refuse(path, "an array")
        for index, item in enumerate(value):
            check(item, f"{path}[{index}]")

    return array


def _map_of(check: Check) -> Check:
    def map_(value: object, path: str) -> None:
        if not isinstance(value, dict):
            _refuse(path, "an object")
        for name, item in value.items():
            check(item, f"{path}.{name}")

    return map_


def _fields(value: object, path: str, fields: Mapping[str, Check], optional: Collection[str] = ()) -> None:
    if not isinstance(value, dict):
        _refuse(path, "an object")
    for name, check in fields.items():
        if name in value:
            check(value[name], f"{path}.{name}")
        elif name not in optional:
            raise ApiError(400, f"{path}.{name} is required")


def _only_known(value: Document, prefix: str, known: Collection[str]) -> None:
    for name in value:
        if name not in known:
            raise ApiError(400, f"{prefix}{name} is not a known field")


def _project_type(value: object, path: str) -> None:
    if value not in PROJECT_TYPES:
        _refuse(path, f"one of {', '.join(PROJECT_TYPES)}")


def _block(value: object, path: str) -> None:
    _fields(value, path, _BLOCK)


_attributes = _map_of(_string)
_BLOCK: dict[str, Check] = {"block": _string, "settings": _object, "style": _object}
_FLOW_SPEC: dict[str, Check] = {
    "name": _string,
    "schema": _string,
    "tolerations": _map_of(_array_of(_string)),
    "settings": _object,
    "blocks": _array_of(_block),
    "trainingProject": _string_or_null,
}
_RUN_SPEC: dict[str, Check] = {
    "flow": check_flow_spec,
    "killedAt": _integer_or_null,
    "trainingProject": _string_or_null,
}
_PROJECT_SPEC: dict[str, Check] = {"name": _string, "description": _string_or_null, "type": _project_type}
_METADATA: dict[str, Check] = {
    "timeCreated": _integer,
    "lastUpdated": _integer,
    "generation": _integer,
    "attributes": _attributes,
}
FLOW_SPEC_FIELDS = tuple(_FLOW_SPEC)
