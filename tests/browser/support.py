"""What the tests of the page have in common."""

from __future__ import annotations

from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Site

ROWS: Final = "tr.row"


def go(page: Page, site: Site, query: str = "") -> None:
    page.goto(f"{site.airflow.url}/plugin/vi{query}")
    expect(page.get_by_role("heading", name="Datature Vi")).to_be_visible()


def address(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def listing(*flows: dict[str, Any]) -> dict[str, Any]:
    facts = {"organization_id": "acme", "organization_url": "https://vi.example.com", "read_at": 0}
    return {"flows": list(flows), "complete": True, **facts}


def respond(answer: Any, route: Route) -> None:
    route.fulfill(json=answer)


def flow(flow_id: str, **facts: Any) -> dict[str, Any]:
    """A flow of a listing."""
    times = {"generation": 1, "created": 0, "updated": 0}
    return {"id": flow_id, "name": flow_id, "project": "", "attributes": {}, "blocks": 1, "url": "", **times, **facts}


def instance(operator: str, task_id: str, **facts: Any) -> dict[str, Any]:
    """A task instance of Airflow's API."""
    place = {"dag_id": "some_dag", "dag_run_id": "some_run", "task_id": task_id, "map_index": -1}
    fields = {"vi_conn_id": "vi_default", **facts.pop("fields", {})}
    started = {"state": "success", "start_date": "2026-01-02T03:04:05Z", "rendered_fields": fields}
    return {**place, "operator": operator, **started, **facts}


def show_tasks(page: Page, *instances: dict[str, Any], total: int | None = None, **results: Any) -> None:
    """Let Airflow have these task instances, with a result by the id of a task."""
    found = {"task_instances": list(instances), "total_entries": len(instances) if total is None else total}
    page.route("**/api/v2/dags/~/dagRuns/~/taskInstances?*", partial(respond, found))
    for task_id, value in results.items():
        path = f"**/taskInstances/{task_id}/xcomEntries/return_value?*"
        page.route(path, partial(respond, {"value": value}))
