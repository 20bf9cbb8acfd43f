"""How names, attributes and ages are compared, wherever flows are selected or protected.

Texts are compared in Unicode's composed form (NFC): "ü" is one character or two, depending on who typed it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from unicodedata import normalize

from vi_airflow_provider.selection.arguments import milliseconds

if TYPE_CHECKING:
    from collections.abc import Mapping


def name_matches(pattern: str, name: str) -> bool:
    """Return whether a name matches a glob, case-sensitively; a name always matches itself, brackets included."""
    pattern, name = normalize("NFC", pattern), normalize("NFC", name)
    return name == pattern or fnmatchcase(name, pattern)


def attributes_match(wanted: Mapping[str, str], attributes: Mapping[str, str]) -> bool:
    """Return whether all wanted attributes are there with their values."""
    if wanted.items() <= attributes.items():
        return True
    return _composed(wanted).items() <= _composed(attributes).items()


def latest_time(now: datetime, age: timedelta) -> int:
    """Return the latest wire time that is at least ``age`` ago, as an integer: it may be before the year 1."""
    return milliseconds(now) - age // timedelta(milliseconds=1)


def _composed(attributes: Mapping[str, str]) -> dict[str, str]:
    return {normalize("NFC", key): normalize("NFC", value) for key, value in attributes.items()}
