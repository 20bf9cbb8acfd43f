"""The page on reliability shows what was measured, and nothing that a hand has written."""

from __future__ import annotations

from tests.reliability import page as reliability


def test_the_page_shows_the_figures_of_the_last_runs():
    page = reliability.PAGE.read_text()
    assert reliability.render(page) == page, "run `python -m tests.reliability.page`"
