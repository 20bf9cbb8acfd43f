"""A diff that is stored on disk equals one in memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.audit.support import flow
from vi_airflow_provider.audit.diff import Ref, diff_exports
from vi_airflow_provider.audit.stored_diff import spooled_diff
from vi_airflow_provider.audit.subject import FLOWS

EXPORTS = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["x", "größer", '"\n\x00', "\ud800"]))


@given(old=EXPORTS, new=EXPORTS)
def test_stored_diff_equals_the_one_in_memory(old: dict[str, str], new: dict[str, str]) -> None:
    before, after = ([flow(each, spec__schema=name) for each, name in sorted(side.items())] for side in (old, new))
    expected = diff_exports(before, after)
    with spooled_diff(before, after, FLOWS) as diff:
        for _ in range(2):  # it can be read again
            assert diff.as_json() == expected.as_json()
            assert list(diff.lines()) == list(expected.lines())
        for kind in ("added", "removed", "changed"):
            assert len(getattr(diff, kind)) == len(getattr(expected, kind))
            assert list(getattr(diff, kind)) == getattr(expected, kind)
        assert bool(diff) == bool(expected)


def test_stored_diff_can_be_read_concurrently() -> None:
    with spooled_diff([], [flow("a"), flow("b")], FLOWS) as diff:
        assert [(one.id, other.id) for one in diff.added for other in diff.added] == [
            ("a", "a"), ("a", "b"), ("b", "a"), ("b", "b"),
        ]  # fmt: skip
        assert Ref("a", "another name") not in diff.added
        assert next(iter(diff.added)) in diff.added


def test_stored_diff_refuses_unsorted_exports() -> None:
    with pytest.raises(ValueError, match="not sorted by id"), spooled_diff([flow("b"), flow("a")], [], FLOWS):
        pass
