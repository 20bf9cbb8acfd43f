"""The same page on another web server: SERVER is the Python of its environment, and AUTH=fab selects FAB.

With FAB, Airflow is served below a path, as behind a reverse proxy.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import pytest
from playwright.sync_api import Browser, expect

from demo.deployment import Deployment
from tests.browser import chromium
from vi_airflow_provider.emulator import Emulator

SERVER: Final = os.environ.get("SERVER")
FAB: Final = os.environ.get("AUTH") == "fab"
ROLES: Final = {"admin": "Admin", "viewer": "Viewer"}
PATH: Final = "/airflow" if FAB else ""

pytestmark = pytest.mark.skipif(SERVER is None, reason="SERVER names no Python with Airflow (make test-ui-versions)")


class Served(NamedTuple):
    """A web server, and the tokens of its users."""

    url: str
    tokens: dict[str, str]


def variables_of(home: Any, port: int) -> dict[str, str]:
    if FAB:
        return {
            "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}{PATH}",
        }
    (home / "passwords.json").write_text(json.dumps({user: user for user in ROLES}))
    return {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{user}" for user in ROLES),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
    }


def add_users(airflow: Deployment) -> None:
    for user, role in ROLES.items():
        names = ["--firstname", user, "--lastname", user, "--email", f"{user}@example.com"]
        airflow._airflow("users", "create", "--username", user, "--password", user, "--role", role, *names)


def token_of(airflow: Deployment, user: str) -> str:
    # Unlike the rest of the API, the login is served below the path only.
    response = airflow._request("POST", f"{PATH}/auth/token", {"username": user, "password": user})
    return str(response["access_token"])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    from demo.deployment import free_port

    home, port = tmp_path_factory.mktemp("airflow"), free_port()
    command = (str(SERVER), "-m", "airflow")
    with (
        Emulator(flows=60, runs=10) as vi,
        Deployment(home, variables_of(home, port), port, command=command) as airflow,
    ):
        airflow.migrate()
        airflow.add_connection("vi_default", json.dumps(vi.stored_connection))
        if FAB:
            add_users(airflow)
        airflow.start("api-server")
        airflow.wait_until_healthy("metadatabase")
        yield Served(f"{airflow.url}{PATH}", {user: token_of(airflow, user) for user in ROLES})


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium.require()
    with chromium.browser() as started:
        yield started


@pytest.mark.parametrize(("user", "status"), [(None, 401), ("viewer", 403), ("admin", 200)])
@pytest.mark.parametrize("path", ["flows", "runs", "plan?policy=%7B%22keep_last%22%3A1%7D"])
def test_route_is_open_to_those_who_may_read_the_connection(
    path: str, user: str | None, status: int, served: Served
) -> None:
    headers = {} if user is None else {"Authorization": f"Bearer {served.tokens[user]}"}
    url = f"{served.url}/vi/api/connections/vi_default/{path}"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - our own address
    try:
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            found = response.status
    except urllib.error.HTTPError as error:
        with error:
            found = error.code
    assert found == status


def test_page_is_in_the_menu_and_shows_flows_runs_and_previews(served: Served, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.add_cookies([{"name": "_token", "value": served.tokens["admin"], "url": served.url, "httpOnly": True}])
    window = chromium.Watched(context)
    page = window.page
    page.goto(f"{served.url}/dags")
    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="Datature Vi").click()
    expect(page.get_by_text("60 flows", exact=True)).to_be_visible()
    assert page.url.startswith(f"{served.url}/plugin/vi")
    page.locator("tr.row button").first.click()
    expect(page.locator("svg.pipeline")).to_be_visible()
    page.get_by_role("tab", name="Gates and runs").click()
    expect(page.get_by_text("No task waits for a flow or a run.")).to_be_visible()
    expect(page.locator("tr.row").first).to_be_visible()
    page.get_by_role("tab", name="Cleanup preview").click()
    page.get_by_role("button", name="Preview", exact=True).click()
    expect(page.get_by_role("heading", level=3)).to_contain_text("of 60 would be deleted")
    page.get_by_role("tab", name="Audit and archives").click()
    expect(page.get_by_text("No export has run yet.")).to_be_visible()
    window.check()
