"""Which keys the head covers: the counters and the order of checks, after any sequence of calls."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from vi_airflow_provider.gates.coverage import Coverage

#: Keys in capitals can only be found in the listing.
KEYS: Final = "abcABC"
CALLS: Final = ("subscribe", "unsubscribe", "cover", "uncover", "uncover_all")


@given(st.lists(st.tuples(st.sampled_from(CALLS), st.sampled_from(KEYS))))
def test_counters_agree_with_the_keys(calls: list[tuple[str, str]]) -> None:
    coverage: Coverage[str] = Coverage(str.isupper)
    subscribers: list[str] = []
    checked: list[str] = []
    for name, key in calls:
        if name == "unsubscribe" and key not in subscribers:
            continue
        arguments: Any = () if name == "uncover_all" else (key,)
        last = getattr(coverage, name)(*arguments)
        if name == "subscribe":
            subscribers.append(key)
        elif name == "unsubscribe":
            subscribers.remove(key)
            assert last is (key not in subscribers)
        checked = _checked(name, key, checked, subscribers)
        assert list(coverage.covered) == coverage.longest_unchecked(9) == checked
        assert {*coverage.open} == {*subscribers} - {*checked}
        assert coverage.covered_for_listing == sum(map(str.isupper, coverage.covered))
        assert coverage.open_for_listing == sum(map(str.isupper, coverage.open))
        assert len(coverage) == len({*subscribers})
        assert [each in coverage for each in KEYS] == [each in subscribers for each in KEYS]


def _checked(name: str, key: str, before: list[str], subscribers: list[str]) -> list[str]:
    """Return the covered keys after a call, the one that was checked the longest time ago first."""
    if name == "uncover_all":
        return []
    if name == "cover" and key in subscribers:
        return [*(each for each in before if each != key), key]
    if name == "uncover":
        return [each for each in before if each != key]
    return [each for each in before if each in subscribers]


def test_as_many_keys_are_checked_as_requested() -> None:
    coverage: Coverage[str] = Coverage(str.isupper)
    for key in KEYS:
        coverage.subscribe(key)
        coverage.cover(key)
    assert coverage.longest_unchecked(2) == ["a", "b"]
