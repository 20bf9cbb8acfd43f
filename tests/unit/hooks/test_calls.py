"""The clients of ``ViHook``, and its calls."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable
from typing import Any, Final

import pytest
from airflow import __version__ as airflow_version
from requests_mock import Mocker

from tests.documents import FLOW_ID, ORGANIZATION_ID, SECRET_KEY, wire_bytes, wire_flow, wire_spec
from tests.scripted_server import Act, ScriptedServer, http_bytes
from tests.unit.hooks.connections import FLOWS, Connect
from vi_airflow_provider import __version__
from vi_airflow_provider.api.errors import ViServerError
from vi_airflow_provider.hooks.vi import ViHook

# --- clients -------------------------------------------------------------------------------------------------------


def test_the_user_agent_names_provider_airflow_and_python(connect: Connect, requests_mock: Mocker) -> None:
    requests_mock.get(f"{FLOWS}/{FLOW_ID}", json=wire_flow())
    connect()
    ViHook().get_flow(FLOW_ID)
    (request,) = requests_mock.request_history
    expected = f"vi-airflow-provider/{__version__} (Airflow {airflow_version}; Python {platform.python_version()})"
    assert request.headers["User-Agent"] == expected


def test_a_hook_has_one_client_until_it_is_closed(connect: Connect) -> None:
    connect()
    hook = ViHook()
    client = hook.get_conn()
    assert hook.get_conn() is client
    hook.close()
    hook.close()
    assert hook.get_conn() is not client


def test_the_asynchronous_client_calls_with_the_same_settings(connect: Connect) -> None:
    async def run() -> str:
        hook = ViHook()
        async with await hook.get_async_conn() as vi:
            assert vi.settings is hook.settings
            assert vi is not await hook.get_async_conn()
            return (await vi.get_flow(FLOW_ID)).flow_id

    with ScriptedServer([Act(http_bytes(200, wire_bytes(wire_flow())))]) as server:
        connect(host=server.url)
        assert asyncio.run(run()) == FLOW_ID
    assert server.received[0].header("Authorization") == f"Bearer {SECRET_KEY}"


# --- calls ---------------------------------------------------------------------------------------------------------


CALLS: Final[dict[str, tuple[Callable[[ViHook], Any], str, Any]]] = {
    "list_flows": (lambda vi: [f.flow_id for f in vi.list_flows(page_size=5)], "GET /flows?s=5", [FLOW_ID]),
    "list_flows, limit": (lambda vi: [f.flow_id for f in vi.list_flows(limit=1)], "GET /flows?s=1", [FLOW_ID]),
    "iter_flow_pages": (
        lambda vi: [f.flow_id for page in vi.iter_flow_pages(page_size=5, page_token="t") for f in page.items],
        *("GET /flows?p=t&s=5", [FLOW_ID]),
    ),
    "list_simple_flows": (
        lambda vi: [f.flow_id for f in vi.list_simple_flows(limit=9)],
        *("GET /simpleFlows?s=9", [FLOW_ID]),
    ),
    "get_flow": (lambda vi: vi.get_flow(FLOW_ID).flow_id, f"GET /flows/{FLOW_ID}", FLOW_ID),
    "flow_exists": (lambda vi: vi.flow_exists(FLOW_ID), f"GET /flows/{FLOW_ID}", True),
    "find_flow": (lambda vi: [vi.find_flow(flow_id=FLOW_ID)] != [None], f"GET /flows/{FLOW_ID}", True),
    "delete_flow": (lambda vi: vi.delete_flow(FLOW_ID).deleted, f"DELETE /flows/{FLOW_ID}", True),
    "create_flow": (
        lambda vi: vi.create_flow(wire_spec(), attributes={"a": "b"}, flow_id=FLOW_ID).flow_id,
        *(f"PUT /flows/{FLOW_ID}", FLOW_ID),
    ),
    "restore_flow": (lambda vi: vi.restore_flow(wire_flow()).flow_id, f"PUT /flows/{FLOW_ID}", FLOW_ID),
    "update_flow": (
        lambda vi: vi.update_flow(FLOW_ID, spec={"name": "n"}, attributes={"a": None}).flow_id,
        *(f"PATCH /flows/{FLOW_ID}", FLOW_ID),
    ),
    "replace_flow": (
        lambda vi: vi.replace_flow(FLOW_ID, wire_spec(), attributes={}).flow_id,
        *(f"PUT /flows/{FLOW_ID}", FLOW_ID),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_of_the_hook_is_one_request(name: str, vi: ViHook, requests_mock: Mocker) -> None:
    call, request, value = CALLS[name]
    assert call(vi) == value
    sent = [f"{r.method} {r.url.partition(ORGANIZATION_ID)[2]}" for r in requests_mock.request_history]
    assert sent == [request]


def test_an_error_of_the_api_comes_through(vi: ViHook, requests_mock: Mocker) -> None:
    requests_mock.patch(f"{FLOWS}/{FLOW_ID}", status_code=500)
    with pytest.raises(ViServerError):
        vi.update_flow(FLOW_ID, attributes={})
