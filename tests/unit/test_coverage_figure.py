"""The sentence about coverage in the README, which ``make coverage`` replaces."""

from __future__ import annotations

import pytest

from tests.coverage_figure import BEGIN, END, README, page_with, rendered

SENTENCE = rendered(98.76, "2026-01-31")


def test_figure_is_rounded_and_dated() -> None:
    assert "2026-01-31: 98.8 % of statements and branches" in SENTENCE


def test_readme_has_a_place_for_the_figure() -> None:
    page = README.read_text(encoding="utf-8")

    written = page_with(SENTENCE, page)

    assert written.count(SENTENCE) == 1
    assert page_with(page.partition(BEGIN)[2].partition(END)[0], written) == page


def test_page_without_markers_is_an_error() -> None:
    with pytest.raises(ValueError, match="must contain the markers"):
        page_with(SENTENCE, "# A page")
