"""`make screenshots`: the pictures of docs/ui.md, taken of a real Airflow with the example DAGs and the emulator."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote

from demo.deployment import Deployment
from vi_airflow_provider.emulator import Emulator

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FOLDER: Final = Path(__file__).resolve().parent.parent / "docs" / "ui"
#: Triggered before the pictures are taken, and the state of their runs that is waited for.
DAGS: Final = {"audit_flow_specs": "success", "prune_stale_flows": "success", "gate_training_on_flow": "running"}
POLICY: Final = {"older_than": "P90D", "keep_last": "2", "protect_attributes": {"stage": "production"}}


class Shot(NamedTuple):
    """A picture: `query` is the view, and `opened` the row to open."""

    name: str
    query: str
    width: int
    theme: str
    opened: int | None = None


SHOTS: Final = (
    Shot("flows", "?tab=flows", 1280, "light", opened=2),
    Shot("flows-dark", "?tab=flows&q=weld", 1280, "dark", opened=0),
    Shot("cleanup", f"?tab=cleanup&policy={quote(json.dumps(POLICY))}", 1280, "light"),
    Shot("waiting", "?tab=waiting&state=succeeded", 1280, "light", opened=0),
    Shot("history", "?tab=history", 1280, "dark"),
    Shot("flows-390", "?tab=flows", 390, "light", opened=0),
    Shot("waiting-390", "?tab=waiting", 390, "dark"),
    Shot("flows-2560", "?tab=flows", 2560, "light", opened=0),
)


def main() -> int:
    """Take all pictures."""
    FOLDER.mkdir(exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="vi-screenshots-"))
    try:
        with Emulator(flows=60, runs=30) as vi, Deployment(home) as airflow:
            airflow.migrate()
            airflow.add_connection("vi_default", json.dumps(vi.stored_connection))
            airflow.start()
            airflow.wait_until_healthy()
            trigger(airflow)
            for page, shot in pages():
                take(page, airflow.url, shot)
                print(f"docs/ui/{shot.name}.png", flush=True)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return 0


def trigger(airflow: Deployment, seconds: float = 300) -> None:
    """Start the DAGs, and wait until their runs are in the expected state.

    :raises TimeoutError: they are not in time
    """
    deadline = time.monotonic() + seconds
    started: set[str] = set()
    while time.monotonic() < deadline:
        known = {dag["dag_id"] for dag in airflow.api("GET", "/dags?limit=100")["dags"]}
        for dag_id in (DAGS.keys() & known) - started:
            airflow.api("PATCH", f"/dags/{dag_id}", {"is_paused": False})
            airflow.api("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None})
            started.add(dag_id)
        runs = {dag_id: airflow.api("GET", f"/dags/{dag_id}/dagRuns")["dag_runs"] for dag_id in started}
        if {dag_id: each[-1]["state"] for dag_id, each in runs.items()} == DAGS:
            time.sleep(20)  # the gate polls for the first time
            return
        time.sleep(1)
    raise TimeoutError(f"the DAG runs did not become {DAGS}")


def pages() -> Iterator[tuple[Page, Shot]]:
    """Yield a window for each picture."""
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser: Browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for shot in SHOTS:
            height = 1440 if shot.width > 1280 else 1000
            context = browser.new_context(viewport={"width": shot.width, "height": height}, reduced_motion="reduce")
            context.add_init_script(f"localStorage.setItem('theme', '{shot.theme}')")
            yield context.new_page(), shot
            context.close()
        browser.close()


def take(page: Page, url: str, shot: Shot) -> None:
    """Open a view, wait until it is complete, and take its picture."""
    page.goto(f"{url}/plugin/vi{shot.query}")
    page.locator("[data-testid=datature-vi] .place > *").first.wait_for()
    page.wait_for_load_state("networkidle")
    if shot.opened is not None:
        page.locator("tr.row button").nth(shot.opened).click()
        page.locator("tr.detail svg").first.wait_for()
        page.wait_for_load_state("networkidle")
    page.mouse.move(0, 0)
    page.screenshot(path=FOLDER / f"{shot.name}.png", animations="disabled")


if __name__ == "__main__":
    sys.exit(main())
