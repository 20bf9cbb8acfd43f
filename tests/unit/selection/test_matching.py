"""Names and attributes are equal in any Unicode form, and every name matches itself."""

from __future__ import annotations

from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vi_airflow_provider.selection.matching import attributes_match, name_matches

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
    assert attributes_match({}, {"a": "b"})
