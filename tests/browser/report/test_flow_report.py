"""The HTML report in a browser: what a reader does with it, and what it must never do."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.chromium import Watched
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.audit.diff import Change, Changed, Diff, Ref, Removed
from vi_airflow_provider.audit.report import ReportFacts, write_report
from vi_airflow_provider.emulator.store.samples import sample_flows

EXPORTED_AT: Final = datetime(2026, 9, 30, 2, 0, tzinfo=UTC)
EXPORTED_MS: Final = int(EXPORTED_AT.timestamp() * 1000)
HOSTILE: Final = '</script><script>owned = true</script><img src=x onerror="owned = true"><!--'
HOSTILE_ID: Final = "hostile"
LONG_ID: Final = "long"


def a_flow(flow_id: str, name: str, blocks: list[dict[str, Any]]) -> dict[str, Any]:
    (document,) = sample_flows(1, flow_id, "acme-vision", EXPORTED_MS)
    document["flowId"] = flow_id
    document["spec"] |= {"name": name, "blocks": blocks}
    return document


def write(path: Path, documents: list[dict[str, Any]], diff: Diff | None) -> str:
    facts = ReportFacts("acme-vision", EXPORTED_AT, len(documents), "0" * 64, "file:///export.jsonl", "before", "1.0.0")
    with path.open("w", encoding="utf-8") as file:
        write_report(file, facts, (Flow.model_validate(document) for document in documents), diff)
    return path.as_uri()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report of 300 flows: more than are rendered at once, one hostile, one of 12 blocks."""
    hostile = a_flow(HOSTILE_ID, HOSTILE, [{"block": HOSTILE, "settings": {HOSTILE: HOSTILE}, "style": {}}])
    hostile["metadata"]["attributes"] = {HOSTILE: HOSTILE}
    steps = [{"block": f"step-{number}", "settings": {"strength": number}, "style": {}} for number in range(12)]
    documents = [hostile, a_flow(LONG_ID, "Twelve steps", steps), *sample_flows(298, 7, "acme-vision", EXPORTED_MS)]
    change = Change("spec.name", f'"{"long " * 60}"', json.dumps(HOSTILE))
    diff = Diff(
        [Ref(LONG_ID, "Twelve steps")], [Removed("gone", HOSTILE, {})], [Changed(HOSTILE_ID, HOSTILE, [change])]
    )
    return write(tmp_path_factory.mktemp("report") / "report.html", documents, diff)


def names(page: Page) -> Locator:
    """The names of the flows in the table."""
    return page.locator("tr.row button bdi")


def status(page: Page) -> Locator:
    """How many flows the table shows."""
    return page.locator(".status")


def pipelines(page: Page) -> Locator:
    """The drawings in opened rows."""
    return page.locator(".detail svg.pipeline")


def test_search_filters_while_typing(page: Page, report: str) -> None:
    page.goto(report)
    expect(status(page)).to_have_text("300 flows")
    page.locator(".search").press_sequentially("WELD owner=giulia")
    expect(status(page)).to_have_text("8 of 300 flows")
    expect(names(page)).to_have_text([re.compile("^Weld")] * 8)
    assert page.evaluate("location.hash") == "#q=WELD+owner%3Dgiulia"


def test_search_without_results_is_announced(page: Page, report: str) -> None:
    page.goto(f"{report}#q=nothing-has-this")
    expect(status(page)).to_have_text("0 of 300 flows")
    expect(names(page)).to_have_count(0)


def test_changed_flows_can_be_searched(page: Page, report: str) -> None:
    page.goto(f"{report}#q=is:added")
    expect(names(page)).to_have_text(["Twelve steps"])


def test_link_opens_the_row_and_draws_the_pipeline(page: Page, report: str) -> None:
    page.goto(f"{report}#q=twelve&expand={LONG_ID}")
    drawing = pipelines(page)
    expect(drawing).to_be_visible()
    expect(names(page)).to_have_text(["Twelve steps"])
    expect(page.locator("tr.row button[aria-expanded=true] bdi")).to_have_text("Twelve steps")
    expect(drawing.locator("rect.box")).to_have_count(12)
    expect(drawing.locator("path.arrow")).to_have_count(11)
    expect(drawing.locator("> desc")).to_have_text(re.compile("^step-0, then step-1, then step-2"))
    assert drawing.locator(".setting").all_text_contents()[:2] == ["strength: 0", "strength: 1"]


