"""One real Airflow for all tests of this folder, with the example DAGs and two users: one may read connections."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from demo import local_airflow
from demo.deployment import Deployment
from tests.browser import chromium
from tests.deployed import eventually, pytest_runtest_makereport  # noqa: F401 - a hook of pytest
from vi_airflow_provider.emulator import Emulator

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Page

USERS = {"admin": "admin", "viewer": "viewer"}
#: Ids of the example DAGs, which are the names of their files.
EXAMPLES = sorted(path.stem for path in local_airflow.EXAMPLES.glob("*.py"))
#: Flows of the connection `vi_large`.
MANY = 5_000


@dataclass(frozen=True)
class Site:
    """Airflow with the page, and the two organizations that its connections read."""

    airflow: Deployment
    vi: Emulator
    large: Emulator
    tokens: dict[str, str]

    def get(self, path: str, user: str | None) -> tuple[int, Any]:
        """Call the page's API, and return status and JSON."""
        headers = {} if user is None else {"Authorization": f"Bearer {self.tokens[user]}"}
        request = urllib.request.Request(f"{self.airflow.url}{path}", headers=headers)  # noqa: S310 - our own address
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")


def copy_examples(home: Path) -> Path:
    """Copy the example DAGs into a folder, and let them write below `home`; return the folder."""
    folder = home / "dags"
    folder.mkdir()
    for example in local_airflow.EXAMPLES.glob("*.py"):
        code = example.read_text(encoding="utf-8").replace("/tmp/", f"{home}/")  # noqa: S108
        (folder / example.name).write_text(code, encoding="utf-8")
    return folder


def known_dags(airflow: Deployment) -> set[str]:
    return {dag["dag_id"] for dag in airflow.api("GET", "/dags?limit=100")["dags"]}


@pytest.fixture(scope="session", autouse=True)
def _chromium() -> None:
    chromium.require()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home: Path = tmp_path_factory.mktemp("airflow")
    (home / "passwords.json").write_text(json.dumps(USERS))
    variables = {
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(copy_examples(home)),
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "5",
        "AIRFLOW__CORE__PARALLELISM": "4",
        # Only the runs that a test triggers, at any time of the day.
        "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{user}" for user in USERS),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__VI__UI_CONNECTIONS": "vi_large",
    }
    with Emulator(flows=60, runs=20) as vi, Emulator(flows=MANY) as large:
        variables["AIRFLOW_CONN_VI_LARGE"] = json.dumps(large.stored_connection)
        with Deployment(home, variables) as airflow:
            airflow.migrate()
            airflow.add_connection("vi_default", json.dumps(vi.stored_connection))
            airflow.start()
            airflow.wait_until_healthy()
            tokens = {user: airflow.log_in(user, password) for user, password in USERS.items()}
            airflow.log_in("admin", "admin")
            eventually(lambda: known_dags(airflow) >= set(EXAMPLES), "the DAGs were not parsed")
            yield Site(airflow, vi, large, tokens)


@pytest.fixture(scope="session")
def browser(_chromium: None) -> Iterator[Browser]:
    with chromium.browser() as started:
        yield started


#: Opens a window in which a user is logged in.
Open = Callable[..., chromium.Watched]


@pytest.fixture(scope="session")
def contexts(site: Site, browser: Browser) -> dict[str | None, BrowserContext]:
    """One for each user: the windows of a user share a cache, as Airflow's UI is large."""
    opened: dict[str | None, BrowserContext] = {}
    for user in (None, *USERS):
        context = opened[user] = browser.new_context(viewport={"width": 1280, "height": 900})
        if user is not None:
            cookie = {"name": "_token", "value": site.tokens[user], "url": site.airflow.url, "httpOnly": True}
            context.add_cookies([cookie])  # type: ignore[list-item]
    return opened


@pytest.fixture
def open_as(contexts: dict[str | None, BrowserContext]) -> Iterator[Open]:
    windows: list[chromium.Watched] = []

    def open_window(user: str | None = "admin") -> chromium.Watched:
        windows.append(chromium.Watched(contexts[user]))
        return windows[-1]

    yield open_window
    for window in windows:
        window.page.close()
    for window in windows:
        window.check()


@pytest.fixture
def page(open_as: Open) -> Page:
    """A window of the administrator."""
    return open_as().page
