"""Who sees what, against a real web server and with real tokens."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open, Site

ROUTES = (
    "/vi/api/connections",
    "/vi/api/connections/vi_default/flows",
    "/vi/api/connections/vi_default/plan?policy=%7B%22older_than%22%3A%22P90D%22%7D",
    "/vi/api/connections/vi_default/runs",
)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("user", "status"), [(None, 401), ("viewer", 403), ("admin", 200)])
def test_route_is_open_to_those_who_may_read_the_connection(
    user: str | None, status: int, route: str, site: Site
) -> None:
    assert site.get(route, user)[0] == status


def test_connection_of_the_environment_is_read(site: Site) -> None:
    status, listed = site.get("/vi/api/connections/vi_large/flows", "admin")
    assert (status, listed["organization_id"]) == (200, site.large.organization_id)


def test_unknown_connection_is_not_found(site: Site) -> None:
    assert site.get("/vi/api/connections/nowhere/flows", "admin")[0] == 404


def test_key_is_in_no_log_of_the_web_server(site: Site) -> None:
    site.get(ROUTES[1], "admin")
    log = (site.airflow.home / "api-server.log").read_text()
    assert "/vi/api/connections/vi_default/flows" in log
    assert site.vi.secret_key not in log


def test_viewer_is_refused_flows_and_sees_what_waits(open_as: Open, site: Site) -> None:
    window = open_as("viewer")
    window.expected = ["403 (Forbidden)"]
    page = window.page
    page.goto(f"{site.airflow.url}/plugin/vi")
    expect(page.get_by_text("Flows are shown to those who may read the connection vi_default")).to_be_visible()
    expect(page.get_by_role("button", name="Try again")).to_have_count(0)
    page.get_by_role("tab", name="Gates and runs").click()
    expect(page.get_by_role("region", name="What waits").locator(".place > *").first).to_be_visible()
    expect(page.get_by_text("Runs are shown to those who may read the connection")).to_be_visible()


def test_page_behind_the_login_is_shown_after_it(open_as: Open, site: Site) -> None:
    window = open_as(None)
    window.expected = ["401 (Unauthorized)"]
    page = window.page
    page.goto(f"{site.airflow.url}/plugin/vi")
    page.locator("input[name=username]").fill("admin")
    page.locator("input[name=password]").fill("admin")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Datature Vi")).to_be_visible()
    page.get_by_role("button", name="Browse").click()
    expect(page.get_by_role("menuitem", name="Datature Vi")).to_be_visible()
