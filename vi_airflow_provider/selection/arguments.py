"""Checks of the arguments that a DAG author writes, in each form in which Airflow passes them to a task.

A value arrives as it was written, as the text or the native object that a template rendered to, as an XCom, or as a
subclass or proxy of the expected type: Airflow's own times are pendulum's. Every check accepts these forms, returns
the plain type of the standard library, and refuses anything else by the argument's name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from difflib import get_close_matches
from fractions import Fraction
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BeforeValidator, TypeAdapter, ValidationError

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.validation import checked_id, describe_errors

T = TypeVar("T")

_TIMEDELTA_TEXT: Final = re.compile(r"(?:(\d{1,8}) days?(?:, (?=\d)|$))?(?:(\d\d?):(\d\d):(\d\d(?:\.\d+)?))?")
#: More digits than any count needs; Python refuses to convert a text of thousands of them.
_MAX_DIGITS: Final = 18

#: A power of ten that takes ``Fraction`` long to compute, up to hours.
_LARGE_EXPONENT: Final = re.compile(r"e[+-]?[\d_]{4}", re.IGNORECASE)
_RENDERED_NONE: Final = "'None' is given, or the template rendered to None"
_QUOTE: Final = "in a DAG that renders templates as native objects, quote the template: \"'{{ … }}'\""


def _plain(value: Any) -> Any:
    """Return what a lazy proxy stands for; Airflow passes some times of a DAG run as such."""
    return value if type(value) is value.__class__ else getattr(value, "__wrapped__", value)


def _duration(value: Any) -> Any:
    """Accept a timedelta, its text, or an ISO 8601 duration; a bare number could be days or seconds."""
    value = _plain(value)
    if isinstance(value, str):
        if value and (match := _TIMEDELTA_TEXT.fullmatch(value)):
            days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
            return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if value.startswith("P"):
            with suppress(ValidationError):
                return _ISO_8601.validate_python(value)
    elif isinstance(value, timedelta):
        return timedelta.__pos__(value)  # a plain one: the arithmetic of pendulum's subclasses differs
    if isinstance(value, str):
        digits = value.removeprefix("P")
        example = f"'P{digits:.20}D', if days are meant" if digits.isdecimal() else "'P90D' for 90 days"
    elif isinstance(value, int | float) and not isinstance(value, bool):
        example = f"timedelta(days={value!r:.20}), if days are meant"
    else:
        example = "'P90D' or timedelta(days=90)"
    raise ValueError(f"{value!r:.80} is not a timedelta or an ISO 8601 duration; write {example}")


def _not_negative(value: timedelta) -> timedelta:
    if value < timedelta(0):
        raise ValueError("it is negative")
    return value


def _instant(value: Any) -> datetime:
    value = _plain(value)
    given = value
    if isinstance(value, str):
        value = _parsed(value)
    if not isinstance(value, datetime):
        raise ValueError(f"{given!r:.80} is not a datetime or an ISO 8601 time; write '2026-01-31T00:00:00+00:00'")
    if value.utcoffset() is None:
        raise ValueError(f"{str(given)!r:.80} has no time zone; write '{value:%Y-%m-%dT%H:%M:%S}+00:00' for UTC")
    date, time = (value.year, value.month, value.day), (value.hour, value.minute, value.second, value.microsecond)
    return datetime(*date, *time, tzinfo=value.tzinfo, fold=value.fold)


def _parsed(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _text(value: Any) -> str:
    """Accept a text, but neither an empty one nor "None": a template that rendered to nothing must not match."""
    value = _plain(value)
    if not isinstance(value, str):
        hint = f"; {_QUOTE}" if isinstance(value, int | float) else ""
        raise ValueError(f"{value!r:.80} is not text{hint}")
    if value == "None":
        raise ValueError(_RENDERED_NONE)
    if not value:
        raise ValueError("'' is empty; a template may have rendered to nothing")
    return value


def _attribute_value(value: Any) -> str:
    value = _plain(value)
    if not isinstance(value, str):
        text = str(value).lower() if isinstance(value, bool) else str(value)  # "True" is refused in some places
        raise ValueError(f"{value!r:.80} is not text; write {text!r:.80}")
    if value == "None":
        raise ValueError(_RENDERED_NONE)
    return value


def _items(value: Any) -> Any:
    """Read any sequence, such as the results of a mapped task, which Airflow hands out one by one."""
    value = _plain(value)
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else value


_ISO_8601: Final = TypeAdapter(timedelta)
Duration = Annotated[timedelta, BeforeValidator(_duration), AfterValidator(_not_negative)]
_SPAN: Final = TypeAdapter(Duration)
Instant = Annotated[datetime, BeforeValidator(_instant)]
_TIME: Final = TypeAdapter(Instant)
Text = Annotated[str, BeforeValidator(_text)]
#: In front of a collection type: its argument may be any sequence.
Items: Final = BeforeValidator(_items)
#: The value of an attribute to compare with; unlike a name, it may be empty.
AttributeValue = Annotated[str, BeforeValidator(_attribute_value)]


#: What other spellings of true and false mean.
_MEANT: Final = {"yes": True, "on": True, "1": True, "y": True, "no": False, "off": False, "0": False, "n": False}


def duration(name: str, value: Any) -> timedelta:
    """Return an argument that is a time span with a unit."""
    return validated(_SPAN, name, value)


def instant(name: str, value: Any) -> datetime:
    """Return an argument that is a time with a time zone."""
    return validated(_TIME, name, value)


def validated(kind: TypeAdapter[T], name: str, value: Any) -> T:
    """Return an argument of this type."""
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        reason = describe_errors(error, name)
    raise ViValidationError(reason)


def choice(name: str, value: Any, allowed: Collection[str]) -> str:
    """Return an argument that takes one of a few values."""
    if isinstance(value, str) and value in allowed:
        return value
    raise _refused(name, value, one_of(value, allowed))


def one_of(value: Any, allowed: Collection[str]) -> str:
    """Describe the few values that were expected instead of this one."""
    close = get_close_matches(value, allowed, 1) if isinstance(value, str) else []
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"one of {', '.join(map(repr, allowed))}{hint}"


def boolean(name: str, value: Any) -> bool:
    """Return an argument that is true or false."""
    value = _plain(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    known = _MEANT.get(str(value).lower())
    raise _refused(name, value, "true or false" if known is None else f"true or false; write {known}")


def flag(name: str, value: Any) -> bool:
    """Return an argument that is true or false and cannot be a template."""
    if isinstance(value, bool):
        return value
    raise _refused(name, value, "True or False")


def optional_count(name: str, value: Any, low: int = 0) -> int | None:
    """Return an argument that is a whole number of at least ``low``, or absent."""
    given = value
    value = _plain(value)
    if isinstance(value, str) and value.isdecimal() and len(value) <= _MAX_DIGITS:
        value = int(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= low):
        return value
    raise _refused(name, given, _whole_number(low))


def count(name: str, value: Any, low: int = 0) -> int:
    """Return an argument that is a whole number of at least ``low``."""
    number = optional_count(name, value, low)
    if number is None:
        raise _refused(name, value, _whole_number(low))
    return number


def _whole_number(low: int) -> str:
    return f"a whole number of at least {low}"


def optional_seconds(name: str, value: Any) -> float | None:
    """Return an argument that is a time span or absent, in seconds: a number of them, a timedelta or its text."""
    value = _plain(value)
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch(r"\d{1,12}(\.\d{1,9})?", value, re.ASCII):
        value = float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if 0 <= value < 1e12:  # NaN is neither
            return float(value)
        raise _refused(name, value, "a time span")
    try:
        return _SPAN.validate_python(value).total_seconds()
    except ValidationError:
        reason = f"{name}: {value!r:.80} is not a number of seconds, a timedelta or an ISO 8601 duration like PT1H"
    raise ViValidationError(reason)


def seconds(name: str, value: Any) -> float:
    """Return an argument that is a time span, in seconds."""
    span = optional_seconds(name, value)
    if span is None:
        raise _refused(name, value, "a time span; 0 is one")
    return span


def interval(name: str, value: Any) -> float:
    """Return an argument that is a time span longer than 0, in seconds."""
    span = seconds(name, value)
    if not span:
        raise _refused(name, value, "longer than 0; write 60 or timedelta(minutes=1)")
    return span


def fraction(name: str, value: Any) -> Fraction:
    """Return an argument from 0 to 1 exactly as it was written: in floats, 29 is more than 0.29 of 100."""
    value = _plain(value)
    try:
        number = Fraction(-1 if _LARGE_EXPONENT.search(str(value)) else str(value))
    except (ValueError, ZeroDivisionError):
        number = Fraction(-1)
    if not 0 <= number <= 1:
        percent = 1 < number <= 100 or str(value).endswith("%")
        raise _refused(name, value, f"a number from 0 to 1{'; write 0.5 for 50 %' if percent else ''}")
    return number


def optional_text(name: str, value: Any) -> str | None:
    """Return an argument that is a text or absent."""
    value = _plain(value)
    return None if value is None else text(name, value)


def text(name: str, value: Any) -> str:
    """Return an argument that is a text, and not empty."""
    try:
        return _text(value)
    except ValueError as error:
        reason = f"{name}: {error}"
    raise ViValidationError(reason)


def checked_flow_id(value: Any) -> str:
    """Return the argument ``flow_id``."""
    return identifier("flow_id", value)


def identifier(name: str, value: Any) -> str:
    """Return an argument that is the id of a flow or a run.

    "None" is a valid id, but a delete would report a flow of this id as absent already, and no one would notice.
    """
    value = _plain(value)
    if value == "None":
        raise ViValidationError(f"{name}: {_RENDERED_NONE}")
    if isinstance(value, int | float):
        raise ViValidationError(f"{name}: {value!r:.80} is a number, not text; write {str(value)!r:.80}, or {_QUOTE}")
    return checked_id(value, name.replace("_", " "))


def _refused(name: str, value: Any, expected: str) -> ViValidationError:
    return ViValidationError(f"{name}: {value!r:.80} is not {expected}")


def milliseconds(time: datetime) -> int:
    """Return a time as the API writes it: milliseconds since the epoch."""
    return round(time.timestamp() * 1000)
