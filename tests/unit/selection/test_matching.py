"""Names and attributes are equal in any Unicode form, and every name matches itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.documents import wire_flow
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.selection.matching import age_is_known, attributes_match, latest_time, name_matches

COMPOSED, DECOMPOSED = normalize("NFC", "Prüfung"), normalize("NFD", "Prüfung")


@given(st.text())
def test_a_name_matches_itself(name: str) -> None:
    assert name_matches(name, name)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("weld [v2]", "weld [v2]", True),
        ("weld [v2]", "weld v", True),
        ("weld [v2]", "weld [v3]", False),
        ("weld [[]v2]", "weld [v2]", True),
        ("weld [", "weld [", True),
        (COMPOSED, DECOMPOSED, True),
        (DECOMPOSED, COMPOSED, True),
        (f"{DECOMPOSED[:4]}*", COMPOSED, True),
        ("Pr?fung", DECOMPOSED, True),
        ("prüfung", COMPOSED, False),
    ],
)
def test_a_pattern_is_a_glob_or_the_exact_name(pattern: str, name: str, matches: bool) -> None:
    assert name_matches(pattern, name) is matches


def test_attributes_match_in_any_unicode_form() -> None:
    assert attributes_match({COMPOSED: DECOMPOSED}, {DECOMPOSED: COMPOSED, "other": ""})
    assert not attributes_match({COMPOSED: "a"}, {DECOMPOSED: "b"})
    assert attributes_match({COMPOSED: "a"}, {DECOMPOSED: "a"})
    assert attributes_match({}, {"a": "b"})
    assert attributes_match({"a": "b"}, {"a": "b"})


# --- times -----------------------------------------------------------------------------------------------------------

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
NOW_MS = 1_782_907_200_000
#: The first millisecond of 13 digits, in September 2001.
FIRST = 1_000_000_000_000
DAY = 86_400_000


@pytest.mark.parametrize(
    ("created", "updated", "known"),
    [
        (FIRST, FIRST, True),
        (FIRST - 1, FIRST, False),
        (NOW_MS, NOW_MS, True),
        (NOW_MS, NOW_MS - 1, False),
        (NOW_MS, NOW_MS + DAY, True),
        (NOW_MS, NOW_MS + DAY + 1, False),
        (0, 0, False),
        (NOW_MS // 1000, NOW_MS // 1000, False),
    ],
    ids=[
        "the first time",
        "before it",
        "just created",
        "updated before it was created",
        "a clock that is a day ahead",
        "a clock that is further ahead",
        "a placeholder",
        "seconds",
    ],
)
def test_an_age_is_known_only_from_plausible_times(created: int, updated: int, known: bool) -> None:
    flow = Flow.model_validate(wire_flow(metadata__timeCreated=created, metadata__lastUpdated=updated))
    assert age_is_known(flow, NOW) is known


def test_an_age_may_reach_back_before_the_year_one() -> None:
    assert latest_time(NOW, timedelta(days=90)) == NOW_MS - 90 * DAY
    assert latest_time(NOW, timedelta.max) < 0
    assert type(latest_time(NOW, timedelta(microseconds=1))) is int
    assert latest_time(NOW, timedelta(microseconds=1999)) == NOW_MS - 1
