"""Options that become arguments of the package's functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.selection.filter import FlowFilter
from vi_airflow_provider.selection.run_filter import RunFilter


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


def criteria(arguments: Any, wanted: type[FlowFilter | RunFilter]) -> dict[str, Any]:
    """Return the filter options that were given, as arguments of a filter."""
    names = wanted.model_fields.keys() - {"attributes", "states"}
    given: Mapping[str, Any] = {name: getattr(arguments, name) for name in names}
    given = {**given, "attributes": pairs("--attribute", arguments.attribute)}
    if "states" in wanted.model_fields:
        given = {**given, "states": arguments.state}
    return {name: value for name, value in given.items() if value is not None}
