"""The modules of the report, imported by a page that brings its own root, state and data."""

from __future__ import annotations

import csv
import io
import random
from importlib.resources import files
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from tests.formulas import ALPHABET, CELLS
from vi_airflow_provider.audit import tabular

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


CSV: Final = """async (texts) => (await import("/changes.js"))
  .changesCsv("flow", texts.map((name) => ({ id: "a", name, change: "added" })), [])"""


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


@pytest.fixture
def served(page: Page) -> Page:
    page.route("http://report.test/**", serve)
    page.goto("http://report.test/page")
    return page


def cells(served: Page, texts: list[str]) -> list[str]:
    """The cells that the csv of changes has for these texts."""
    written = served.evaluate(CSV, texts)
    return [row["name"] for row in csv.DictReader(io.StringIO(written.removeprefix("\ufeff"), newline=""), strict=True)]


def test_csv_of_changes_neutralizes_formulas(served: Page) -> None:
    assert cells(served, [text for text, _ in CELLS]) == [cell for _, cell in CELLS]


def test_csv_of_changes_has_the_rule_of_exports(served: Page) -> None:
    chosen = random.Random(0)
    texts = ["".join(chosen.choices(ALPHABET, k=chosen.randint(0, 8))) for _ in range(20_000)]
    texts += [run * 20_000 + end for run in ("\n", " ", ";", '"', "=", ";\u2028") for end in ("", "=")]
    assert cells(served, texts) == [tabular._cell(text, "string") for text in texts]