def test_changed_flow_links_to_its_row_on_any_page(page: Page, report: str) -> None:
    page.goto(f"{report}#q=weld&sort=updated")
    page.locator(".changed-flow summary a").click()
    expect(status(page)).to_have_text("300 flows")
    expect(page.locator("tr.row button[aria-expanded=true] bdi")).to_have_text(HOSTILE)
    expect(page.locator("tr.row button[aria-expanded=true]")).to_be_focused()


def test_row_is_opened_and_closed_with_the_keyboard(page: Page, report: str) -> None:
    page.goto(report)
    row = page.locator("tr.row button").first
    row.focus()
    for state in ("true", "false"):
        page.keyboard.press("Enter")
        expect(row).to_have_attribute("aria-expanded", state)
        expect(page.locator("tr.detail").first).to_be_visible(visible=state == "true")


def test_row_is_opened_by_a_click_anywhere_but_on_a_link(page: Page, report: str) -> None:
    page.goto(report)
    cell, detail = page.locator("tr.row td.number").first, page.locator("tr.detail").first
    for visible in (True, False):
        cell.click()
        expect(detail).to_be_visible(visible=visible)
    cell.evaluate("(cell) => { cell.append(document.createElement('a')); cell.querySelector('a').click(); }")
    cell.evaluate("(cell) => { getSelection().selectAllChildren(cell); cell.click(); }")
    expect(detail).to_be_hidden()


def test_opened_row_shows_what_has_changed(page: Page, report: str) -> None:
    page.goto(f"{report}#expand={HOSTILE_ID}")
    expect(page.locator(".detail .values .path")).to_have_text(["spec.name"])
    expect(page.locator(".detail .values ins code")).to_have_text([json.dumps(HOSTILE)])


def test_changes_are_offered_as_csv(page: Page, report: str) -> None:
    page.goto(report)
    with page.expect_download() as download:
        page.locator("#download a").click()
    header, *lines = Path(download.value.path()).read_text("utf-8-sig").splitlines()
    assert header == '"change","flow_id","name","path","old","new"'
    assert [line.split(",")[0] for line in lines] == ['"changed"', '"added"', '"removed"']


def test_header_sorts_and_announces_the_order(page: Page, report: str) -> None:
    page.goto(report)
    expect(page.locator("th[data-sort=updated]")).to_have_attribute("aria-sort", "descending")
    header = page.locator("th[data-sort=name]")
    for order in ("ascending", "descending"):
        header.locator("button").click()
        expect(header).to_have_attribute("aria-sort", order)
        expect(page.locator("th[aria-sort$=ending]")).to_have_count(1)
    expect(names(page).first).to_have_text(re.compile("^Weld seam"))


def test_rows_are_added_while_scrolling(page: Page, report: str) -> None:
    page.goto(report)
    rows = page.locator("tr.row")
    assert rows.count() <= 200
    for shown in (200, 300):
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        expect(rows).to_have_count(shown)
    expect(page.locator(".more button")).to_be_hidden()


def test_rows_are_added_as_long_as_the_end_is_in_view(page: Page, report: str) -> None:
    page.goto(report)
    page.evaluate(
        """() => {
            const toTheEnd = () => scrollTo(0, document.body.scrollHeight);
            new MutationObserver(toTheEnd).observe(document.querySelector("tbody"), { childList: true });
            toTheEnd();
        }"""
    )
    expect(page.locator("tr.row")).to_have_count(300)


