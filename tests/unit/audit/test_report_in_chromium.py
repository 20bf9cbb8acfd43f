"""The HTML report in a browser: what a reader does with it, and what it must never do."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from tests.unit.audit.browser import Tab, needs_chromium
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.audit.diff import Change, Changed, Diff, Ref, Removed
from vi_airflow_provider.audit.report import ReportFacts, write_report
from vi_airflow_provider.emulator.store.samples import sample_flows

pytestmark = needs_chromium
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


NAMES: Final = "tr.row button bdi"
STATUS: Final = "document.querySelector('.status').textContent"


async def test_search_filters_while_typing(tab: Tab, report: str) -> None:
    await tab.open(report)
    assert await tab.evaluate(STATUS) == "300 flows"
    await tab.evaluate("document.querySelector('.search').focus()")
    await tab.call("Input.insertText", text="WELD owner=giulia")
    await tab.until(f"{STATUS}.includes(' of 300')")
    names = await tab.texts(NAMES)
    assert len(names) == 8
    assert all(name.startswith("Weld") for name in names)
    assert await tab.evaluate("location.hash") == "#q=WELD+owner%3Dgiulia"


async def test_search_without_results_is_announced(tab: Tab, report: str) -> None:
    await tab.open(f"{report}#q=nothing-has-this")
    assert await tab.evaluate(STATUS) == "0 of 300 flows"
    assert await tab.texts(NAMES) == []


async def test_changed_flows_can_be_searched(tab: Tab, report: str) -> None:
    await tab.open(f"{report}#q=is:added")
    assert await tab.texts(NAMES) == ["Twelve steps"]


async def test_link_opens_the_row_and_draws_the_pipeline(tab: Tab, report: str) -> None:
    await tab.open(f"{report}#q=twelve&expand={LONG_ID}")
    await tab.until("document.querySelector('.detail svg.pipeline')")
    assert await tab.texts(NAMES) == ["Twelve steps"]
    assert await tab.texts("tr.row button[aria-expanded=true] bdi") == ["Twelve steps"]
    assert await tab.evaluate("document.querySelectorAll('.pipeline rect.box').length") == 12
    assert await tab.evaluate("document.querySelectorAll('.pipeline path.arrow').length") == 11
    assert (await tab.texts(".pipeline > desc"))[0].startswith("step-0, then step-1, then step-2")
    assert (await tab.texts(".pipeline .setting"))[:2] == ["strength: 0", "strength: 1"]


async def test_changed_flow_links_to_its_row_on_any_page(tab: Tab, report: str) -> None:
    await tab.open(f"{report}#q=weld&sort=updated")
    await tab.evaluate("document.querySelector('.changed-flow summary a').click()")
    await tab.until(f"document.querySelector('tr.row button[aria-expanded=true]') && {STATUS} === '300 flows'")
    assert await tab.texts("tr.row button[aria-expanded=true] bdi") == [HOSTILE]
    assert await tab.evaluate("document.activeElement.textContent") == HOSTILE


async def test_row_is_opened_and_closed_with_the_keyboard(tab: Tab, report: str) -> None:
    await tab.open(report)
    await tab.evaluate("document.querySelector('tr.row button').focus()")
    expanded = "document.querySelector('tr.row button').getAttribute('aria-expanded')"
    for state in ("true", "false"):
        await tab.press("Enter", "\r")
        await tab.until(f"{expanded} === '{state}'")
        assert await tab.evaluate("document.querySelector('tr.detail').hidden") is (state == "false")


async def test_row_is_opened_by_a_click_anywhere_but_on_a_link(tab: Tab, report: str) -> None:
    await tab.open(report)
    cell = "document.querySelector('tr.row td.number')"
    for hidden in (False, True):
        await tab.evaluate(f"{cell}.click()")
        assert await tab.evaluate("document.querySelector('tr.detail').hidden") is hidden
    await tab.evaluate(f"{cell}.append(document.createElement('a')); {cell}.querySelector('a').click()")
    await tab.evaluate(f"getSelection().selectAllChildren({cell}); {cell}.click()")
    assert await tab.evaluate("document.querySelector('tr.detail').hidden")


async def test_opened_row_shows_what_has_changed(tab: Tab, report: str) -> None:
    await tab.open(f"{report}#expand={HOSTILE_ID}")
    assert await tab.texts(".detail .values .path") == ["spec.name"]
    assert await tab.texts(".detail .values ins code") == [json.dumps(HOSTILE)]


async def test_changes_are_offered_as_csv(tab: Tab, report: str) -> None:
    await tab.open(report)
    await tab.evaluate("URL.createObjectURL = (blob) => { made = blob; return '#changes'; }")
    await tab.evaluate("document.querySelector('#download a').click()")
    text = await tab.evaluate("made.text()")
    header, *lines = text.removeprefix("\ufeff").splitlines()
    assert header == '"change","flow_id","name","path","old","new"'
    assert [line.split(",")[0] for line in lines] == ['"changed"', '"added"', '"removed"']


async def test_header_sorts_and_announces_the_order(tab: Tab, report: str) -> None:
    await tab.open(report)
    click = "document.querySelector('th[data-sort=name] button').click()"
    sort = "[...document.querySelectorAll('th[aria-sort]')].map((th) => [th.dataset.sort, th.ariaSort])"
    assert dict(await tab.evaluate(sort))["updated"] == "descending"
    for order in ("ascending", "descending"):
        await tab.evaluate(click)
        assert {key: value for key, value in await tab.evaluate(sort) if value != "none"} == {"name": order}
    names = await tab.texts(NAMES)
    assert names[0].startswith("Weld seam")


async def test_rows_are_added_while_scrolling(tab: Tab, report: str) -> None:
    await tab.open(report)
    rendered = "document.querySelectorAll('tr.row').length"
    assert await tab.evaluate(rendered) <= 200
    for _ in range(3):
        await tab.evaluate("scrollTo(0, document.body.scrollHeight)")
        await asyncio.sleep(0.1)
    await tab.until(f"{rendered} === 300")
    assert await tab.evaluate("document.querySelector('.more button').hidden")


async def test_markup_in_the_data_stays_text(tab: Tab, report: str) -> None:
    await tab.open(f"{report}#expand={HOSTILE_ID}")
    await tab.until("document.querySelector('.detail svg.pipeline')")
    assert await tab.evaluate("typeof owned") == "undefined"
    assert await tab.evaluate("[document.scripts.length, document.images.length]") == [2, 0]
    assert await tab.evaluate("document.querySelector('.changed-flow .name').textContent") == HOSTILE
    assert HOSTILE in await tab.texts(NAMES)
    assert json.loads((await tab.texts(".detail pre"))[0])["blocks"][0] == {
        "block": HOSTILE,
        "settings": {HOSTILE: HOSTILE},
    }


async def test_page_fetches_nothing_and_logs_no_error(tab: Tab, report: str) -> None:
    await tab.open(f"{report}#q=a&expand={HOSTILE_ID}&expand={LONG_ID}&theme=dark")
    await tab.until("document.querySelectorAll('.detail svg.pipeline').length === 2")
    await tab.evaluate("document.querySelector('th[data-sort=blocks] button').click()")
    await tab.evaluate("new Promise((done) => setTimeout(done, 300))")
    requested = {event["request"]["url"].partition("#")[0] for event in tab.events_of("Network.requestWillBeSent")}
    assert {report} <= requested <= {report, "data:,"}
    assert tab.events_of("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled") == []


async def test_content_security_policy_blocks_foreign_code(tab: Tab, report: str) -> None:
    await tab.open(report)
    await tab.evaluate("""(() => {
        const script = document.createElement("script");
        script.textContent = "owned = true";
        document.body.append(script);
    })()""")
    assert await tab.evaluate("typeof owned") == "undefined"


async def test_theme_follows_the_system_and_the_button(tab: Tab, report: str) -> None:
    await tab.open(report)
    ground, label = "getComputedStyle(document.body).backgroundColor", "document.getElementById('theme').textContent"
    seen = {}
    for theme in ("light", "dark"):
        await tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        seen[theme] = await tab.evaluate(ground)
    assert seen["light"] != seen["dark"]
    await tab.until(f"{label} === 'Light theme'")
    await tab.evaluate("document.getElementById('theme').click()")
    assert await tab.evaluate(ground) == seen["light"]
    assert await tab.evaluate("location.hash") == "#theme=light"


@pytest.mark.parametrize("width", [360, 400, 768, 1300])
async def test_nothing_is_wider_than_the_window(tab: Tab, report: str, width: int) -> None:
    await tab.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    await tab.open(f"{report}#expand={HOSTILE_ID}&expand={LONG_ID}")
    await tab.until("document.querySelectorAll('.detail svg.pipeline').length === 2")
    assert await tab.evaluate("document.documentElement.scrollWidth") <= width
    drawn = "Math.max(...[...document.querySelectorAll('.pipeline')].map((svg) => svg.getBoundingClientRect().right))"
    assert await tab.evaluate(drawn) <= width


async def test_summary_and_changes_work_without_javascript(tab: Tab, report: str) -> None:
    await tab.call("Emulation.setScriptExecutionDisabled", value=True)
    await tab.open(report)
    seen = await tab.evaluate("document.body.innerText")
    for text in ("300", "Removed", "spec.name", HOSTILE, "The table of all flows needs JavaScript."):
        assert text in seen
    assert not await tab.evaluate("document.getElementById('explorer').checkVisibility()")


async def test_all_search_results_are_printed(tab: Tab, report: str) -> None:
    await tab.open(report)
    await tab.call("Page.printToPDF")
    assert await tab.evaluate("document.querySelectorAll('tr.row').length") == 300
    assert await tab.evaluate("document.querySelectorAll('.changes details:not([open])').length") == 0


async def test_five_thousand_flows_stay_responsive(tab: Tab, tmp_path: Path) -> None:
    url = write(tmp_path / "report.html", list(sample_flows(5000, 7, "acme-vision", EXPORTED_MS)), None)
    await tab.open(url)
    await tab.until("performance.getEntriesByName('first-contentful-paint').length")
    assert await tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") < 2000
    assert await tab.evaluate(STATUS) == "5,000 flows"
    assert await tab.evaluate("document.querySelectorAll('tr.row').length") <= 200
    took = """(() => {
        const start = performance.now();
        document.querySelector('th[data-sort=name] button').click();
        return performance.now() - start;
    })()"""
    assert await tab.evaluate(took) < 1000
