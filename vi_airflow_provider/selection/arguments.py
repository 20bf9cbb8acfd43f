"""Checks of the arguments that a DAG author writes, also as the text that a template makes of them."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, StringConstraints

from vi_airflow_provider.api.errors import ViValidationError

_TIMEDELTA_TEXT = re.compile(r"(?:(\d{1,8}) days?(?:, (?=\d)|$))?(?:(\d\d?):(\d\d):(\d\d(?:\.\d+)?))?")


def _duration(value: Any) -> Any:
    """Accept a timedelta, its text, or an ISO 8601 duration; a bare number could be days or seconds."""
    if isinstance(value, str):
        if value and (match := _TIMEDELTA_TEXT.fullmatch(value)):
            days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
            return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if value.startswith("P"):
            return value
    elif isinstance(value, timedelta):
        return value
    raise ValueError("a timedelta or an ISO 8601 duration like P90D expected")


def _not_negative(value: timedelta) -> timedelta:
    if value < timedelta(0):
        raise ValueError("it is negative")
    return value


def _instant(value: Any) -> datetime:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise ValueError("a datetime or an ISO 8601 time expected")
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError("it has no time zone")
    return value


Duration = Annotated[timedelta, BeforeValidator(_duration), AfterValidator(_not_negative)]
Instant = Annotated[datetime, BeforeValidator(_instant)]
# An empty text is refused: a template that rendered to nothing must not select everything.
Text = Annotated[str, StringConstraints(min_length=1)]


def choice(name: str, value: Any, allowed: Collection[str]) -> str:
    """Return an argument that has one of a few values; it may come from a template."""
    if value in allowed:
        return str(value)
    raise _refused(name, value, f"one of {', '.join(map(repr, allowed))}")


def boolean(name: str, value: Any) -> bool:
    """Return an argument that is true or false, also as the text that a template makes of it."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise _refused(name, value, "true or false")


def optional_count(name: str, value: Any) -> int | None:
    """Return an argument that is a whole number or absent, also as the text that a template makes of it."""
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise _refused(name, value, "a whole number")


def optional_text(name: str, value: Any) -> str | None:
    """Return an argument that is a text or absent; an empty one is a template that rendered to nothing."""
    if value is None or (isinstance(value, str) and value):
        return value
    raise _refused(name, value, "a text that says something")


def _refused(name: str, value: Any, expected: str) -> Exception:
    return ViValidationError(f"{name}: {value!r:.80} is not {expected}")


def milliseconds(time: datetime) -> int:
    """Return a time as the wire has it: milliseconds since the epoch."""
    return round(time.timestamp() * 1000)