def test_markup_in_the_data_stays_text(page: Page, report: str) -> None:
    page.goto(f"{report}#expand={HOSTILE_ID}")
    expect(pipelines(page)).to_be_visible()
    assert page.evaluate("typeof owned") == "undefined"
    assert page.evaluate("[document.scripts.length, document.images.length]") == [2, 0]
    expect(page.locator(".changed-flow .name")).to_have_text([HOSTILE] * 2)
    assert HOSTILE in names(page).all_text_contents()
    spec = json.loads(page.locator(".detail pre").text_content() or "")
    assert spec["blocks"][0] == {"block": HOSTILE, "settings": {HOSTILE: HOSTILE}}


def test_page_fetches_nothing_and_logs_no_error(page: Page, report: str) -> None:
    requested: set[str] = set()
    logged: list[str] = []
    page.on("request", lambda request: requested.add(request.url.partition("#")[0]))
    page.on("console", lambda message: logged.append(message.text))
    page.goto(f"{report}#q=a&expand={HOSTILE_ID}&expand={LONG_ID}&theme=dark")
    expect(pipelines(page)).to_have_count(2)
    page.locator("th[data-sort=blocks] button").click()
    page.wait_for_load_state("networkidle")
    assert {report} <= requested <= {report, "data:,"}
    assert logged == []


def test_content_security_policy_blocks_foreign_code(window: Watched, report: str) -> None:
    window.expected = ["Content Security Policy"]
    page = window.page
    page.goto(report)
    page.evaluate("""() => {
        const script = document.createElement("script");
        script.textContent = "owned = true";
        document.body.append(script);
    }""")
    assert page.evaluate("typeof owned") == "undefined"
    assert window.wrong


def test_theme_follows_the_system_and_the_button(page: Page, report: str) -> None:
    page.emulate_media(color_scheme="light")
    page.goto(report)
    ground, button = "getComputedStyle(document.body).backgroundColor", page.locator("#theme")
    light = page.evaluate(ground)
    expect(button).to_have_text("Dark theme")
    page.emulate_media(color_scheme="dark")
    expect(button).to_have_text("Light theme")
    assert page.evaluate(ground) != light
    button.click()
    assert page.evaluate(ground) == light
    assert page.evaluate("location.hash") == "#theme=light"


@pytest.mark.parametrize("width", [360, 400, 768, 1300])
def test_nothing_is_wider_than_the_window(page: Page, report: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{report}#expand={HOSTILE_ID}&expand={LONG_ID}")
    expect(pipelines(page)).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for drawing in pipelines(page).all():
        box = drawing.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= width


def test_long_texts_do_not_fill_the_window(page: Page, tmp_path: Path) -> None:
    long = a_flow("a", "x" * 10_000, [])
    long["metadata"]["attributes"] = {"x" * 1000: "x" * 10_000}
    page.goto(write(tmp_path / "report.html", [long], None))
    box = page.locator("tr.row").bounding_box()
    assert box is not None
    assert box["height"] < 300


def test_summary_and_changes_work_without_javascript(browser: Browser, report: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report)
    seen = page.evaluate("document.body.innerText")  # a locator does not see <noscript>
    for text in ("300", "Removed", "spec.name", HOSTILE, "The table of all flows needs JavaScript."):
        assert text in seen
    expect(page.locator("#explorer")).to_be_hidden()
    context.close()


def test_all_search_results_are_printed(page: Page, report: str) -> None:
    page.goto(report)
    page.pdf()
    assert page.locator("tr.row").count() == 300
    assert page.locator(".changes details:not([open])").count() == 0


def test_five_thousand_flows_stay_responsive(page: Page, tmp_path: Path) -> None:
    page.goto(write(tmp_path / "report.html", list(sample_flows(5000, 7, "acme-vision", EXPORTED_MS)), None))
    expect(status(page)).to_have_text("5,000 flows")
    painted = page.evaluate(
        """new Promise((done) => new PerformanceObserver((list) => {
            const [entry] = list.getEntriesByName('first-contentful-paint');
            if (entry) done(entry.startTime);
        }).observe({ type: 'paint', buffered: true }))"""
    )
    assert painted < 2000
    assert page.locator("tr.row").count() <= 200
    took = page.evaluate("""() => {
        const start = performance.now();
        document.querySelector('th[data-sort=name] button').click();
        return performance.now() - start;
    }""")
    assert took < 1000
