"""Windows in which a report is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.chromium import Watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture
def window(browser: Browser) -> Iterator[Watched]:
    """A window of its own; at its end, anything that it has logged fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    watched = Watched(context)
    yield watched
    context.close()
    watched.check()


@pytest.fixture
def page(window: Watched) -> Page:
    """The page in the window."""
    return window.page
