"""The page over the exports of a folder, in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.audit.browser import Tab, needs_chromium
from tests.unit.audit.support import export, flow
from vi_airflow_provider.audit.report.index import write_index

pytestmark = needs_chromium


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_index_fits_a_phone_and_draws_the_trend(scheme: str, tab: Tab, tmp_path: Path) -> None:
    for day in range(1, 31):
        flows = [flow(f"{n:04}", spec__name=f"{day // 3}") for n in range(1000 + day % 4)] if day > 28 else [flow("a")]
        facts: dict[str, Any] = {"organization_id": "o" * 80, "filters": {"name_pattern": "<b>" * 30}}
        export(str(tmp_path / f"2026-07-{day:02}.jsonl"), flows, created_at=f"2026-07-{day:02}T02:00:00+00:00", **facts)
    (tmp_path / f"{'x' * 150}.manifest.json").write_text("{")
    page, _ = write_index(str(tmp_path))
    await tab.call("Emulation.setDeviceMetricsOverride", width=390, height=900, deviceScaleFactor=1, mobile=False)
    await tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    await tab.open(Path(page.path).as_uri())
    assert await tab.evaluate("document.documentElement.scrollWidth") <= 390
    heights = await tab.evaluate("[...document.querySelectorAll('.files a')].map((link) => link.offsetHeight)")
    assert max(heights) < 30  # no word is broken
    assert await tab.evaluate("document.querySelectorAll('.trend circle').length") == 30
    # The size and the colors come from the style, which the policy of the page allows.
    bars = await tab.evaluate(
        "[...document.querySelectorAll('.trend rect')].map((bar) => [...['x', 'right'].map("
        "(side) => bar.getBoundingClientRect()[side])])"
    )
    assert len({left for left, _ in bars}) == 2  # the last two nights
    assert all(330 < left < right - 1 < 390 for left, right in bars)
    ground = await tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 24, 29)"}[scheme]
    await tab.evaluate("document.querySelector('.files a').click()")
    await tab.until("location.pathname.endsWith('/2026-07-30.jsonl')")
    assert tab.events_of("Log.entryAdded", "Runtime.exceptionThrown") == []
