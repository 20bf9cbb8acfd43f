"""The modules of the report, imported by a page that brings its own root, state and data."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from aiohttp import web

from tests.unit.audit.browser import Tab, needs_chromium
from vi_airflow_provider.audit.report import resources

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


@pytest_asyncio.fixture
async def page() -> AsyncIterator[str]:
    """The address of a page that imports the modules from a server."""
    app = web.Application()

    async def show(_request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    app.router.add_get("/page", show)
    app.router.add_static("/", FOLDER)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/page"
    await runner.cleanup()


@needs_chromium
async def test_table_draws_into_a_shadow_root_and_loads_specs(tab: Tab, page: str) -> None:
    await tab.open(page)
    await tab.until("globalThis.ready")
    names = "[...root.querySelectorAll('.row bdi')].map((node) => node.textContent).filter(Boolean)"
    assert await tab.evaluate(names) == ["One", "Two"]
    await tab.evaluate("for (const cell of root.querySelectorAll('.row td.number:last-child')) cell.click()")
    await tab.until("root.querySelector('svg.pipeline') && root.querySelector('.caveat')")
    assert await tab.evaluate("root.querySelector('.caveat').textContent") == "no such flow"
    assert await tab.evaluate("changes") == [["", "-updated", "a"], ["", "-updated", "a", "b"]]
    await tab.evaluate("table.replaceRows([])")
    assert await tab.evaluate("root.querySelector('.status').textContent") == "0 flows"
    await tab.evaluate("table.destroy()")
    assert await tab.evaluate("[root.childElementCount, location.hash]") == [0, ""]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.js")), ids=lambda path: path.name)
def test_module_is_in_the_script_behind_what_it_imports(path: Path) -> None:
    imported = re.findall(r'^import .* from "\./(.*)";$', path.read_text("utf-8"), re.MULTILINE)
    script = resources.script()
    start = script.index(f"const {path.stem}_js = ")
    assert all(script.index(f"const {name.replace('.', '_')} = ") < start for name in imported)
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)


@pytest.mark.parametrize("name", ["dom.js", "table.js", "flows.js"])
def test_shared_module_leaves_the_document_to_its_caller(name: str) -> None:
    text = (FOLDER / name).read_text("utf-8")
    for reach in ("getElementById", "document.querySelector", "location", "history", "data-theme", "dataset.theme"):
        assert reach not in text
