"""Checks of the values that go into a request, and the description of what is wrong with a document."""

from __future__ import annotations

import re
from typing import Final

from pydantic import ValidationError

from vi_airflow_provider.api.errors import ViValidationError, one_line

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,255}")


def checked_id(value: object, what: str = "flow id") -> str:
    """Return ``value`` if it can be an id (VI_API.md section 2).

    :raises ViValidationError: it cannot; with ``/`` or ``..`` it would address something else
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ViValidationError(
            f"{value!r:.80} is no {what}: it arrived as a number; in a DAG with render_template_as_native_obj, keep it "
            "text with quotes around the template: \"'{{ … }}'\""
        )
    # fullmatch, because `$` would accept a trailing newline
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ViValidationError(
            f"{value!r:.80} is no {what}: letters, digits, '-' and '_' are allowed, 1 to 255 of them"
        )
    return value


def checked_count(value: object, name: str, low: int) -> int:
    """Return ``value`` if it is a whole number of at least ``low``; :class:`ViValidationError` otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ViValidationError(f"{name}: {value!r:.80} is not a whole number of at least {low}")
    return value


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
