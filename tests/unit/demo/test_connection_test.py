"""The Test button of Airflow's UI, for the connection that `make airflow` stores."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.versions import AIRFLOW
from vi_airflow_provider.emulator import Emulator

connections = pytest.importorskip("airflow.api_fastapi.core_api.routes.public.connections")

MASK = "***"


class _AuthManager:
    """Allows everything."""

    def is_authorized_connection(self, **_: Any) -> bool:
        return True


@pytest.fixture(autouse=True)
def enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__TEST_CONNECTION", "Enabled")
    monkeypatch.setattr(connections.Connection, "get_team_name", lambda _: None, raising=False)


def press_test(stored: dict[str, Any], key: str = MASK) -> Any:
    """Post what the form posts: every field, with port 0 and empty text for null, and the password masked."""
    from airflow.api_fastapi.core_api.datamodels.connections import ConnectionBody

    body = {
        "connection_id": "vi_default",
        "conn_type": stored["conn_type"],
        "description": "",
        "host": stored["host"],
        "login": stored["login"],
        "password": key,
        "port": stored.get("port") or 0,
        "schema": "",
        "extra": json.dumps(stored["extra"]),
    }
    arguments: dict[str, Any] = {"test_body": ConnectionBody(**body)}
    parameters = connections.test_connection.__code__.co_varnames
    if "auth_manager" in parameters:
        arguments |= {"user": None, "auth_manager": _AuthManager()}
    return connections.test_connection(**arguments)


def test_stored_connection_passes_the_test_button(vi_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = vi_emulator.stored_connection
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", json.dumps(stored))
    if AIRFLOW == (3, 0):  # it does not replace the mask by the stored key
        assert "type the key again" in press_test(stored).message
    result = press_test(stored, stored["password"] if AIRFLOW == (3, 0) else MASK)
    assert result.status, result.message


def test_stored_connection_reaches_the_emulator(vi_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    from vi_airflow_provider.hooks.vi import ViHook

    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", json.dumps(vi_emulator.stored_connection))
    hook = ViHook()
    try:
        assert hook.settings.endpoint == vi_emulator.url
        assert hook.settings.ui_url("f1") == f"{vi_emulator.url}/org/{vi_emulator.organization_id}/flows/f1"
        assert len(list(hook.list_flows())) == 40
    finally:
        hook.close()
