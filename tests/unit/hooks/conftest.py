"""A connection in the environment, and a client of its hook."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from requests_mock import Mocker

from tests.documents import FLOW_ID, ORGANIZATION_ID, SECRET_KEY, wire_flow, wire_page
from tests.unit.hooks.connections import FLOWS, HOST, Connect
from vi_airflow_provider.hooks.vi import ViHook


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Define the connection ``vi_default``; fields of ``None`` are left out."""

    def define(**fields: Any) -> None:
        given = {"conn_type": "vi", "host": HOST, "login": ORGANIZATION_ID, "password": SECRET_KEY, **fields}
        text = json.dumps({name: value for name, value in given.items() if value is not None})
        monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", text)

    return define


@pytest.fixture
def vi(connect: Connect, requests_mock: Mocker) -> Iterator[ViHook]:
    """A hook to a server with one flow."""
    connect()
    requests_mock.get(FLOWS, json=wire_page(wire_flow()))
    requests_mock.get(f"{HOST}/workspaces/{ORGANIZATION_ID}/simpleFlows", json=wire_page({"flowId": FLOW_ID}))
    requests_mock.get(f"{FLOWS}/{FLOW_ID}", json=wire_flow())
    requests_mock.put(f"{FLOWS}/{FLOW_ID}", json=wire_flow())
    requests_mock.patch(f"{FLOWS}/{FLOW_ID}", json=wire_flow())
    requests_mock.delete(f"{FLOWS}/{FLOW_ID}", status_code=204)
    hook = ViHook()
    yield hook
    hook.close()
