"""The page's app as Airflow mounts it, called by users with different rights. Airflow before 3.1 has no such app."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.versions import AIRFLOW
from vi_airflow_provider.emulator import Emulator

if TYPE_CHECKING:
    from starlette.testclient import TestClient

_NEED_AN_APP = ("test_api.py", "test_plans.py", "test_plan_limits.py", "test_rights.py", "test_event_loop.py")
collect_ignore = [] if AIRFLOW >= (3, 1) else [*_NEED_AN_APP]

#: Opens a client for a user with this role, or for a caller without a login.
As = Callable[[str | None], "TestClient"]


def plan_path(*, of: Any = "flows", **rules: Any) -> str:
    """Return the path of a preview."""
    return f"/vi/api/connections/vi_default/plan?of={of}&policy={quote(json.dumps(rules))}"


@pytest.fixture
def vi(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    with Emulator(flows=40, runs=10) as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", json.dumps(emulator.stored_connection))
        yield emulator


@pytest.fixture
def called_as(monkeypatch: pytest.MonkeyPatch) -> Iterator[As]:
    from airflow.api_fastapi.app import create_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.security import get_user
    from airflow.models import Connection
    from fastapi import FastAPI
    from starlette.testclient import TestClient

    from vi_airflow_provider.ui.app import create_app

    create_auth_manager()
    # Airflow 3.1 looks the team of a connection up in the database, which these tests do without.
    monkeypatch.setattr(Connection, "get_team_name", lambda _: None, raising=False)
    opened: list[TestClient] = []

    def open_client(role: str | None) -> TestClient:
        page, airflow = create_app(["vi_vault"]), FastAPI()
        airflow.mount("/vi", page)
        if role is not None:
            user: Any = SimpleAuthManagerUser(username=role, role=role)
            page.dependency_overrides[get_user] = lambda: user
        client = TestClient(airflow, base_url="http://airflow", raise_server_exceptions=False)
        client.__enter__()
        opened.append(client)
        return client

    yield open_client
    for client in opened:
        client.__exit__(None, None, None)
