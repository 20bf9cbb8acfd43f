"""Checks of the values that go into a request, and the description of what is wrong with a document."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from vi_airflow_provider.api.errors import ViValidationError, one_line

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,255}")


def checked_id(value: object, what: str = "flow id") -> str:
    """Return ``value`` if it can be an id (VI_API.md section 2).

    :raises ViValidationError: it cannot; with ``/`` or ``..`` it would address something else
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ViValidationError(
            f"{value!r:.80} is not a valid {what}: it arrived as a number; in a DAG with "
            "render_template_as_native_obj, keep it text with quotes around the template: \"'{{ … }}'\""
        )
    # fullmatch, because `$` would accept a trailing newline
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ViValidationError(
            f"{value!r:.80} is not a valid {what}: letters, digits, '-' and '_' are allowed, 1 to 255 of them"
        )
    return value


def checked_count(value: object, name: str, low: int) -> int:
    """Return ``value`` if it is a whole number of at least ``low``; :class:`ViValidationError` otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ViValidationError(f"{name}: {value!r:.80} is not a whole number of at least {low}")
    return value


def checked_object(name: str, value: Any, what: str) -> Any:
    """Return ``value`` if it can have fields: a mapping or a document; :class:`ViValidationError` otherwise."""
    if isinstance(value, str | bytes | int | float | list | tuple | set | frozenset):
        raise ViValidationError(
            f"{name}: {what} or an object of its fields expected, {type(value).__name__} given: {value!r:.80}"
        )
    return value


def checked_attributes(attributes: Any, *, removable: bool = False) -> Mapping[str, str | None]:
    """Return the attributes that a document is to have.

    :param removable: accept ``None`` as a value; it removes the attribute
    :raises ViValidationError: an attribute is not text
    """
    if not isinstance(attributes, Mapping):
        given = f"{type(attributes).__name__} given: {attributes!r:.80}"
        raise ViValidationError(f"attributes: an object of strings expected, {given}")
    for key, value in attributes.items():
        if not isinstance(key, str) or not (isinstance(value, str) or (value is None and removable)):
            hint = f"; write {str(value)!r:.80}" if isinstance(value, int | float) else ""
            raise ViValidationError(f"attributes[{key!r:.80}]: text expected, {type(value).__name__} given{hint}")
    return attributes


def describe_errors(error: ValidationError, json_path: str = "") -> str:
    """Name the JSON path of each error, of the first three."""
    found = []
    for item in error.errors(include_url=False, include_context=False, include_input=False)[:3]:
        path = json_path
        for part in item["loc"]:
            path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
        found.append(one_line(f"{path or 'document'}: {item['msg'].removeprefix('Value error, ')}"))
    more = error.error_count() - len(found)
    return "; ".join(found) + (f"; and {more} more" if more else "")
