"""How names, attributes and ages are compared, wherever flows are selected or protected.

Texts are compared in Unicode's composed form (NFC): "ü" is one character or two, depending on who typed it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final
from unicodedata import normalize

from vi_airflow_provider.selection.arguments import milliseconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vi_airflow_provider.api.models import Flow, Run

#: The earliest wire time that is taken for a time. Since 2001, milliseconds have had thirteen digits; a smaller number
#: is a placeholder like 0, or counts seconds.
EARLIEST: Final = 1_000_000_000_000
#: Milliseconds that the server's clock may be ahead of this machine's.
_CLOCK_SKEW: Final = 86_400_000


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


def age_is_known(document: Flow | Run, now: datetime) -> bool:
    """Return whether the times of a document make sense; one is not old because its times are missing."""
    created, updated = document.metadata.time_created, document.metadata.last_updated
    return EARLIEST <= created <= updated <= milliseconds(now) + _CLOCK_SKEW


def _composed(attributes: Mapping[str, str]) -> dict[str, str]:
    return {normalize("NFC", key): normalize("NFC", value) for key, value in attributes.items()}
