"""The form of the overrides of a flow, which does not depend on the flow."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from vi_airflow_provider.api.errors import ViValidationError

_BLOCK_FIELDS: Final = ("settings", "style")
_SPEC_FIELDS: Final = ("name", "schema", "settings", "tolerations", "blocks")


def checked_overrides(name: str, overrides: Any) -> Mapping[str, Any] | None:
    """Return overrides whose fields exist.

    :raises ViValidationError: a field does not exist, or is not an object; the message names it
    """
    if overrides is None:
        return None
    _refuse_unknown(name, _object(name, overrides), _SPEC_FIELDS)
    blocks = overrides.get("blocks", {})
    if not isinstance(blocks, Mapping):
        example = '{"trainer": {"settings": {…}}}'
        raise ViValidationError(f"{name}.blocks: {blocks!r:.80}: name the blocks by their type, like {example}")
    for kind, patch in blocks.items():
        _refuse_unknown(f"{name}.blocks.{kind}", _object(f"{name}.blocks.{kind}", patch), _BLOCK_FIELDS)
    return dict(overrides)


def _object(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ViValidationError(f"{where}: an object expected, {type(value).__name__} given: {value!r:.80}")
    return value


def _refuse_unknown(where: str, given: Mapping[str, Any], known: Collection[str]) -> None:
    unknown = sorted(str(key) for key in given if key not in known)
    if unknown:
        raise ViValidationError(f"{where}: unknown {unknown[0]!r:.80}; choose from {', '.join(known)}")
