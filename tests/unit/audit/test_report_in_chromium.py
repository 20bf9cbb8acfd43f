"""The HTML report in a browser: what a reader does with it, and what it must never do.

Chromium is driven over its DevTools protocol with aiohttp, which the provider needs anyway.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import pytest_asyncio

from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.audit.diff import Change, ChangedFlow, Diff, FlowRef
from vi_airflow_provider.audit.report import ReportFacts, write_report
from vi_airflow_provider.emulator.store.samples import sample_flows

CHROMIUM: Final = os.environ.get("CHROMIUM") or shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH, or its path in CHROMIUM")

FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-address=127.0.0.1",
    "--remote-debugging-port=0",
)
EXPORTED_AT: Final = datetime(2026, 9, 30, 2, 0, tzinfo=UTC)
EXPORTED_MS: Final = int(EXPORTED_AT.timestamp() * 1000)
SECONDS: Final = 30
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
        [FlowRef(LONG_ID, "Twelve steps")], [FlowRef("gone", HOSTILE)], [ChangedFlow(HOSTILE_ID, HOSTILE, [change])]
    )
    return write(tmp_path_factory.mktemp("report") / "report.html", documents, diff)


@pytest.fixture(scope="module")
def devtools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a browser's DevTools."""
    profile = tmp_path_factory.mktemp("profile")
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(  # noqa: S603 - the browser under test
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        port, deadline = profile / "DevToolsActivePort", time.monotonic() + SECONDS
        while not (port.exists() and port.read_text().count("\n")):
            assert process.poll() is None, "the browser ended"
            assert time.monotonic() < deadline, "the browser did not start"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port.read_text().splitlines()[0]}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Tab:
    """One tab of the browser, by the DevTools protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self.events: list[dict[str, Any]] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        call = next(self._ids)
        await self._socket.send_json({"id": call, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json(timeout=SECONDS)
            if message.get("id") != call:
                self.events.append(message)
                continue
            assert "error" not in message, message
            result: dict[str, Any] = message["result"]
            return result

    async def evaluate(self, expression: str) -> Any:
        response = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in response, response
        return response["result"].get("value")

    async def until(self, expression: str) -> None:
        async with asyncio.timeout(SECONDS):
            while not await self.evaluate(f"Boolean({expression})"):  # noqa: ASYNC110 - it happens in the browser
                await asyncio.sleep(0.02)

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)
        await self.until("location.href !== 'about:blank' && document.readyState === 'complete'")

    async def press(self, key: str, text: str = "") -> None:
        code = {"Enter": 13, "Tab": 9}[key]
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, text=text)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    async def texts(self, selector: str) -> list[str]:
        texts: list[str] = await self.evaluate(
            f"[...document.querySelectorAll({json.dumps(selector)})].map((node) => node.textContent)"
        )
        return texts

    def events_of(self, *methods: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event["method"] in methods]


@pytest_asyncio.fixture
async def tab(devtools: str) -> AsyncIterator[Tab]:
    async with aiohttp.ClientSession() as session:
        async with session.put(f"{devtools}/json/new?about:blank") as response:
            target = await response.json()
        async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            tab = Tab(socket)
            for domain in ("Page", "Runtime", "Log", "Network"):
                await tab.call(f"{domain}.enable")
            yield tab
        async with session.get(f"{devtools}/json/close/{target['id']}"):
            pass


NAMES: Final = "tr.flow button bdi"
STATUS: Final = "document.getElementById('status').textContent"


async def test_search_filters_while_typing(tab: Tab, report: str) -> None:
    await tab.open(report)
    assert await tab.evaluate(STATUS) == "300 flows"
    await tab.evaluate("document.getElementById('search').focus()")
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
    assert await tab.texts("tr.flow button[aria-expanded=true] bdi") == ["Twelve steps"]
    assert await tab.evaluate("document.querySelectorAll('.pipeline rect.box').length") == 12
    assert await tab.evaluate("document.querySelectorAll('.pipeline path.arrow').length") == 11
    assert (await tab.texts(".pipeline > desc"))[0].startswith("step-0, then step-1, then step-2")
    assert (await tab.texts(".pipeline .setting"))[:2] == ["strength: 0", "strength: 1"]


async def test_changed_flow_links_to_its_row_on_any_page(tab: Tab, report: str) -> None:
    await tab.open(f"{report}#q=weld&sort=updated")
    await tab.evaluate("document.querySelector('.changed-flow summary a').click()")
    await tab.until(f"document.querySelector('tr.flow button[aria-expanded=true]') && {STATUS} === '300 flows'")
    assert await tab.texts("tr.flow button[aria-expanded=true] bdi") == [HOSTILE]
    assert await tab.evaluate("document.activeElement.textContent") == HOSTILE


async def test_row_is_opened_and_closed_with_the_keyboard(tab: Tab, report: str) -> None:
    await tab.open(report)
    await tab.evaluate("document.querySelector('tr.flow button').focus()")
    expanded = "document.querySelector('tr.flow button').getAttribute('aria-expanded')"
    for state in ("true", "false"):
        await tab.press("Enter", "\r")
        await tab.until(f"{expanded} === '{state}'")
        assert await tab.evaluate("document.querySelector('tr.detail').hidden") is (state == "false")


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
    rendered = "document.querySelectorAll('tr.flow').length"
    assert await tab.evaluate(rendered) <= 200
    for _ in range(3):
        await tab.evaluate("scrollTo(0, document.body.scrollHeight)")
        await asyncio.sleep(0.1)
    await tab.until(f"{rendered} === 300")
    assert await tab.evaluate("document.getElementById('more').hidden")


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
    assert await tab.evaluate("document.querySelectorAll('tr.flow').length") == 300
    assert await tab.evaluate("document.querySelectorAll('.changes details:not([open])').length") == 0


async def test_five_thousand_flows_stay_responsive(tab: Tab, tmp_path: Path) -> None:
    url = write(tmp_path / "report.html", list(sample_flows(5000, 7, "acme-vision", EXPORTED_MS)), None)
    await tab.open(url)
    await tab.until("performance.getEntriesByName('first-contentful-paint').length")
    assert await tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") < 2000
    assert await tab.evaluate(STATUS) == "5,000 flows"
    assert await tab.evaluate("document.querySelectorAll('tr.flow').length") <= 200
    took = """(() => {
        const start = performance.now();
        document.querySelector('th[data-sort=name] button').click();
        return performance.now() - start;
    })()"""
    assert await tab.evaluate(took) < 1000
