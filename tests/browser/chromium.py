"""Chromium of this machine, and the reason why tests without one are skipped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM: Final = os.environ.get("CHROMIUM") or shutil.which("chromium")
#: Set where a browser is installed, so that no test can be skipped by mistake.
REQUIRED: Final = os.environ.get("BROWSER_TESTS") == "required"
FLAGS: Final = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
#: Milliseconds; on a busy machine, Airflow's UI takes seconds to load.
PATIENCE: Final = 60_000


def require() -> None:
    """Skip a test without a browser, unless one is required."""
    if CHROMIUM is None:
        if REQUIRED:
            pytest.fail("BROWSER_TESTS=required, but chromium is not on the PATH", pytrace=False)
        pytest.skip("needs chromium on the PATH, or its path in CHROMIUM")


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        yield started
        started.close()


class Watched:
    """A window, and what went wrong in it: exceptions and errors in its console.

    :param expected: texts of console errors that a test provokes
    """

    def __init__(self, context: BrowserContext) -> None:
        context.set_default_timeout(PATIENCE)
        self.page: Page = context.new_page()
        self.expected: list[str] = []
        self.wrong: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", self._note)

    def _note(self, message: Any) -> None:
        if message.type == "error":
            self.wrong.append(f"{message.text} ({message.location.get('url', '')})")

    def check(self) -> None:
        """Fail if anything unexpected went wrong."""
        unexpected = [text for text in self.wrong if not any(part in text for part in self.expected)]
        assert unexpected == []
