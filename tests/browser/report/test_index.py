"""The page over the exports of a folder, in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.unit.audit.support import export, flow
from vi_airflow_provider.audit.report.index import write_index


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_index_fits_a_phone_and_draws_the_trend(scheme: Any, page: Page, tmp_path: Path) -> None:
    for day in range(1, 31):
        flows = [flow(f"{n:04}", spec__name=f"{day // 3}") for n in range(1000 + day % 4)] if day > 28 else [flow("a")]
        facts: dict[str, Any] = {"organization_id": "o" * 80, "filters": {"name_pattern": "<b>" * 30}}
        export(str(tmp_path / f"2026-07-{day:02}.jsonl"), flows, created_at=f"2026-07-{day:02}T02:00:00+00:00", **facts)
    (tmp_path / f"{'x' * 150}.manifest.json").write_text("{")
    index, _ = write_index(str(tmp_path))
    page.set_viewport_size({"width": 390, "height": 900})
    page.emulate_media(color_scheme=scheme)
    page.goto(Path(index.path).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    heights = page.evaluate("[...document.querySelectorAll('.files a')].map((link) => link.offsetHeight)")
    assert max(heights) < 30  # no word is broken
    assert page.evaluate("document.querySelectorAll('.trend circle').length") == 30
    # The size and the colors come from the style, which the policy of the page allows.
    bars = page.evaluate(
        "[...document.querySelectorAll('.trend rect')].map((bar) => [...['x', 'right'].map("
        "(side) => bar.getBoundingClientRect()[side])])"
    )
    assert len({left for left, _ in bars}) == 2  # the last two nights
    assert all(330 < left < right - 1 < 390 for left, right in bars)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 24, 29)"}[scheme]
    page.locator(".files a").first.click()
    page.wait_for_url("**/2026-07-30.jsonl")
