"""The measured sections of the reliability page are generated from the stored figures."""

from __future__ import annotations

from tests.reliability import page as reliability


def test_page_contains_the_figures_of_the_latest_runs() -> None:
    page = reliability.PAGE.read_text()
    assert reliability.render(page) == page, "run `python -m tests.reliability.page`"
