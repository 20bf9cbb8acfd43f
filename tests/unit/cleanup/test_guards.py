"""Guards as a pure function: which numbers and rules refuse a plan, and in which words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.cleanup.guards import Guards

COUNTS = st.integers(0, 1000)


def guards(max_delete: Any = 50, max_delete_fraction: Any = 0.5, protect_unmatched: Any = "warn") -> Guards:
    return Guards.build(max_delete, max_delete_fraction, protect_unmatched)


@pytest.mark.parametrize(
    ("limits", "selected", "total", "refusal"),
    [
        ({}, 0, 0, None),
        ({}, 50, 100, None),
        ({}, 51, 1000, "51 of 1000 flows are selected, more than max_delete (50)."),
        ({}, 51, None, "51 flows are selected, more than max_delete (50)."),
        ({}, 50, None, None),
        ({"max_delete": 0}, 0, 10, None),
        ({"max_delete": 0}, 1, 10, "1 of 10 flows are selected, more than max_delete (0)."),
        ({}, 6, 11, "6 of 11 flows are selected, a larger fraction than max_delete_fraction (0.5) allows."),
        ({}, 5, 10, None),
        ({"max_delete_fraction": 0.29}, 29, 100, None),
        ({"max_delete_fraction": "0.29"}, 29, 100, None),
        ({"max_delete_fraction": "29/100"}, 29, 100, None),
        ({"max_delete_fraction": 0}, 0, 0, None),
        ({"max_delete_fraction": 1}, 10, 10, None),
        ({"max_delete": "3"}, 4, 100, "4 of 100 flows are selected, more than max_delete (3)."),
    ],
)
def test_plan_is_refused_above_a_limit(
    limits: dict[str, Any], selected: int, total: int | None, refusal: str | None
) -> None:
    assert guards(**limits).refusal(selected, total) == refusal


@given(COUNTS, COUNTS, COUNTS)
def test_more_selected_flows_are_never_accepted_where_fewer_are_refused(selected: int, more: int, total: int) -> None:
    if guards().refusal(selected, total):
        assert guards().refusal(selected + more, total)


def test_unmatched_rule_refuses_a_plan_only_if_asked_to() -> None:
    unmatched = ["protect_names: prod-*", "protect_ids: a"]
    assert guards().refusal(1, 10, unmatched) is None
    strict = guards(protect_unmatched="fail")
    assert strict.refusal(1, 10) is None
    assert strict.refusal(1, 10, unmatched) == (
        "2 rules match no flow (protect_names: prod-*), and protect_unmatched is 'fail'."
    )


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_delete": None}, "max_delete: None is not a whole number"),
        ({"max_delete": -1}, "max_delete: -1"),
        ({"max_delete": True}, "max_delete: True"),
        ({"max_delete_fraction": 1.01}, "max_delete_fraction: 1.01 is not a number from 0 to 1"),
        ({"max_delete_fraction": -0.1}, "max_delete_fraction: -0.1"),
        ({"max_delete_fraction": "1/0"}, "max_delete_fraction: '1/0'"),
        ({"max_delete_fraction": float("nan")}, "max_delete_fraction: nan"),
        ({"max_delete_fraction": float("inf")}, "max_delete_fraction: inf"),
        ({"max_delete_fraction": None}, "max_delete_fraction: None"),
        ({"protect_unmatched": "ignore"}, "protect_unmatched: 'ignore' is not one of 'warn', 'fail'"),
        ({"protect_unmatched": None}, "protect_unmatched: None"),
    ],
)
def test_unusable_limit_is_refused_by_its_name(limits: dict[str, Any], words: str) -> None:
    with pytest.raises(ViValidationError, match=words):
        guards(**limits)
