"""Options that become arguments of the package's functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.selection.filter import FlowFilter
from vi_airflow_provider.selection.run_filter import RunFilter

_CRITERIA: Final = tuple(name for name in FlowFilter.model_fields if name != "attributes")
_RUN_CRITERIA: Final = tuple(name for name in RunFilter.model_fields if name not in ("attributes", "states"))


def pairs(option: str, values: Sequence[str] | None) -> dict[str, str] | None:
    """Return the values of a repeatable option ``KEY=VALUE``, ``None`` if it was not given.

    :raises ViValidationError: one is no pair, or a key stands twice
    """
    if values is None:
        return None
    found: dict[str, str] = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise ViValidationError(f"{option}: {text!r:.80} is not of the form KEY=VALUE")
        if found.setdefault(key, value) != value:
            raise ViValidationError(f"{option}: {key!r:.80} is given with two values")
    return found


def run_criteria(arguments: Any) -> dict[str, Any]:
    """Return the filter options that were given, as arguments of a :class:`RunFilter`."""
    given: Mapping[str, Any] = {name: getattr(arguments, name) for name in _RUN_CRITERIA}
    given = {**given, "states": arguments.state, "attributes": pairs("--attribute", arguments.attribute)}
    return {name: value for name, value in given.items() if value is not None}


def criteria(arguments: Any) -> dict[str, Any]:
    """Return the filter options that were given, as arguments of a :class:`FlowFilter`."""
    given: Mapping[str, Any] = {name: getattr(arguments, name) for name in _CRITERIA}
    given = {**given, "attributes": pairs("--attribute", arguments.attribute)}
    return {name: value for name, value in given.items() if value is not None}
