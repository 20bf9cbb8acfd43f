"""Who may see what: a mounted app inherits no authentication, so each route is checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.routing import Mount

from tests.unit.ui.conftest import As
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.ui.app import create_app

PATHS = (
    "/api/connections",
    "/api/connections/vi_default/flows",
    "/api/connections/vi_default/flows/some-flow",
    "/api/connections/vi_default/progress",
    "/api/connections/vi_default/plan?policy={}",
    "/api/connections/vi_default/runs",
    "/api/connections/vi_default/runs/some-run/outputs",
)


def routes_of(app: FastAPI) -> Iterator[Any]:
    """The routes of an app; newer versions of FastAPI keep those of an included router in a group of their own."""
    for route in app.routes:
        yield from getattr(route, "effective_candidates", lambda route=route: [route])()


def dependencies_of(dependant: Dependant) -> Iterator[Any]:
    for dependency in dependant.dependencies:
        yield dependency.call
        yield from dependencies_of(dependency)


def is_guarded(route: Any) -> bool:
    calls = [getattr(call, "__qualname__", "") for call in dependencies_of(route.dependant)]
    return "requires_access_connection.<locals>.inner" in calls


def test_every_route_but_the_static_files_checks_the_connection() -> None:
    unguarded = []
    for route in routes_of(create_app()):
        if isinstance(route, Mount):
            assert route.path == "/static"
        elif not (hasattr(route, "dependant") and is_guarded(route)):
            unguarded.append(route.path)
    assert unguarded == []


def test_every_route_is_called_below() -> None:
    routes = [route for route in routes_of(create_app()) if not isinstance(route, Mount)]
    assert len(routes) == len(PATHS)


def test_every_route_only_reads() -> None:
    routes = [route for route in routes_of(create_app()) if not isinstance(route, Mount)]
    assert {method for route in routes for method in route.methods} == {"GET"}


def test_a_route_without_the_guard_would_be_found() -> None:
    app = create_app()
    app.add_api_route("/open", lambda: None)
    found = [route for route in routes_of(app) if isinstance(route, APIRoute) and route.path == "/open"]
    assert [is_guarded(route) for route in found] == [False]


@pytest.mark.parametrize("path", PATHS)
def test_caller_without_a_login_is_refused(path: str, called_as: As, vi: Emulator) -> None:
    assert called_as(None).get(f"/vi{path}").status_code == 401
    assert vi.requests == []


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("role", ["viewer", "user"])
def test_role_that_cannot_read_connections_is_refused(role: str, path: str, called_as: As, vi: Emulator) -> None:
    assert called_as(role).get(f"/vi{path}").status_code == 403
    assert vi.requests == []


@pytest.mark.parametrize("role", ["op", "admin"])
def test_role_that_can_read_connections_is_served(role: str, called_as: As, vi: Emulator) -> None:
    response = called_as(role).get("/vi/api/connections/vi_default/flows")
    assert (response.status_code, len(response.json()["flows"])) == (200, 40)


def test_rights_are_checked_before_the_cache(vi: Emulator, called_as: As) -> None:
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.security import get_user

    client = called_as("admin")
    path = "/vi/api/connections/vi_default/flows"
    assert client.get(path).status_code == 200
    page: Any = next(route for route in client.app.routes if getattr(route, "path", "") == "/vi").app  # type: ignore[attr-defined]
    page.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username="v", role="viewer")
    assert client.get(path).status_code == 403
    page.dependency_overrides.clear()
    assert client.get(path).status_code == 401


def test_known_connection_in_another_case_is_not_found(
    called_as: As, vi: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_VI_VAULT", vi.airflow_conn)
    client = called_as("admin")
    for connection_id, status in (("vi_vault", 200), ("VI_VAULT", 404), ("Vi_Default", 404), ("vi_default", 200)):
        response = client.get(f"/vi/api/connections/{connection_id}/flows")
        assert response.status_code == status
        if status == 404:
            assert "does not find this connection" in response.json()["detail"]
            assert response.headers["cache-control"] == "no-store"
    assert called_as(None).get("/vi/api/connections/VI_VAULT/flows").status_code == 401


def test_static_files_need_no_login(called_as: As) -> None:
    response = called_as(None).get("/vi/static/bundle.js")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/javascript")
    assert response.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "/vi/static/report.js",
        "/vi/static/__init__.py",
        "/vi/static/../plugin.py",
        "/vi/static/%2e%2e/plugin.py",
        "/vi/openapi.json",
        "/vi/docs",
        "/vi/redoc",
        "/vi/",
        "/vi/api/connections/",
    ],
)
def test_nothing_else_is_served(path: str, called_as: As) -> None:
    assert called_as("admin").get(path).status_code == 404
