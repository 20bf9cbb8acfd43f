"""Checks shared by the rules that users write: faults and a colleague's edits."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# The server computes these from what it sends; to cut a body short, use the effect `Truncate`.
_FRAMING_HEADERS = frozenset({"content-length", "transfer-encoding"})


class RuleError(ValueError):
    """An invalid rule; the message names the field."""


def check_known(what: str, given: Collection[str], known: Collection[str]) -> None:
    """Refuse field names that do not exist."""
    if unknown := sorted(set(given) - set(known)):
        raise RuleError(f"unknown {what} field {unknown[0]!r}; choose from {', '.join(sorted(known))}")


def check_text(name: str, value: object) -> None:
    """Refuse anything but a string or None."""
    if not isinstance(value, str | None):
        raise RuleError(f"{name} must be a string")


def check_flag(name: str, value: object) -> None:
    """Refuse anything but a boolean."""
    if not isinstance(value, bool):
        raise RuleError(f"{name} must be true or false")


def check_integer(name: str, value: object, low: int | None = None, *, note: str = "") -> None:
    """Refuse anything but an integer, or one below `low`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise RuleError(f"{name} must be an integer")
    if low is not None and value < low:
        raise RuleError(f"{name} must be {'zero' if low == 0 else low} or more{note}")


def check_milliseconds(name: str, value: object) -> None:
    """Refuse anything but a finite number of zero or more."""
    check_number(name, value)
    if not (math.isfinite(value) and value >= 0):  # type: ignore[arg-type, operator]  # a number, just checked
        raise RuleError(f"{name} must be zero or more")


def check_number(name: str, value: object) -> None:
    """Refuse anything but an integer or a float."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise RuleError(f"{name} must be a number")


def check_headers(headers: Mapping[str, Any]) -> None:
    """Refuse header names and values that cannot be sent; a value of None means that there is no such header."""
    for name, value in headers.items():
        if not isinstance(name, str) or not _TOKEN.fullmatch(name) or name.lower() in _FRAMING_HEADERS:
            raise RuleError(f"headers must not contain {name!r}")
        if value is not None and not (isinstance(value, str) and _HEADER_VALUE.fullmatch(value)):
            raise RuleError(f"{name} must be a header value: latin-1 without control characters")
