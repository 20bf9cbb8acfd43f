"""The score of mutation tests: which survivors count, and how the page is rendered."""

from __future__ import annotations

import pytest

from tests.mutants import page
from tests.mutants.score import Survivor, function_of, score

DIFF = """\
--- vi_airflow_provider/selection/filter.py
+++ vi_airflow_provider/selection/filter.py
@@ -1,3 +1,3 @@
     for flow in flows:
-        if flow.age < limit:
+        if flow.age <= limit:
             yield flow"""
BOUND = Survivor("selection.filter.select", "if flow.age < limit:", "if flow.age <= limit:")
TEXT = Survivor("selection.filter.select", 'raise ValueError("it is negative")', "raise ValueError(None)")


def test_survivor_is_read_from_a_diff() -> None:
    assert Survivor.of("selection.filter.x_select__mutmut_3", DIFF) == BOUND


@pytest.mark.parametrize(
    ("mutant", "function"),
    [
        ("a.b.x_call__mutmut_12", "a.b.call"),
        ("a.b.x__private__mutmut_1", "a.b._private"),
        ("a.b.xǁGateǁbuild__mutmut_2", "a.b.Gate.build"),
        ("a.b.xǁGateǁ__init____mutmut_2", "a.b.Gate.__init__"),
    ],
)
def test_function_is_read_from_the_name_of_a_mutant(mutant: str, function: str) -> None:
    assert function_of(mutant) == function


@pytest.mark.parametrize(
    ("before", "after", "only_wording"),
    [
        ('raise ValueError("it is negative")', 'raise ValueError("XXit is negativeXX")', True),
        ('raise ValueError("it is negative")', "raise ValueError(None)", True),
        ('kept.get("name", 0)', 'kept.get("XXnameXX", 0)', False),
        ('log("as it was", n + 1)', 'log("as it was", n - 1)', False),
    ],
)
def test_change_of_a_message_is_no_change_of_a_decision(before: str, after: str, only_wording: bool) -> None:
    assert Survivor("f", before, after).only_wording is only_wording


def test_survivor_without_a_reason_lowers_the_score() -> None:
    statuses = dict.fromkeys("abc", "killed") | {"d": "survived", "e": "survived", "f": "timeout"}

    found = score(statuses, [BOUND, TEXT], {})

    assert (found.total, found.killed, found.wording, found.open) == (6, 4, 1, (BOUND,))
    assert found.rate == 4 / 5
    assert score(statuses, [BOUND, TEXT], {BOUND: "there are no ties"}).rate == 1


def test_page_is_rendered_from_the_stored_scores() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.render(page.load_scores())


def test_each_reason_is_a_sentence_about_one_survivor() -> None:
    assert all(reason for reason in page.load_reasons().values())
