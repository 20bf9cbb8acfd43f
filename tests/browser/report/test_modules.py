"""The modules of the report, imported by a page that brings its own root, state and data."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from playwright.sync_api import Page, Route, expect

FOLDER: Final = Path(str(files("vi_airflow_provider.audit.report")))
PAGE: Final = """<!doctype html><title>Page</title><div id="host"></div><script type="module">
import { emptyState, flowTable } from "./flows.js";
const root = document.getElementById("host").attachShadow({ mode: "open" });
const flow = (id, name) => ({
  id, name, project: "", blocks: 1, generation: 1, created: 0, updated: 0, attributes: {}, change: "",
});
const spec = { schema: "v1", blocks: [{ block: "train", settings: { epochs: 5 } }] };
const state = emptyState();
globalThis.changes = [];
globalThis.root = root;
globalThis.table = flowTable(root, {
  flows: [flow("a", "One"), flow("b", "Two")],
  state,
  spec: (each) => each.id === "a" ? Promise.resolve(spec) : Promise.reject(new Error("no such flow")),
  onChange: ({ query, sort, open }) => changes.push([query, sort, ...open]),
});
table.render();
globalThis.ready = true;
</script>"""


def serve(route: Route) -> None:
    """Respond with a module of the report, or with the page that imports it."""
    name = urlsplit(route.request.url).path.removeprefix("/")
    if name == "page":
        route.fulfill(body=PAGE, content_type="text/html")
    else:
        route.fulfill(path=FOLDER / name, content_type="text/javascript")


def test_table_draws_into_a_shadow_root_and_loads_specs(page: Page) -> None:
    page.route("http://report.test/**", serve)
    page.goto("http://report.test/page")
    names = page.locator(".row button bdi")
    expect(names).to_have_text(["One", "Two"])
    for cell in page.locator(".row td.number:last-child").all():
        cell.click()
    expect(page.locator("svg.pipeline")).to_be_visible()
    expect(page.locator(".caveat")).to_have_text("no such flow")
    assert page.evaluate("changes") == [["", "-updated", "a"], ["", "-updated", "a", "b"]]
    page.evaluate("table.replaceRows([])")
    expect(page.locator(".status")).to_have_text("0 flows")
    page.evaluate("table.destroy()")
    assert page.evaluate("[root.childElementCount, location.hash]") == [0, ""]
