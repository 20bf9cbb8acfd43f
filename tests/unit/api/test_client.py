"""``ViClient`` over HTTP: what requests contain, and which are refused before they are sent."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
from requests_mock import Mocker

from tests.documents import FLOW_ID, ORGANIZATION_ID, SECRET_KEY, wire_bytes, wire_flow, wire_page, wire_spec
from tests.scripted_server import Act, Received, ScriptedServer, http_bytes
from tests.transports import Clock, settings_for
from vi_airflow_provider import __version__
from vi_airflow_provider.api import client
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.errors import (
    ViConfigurationError,
    ViNotFoundError,
    ViTimeoutError,
    ViValidationError,
)

HOST: Final = "https://vi.example"
ROOT: Final = f"{HOST}/workspaces/{ORGANIZATION_ID}"
FLOWS: Final = f"{ROOT}/flows"


# --- refused before any request ------------------------------------------------------------------------------------

BAD_IDS: Final = ("abc\n", "../x", "a/b", "", "a" * 256, "ü", "a b", "a?b", ".", None, 5)
BY_ID: Final[dict[str, Callable[[ViClient, Any], Any]]] = {
    "get_flow": lambda vi, flow_id: vi.get_flow(flow_id),
    "flow_exists": lambda vi, flow_id: vi.flow_exists(flow_id),
    "find_flow": lambda vi, flow_id: vi.find_flow(flow_id=flow_id),
    "delete_flow": lambda vi, flow_id: vi.delete_flow(flow_id),
    "update_flow": lambda vi, flow_id: vi.update_flow(flow_id, attributes={}),
    "replace_flow": lambda vi, flow_id: vi.replace_flow(flow_id, wire_spec()),
    "create_flow": lambda vi, flow_id: vi.create_flow(wire_spec(), flow_id=flow_id),
}


# For create_flow, None is not a bad id: it requests a new one.
BAD_CALLS: Final = [(name, bad) for name in BY_ID for bad in BAD_IDS if (name, bad) != ("create_flow", None)]


@pytest.mark.parametrize(("method", "flow_id"), BAD_CALLS, ids=lambda value: f"{value!r:.12}")
def test_a_bad_flow_id_is_refused_without_a_request(
    method: str, flow_id: Any, vi: ViClient, requests_mock: Mocker
) -> None:
    with pytest.raises(ViValidationError):
        BY_ID[method](vi, flow_id)
    assert requests_mock.call_count == 0


@pytest.mark.parametrize("organization_id", BAD_IDS, ids=lambda value: f"{value!r:.12}")
def test_a_bad_organization_id_is_refused_without_a_request(organization_id: Any, requests_mock: Mocker) -> None:
    with pytest.raises(ViConfigurationError, match=r"^login: "):
        ViClient(settings_for(HOST, organization_id=organization_id)).get_flow("a")
    assert requests_mock.call_count == 0


# --- what a request carries ----------------------------------------------------------------------------------------


def test_a_call_returns_the_document_of_the_server(vi: ViClient, requests_mock: Mocker) -> None:
    wire = wire_flow()
    for register in (requests_mock.get, requests_mock.put, requests_mock.patch):
        register(f"{FLOWS}/{FLOW_ID}", json=wire)
    requests_mock.delete(f"{FLOWS}/{FLOW_ID}", status_code=204)
    assert vi.get_flow(FLOW_ID).to_wire() == wire
    assert vi.replace_flow(FLOW_ID, wire_spec()).to_wire() == wire
    assert vi.create_flow(wire_spec(), flow_id=FLOW_ID).to_wire() == wire
    assert vi.update_flow(FLOW_ID, attributes={"a": None}).to_wire() == wire
    assert vi.delete_flow(FLOW_ID).model_dump() == {"id": FLOW_ID, "deleted": True, "already_absent": False}


def test_a_created_flow_has_a_random_id_of_the_client(vi: ViClient, requests_mock: Mocker) -> None:
    requests_mock.put(re.compile(f"{FLOWS}/"), json=lambda request, _: wire_flow(flowId=request.path.split("/")[-1]))
    for _ in range(2):
        vi.create_flow(wire_spec())
    ids = {request.path.rpartition("/")[2] for request in requests_mock.request_history}
    assert len(ids) == 2
    assert all(
        re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", name) for name in ids
    )


def test_a_missing_flow_is_an_error_that_names_it(vi: ViClient, requests_mock: Mocker) -> None:
    requests_mock.get(f"{FLOWS}/gone", status_code=404, json={"error": "Not Found", "message": "Flow gone not found"})
    with pytest.raises(ViNotFoundError, match=r"/flows/gone: 404 Not Found: Flow gone not found\. Check the id"):
        vi.get_flow("gone")


WRITES: Final[dict[str, tuple[str, Callable[[Any], Any], bytes | None]]] = {
    "GET": ("GET", lambda vi: vi.get_flow(FLOW_ID), None),
    "DELETE": ("DELETE", lambda vi: vi.delete_flow(FLOW_ID), None),
    "PATCH": (
        "PATCH",
        lambda vi: vi.update_flow(FLOW_ID, spec={"name": "größe"}),
        '{"spec":{"name":"größe"}}'.encode(),
    ),
    "PUT": (
        "PUT",
        lambda vi: vi.replace_flow(FLOW_ID, {"name": "größe", "schema": "v1", "blocks": []}, attributes={"a": "é"}),
        '{"spec":{"name":"größe","schema":"v1","tolerations":{},"settings":{},"blocks":[]},'
        '"metadata":{"attributes":{"a":"é"}}}'.encode(),
    ),
}


def _sent(way: str, call: Callable[[Any], Any], **settings: Any) -> Received:
    """Send one request by a client; return it as it arrived."""
    answer = http_bytes(200, wire_bytes(wire_flow()), [("Set-Cookie", "session=stolen; Path=/")])

    async def run() -> None:
        async with AsyncViClient(settings_for(server.url, **settings)) as vi:
            for _ in range(2):
                await call(vi)

    with ScriptedServer([Act(answer)] * 2) as server:
        if way == "AsyncViClient":
            asyncio.run(run())
        else:
            with ViClient(settings_for(server.url, **settings)) as vi:
                for _ in range(2):
                    call(vi)
    first, second = server.received
    assert second == first, "a client remembers nothing between two calls, no cookie either"
    return first


@pytest.mark.parametrize("way", ["ViClient", "AsyncViClient"])
@pytest.mark.parametrize("name", WRITES)
def test_headers_and_body_are_those_of_the_contract(name: str, way: str) -> None:
    method, call, body = WRITES[name]
    request = _sent(way, call)
    assert (request.method, request.target) == (method, f"/workspaces/{ORGANIZATION_ID}/flows/{FLOW_ID}")
    assert request.body == (body or b"")
    headers = {key.lower(): value for key, value in request.headers}
    assert len(headers) == len(request.headers), "a header twice"
    assert re.fullmatch(r"127\.0\.0\.1:\d+", headers.pop("host"))
    assert headers.pop("connection", "keep-alive") == "keep-alive"
    assert headers.pop("content-length", "0") == str(len(body or b""))
    assert headers == {
        "authorization": f"Bearer {SECRET_KEY}",
        "organization-id": ORGANIZATION_ID,
        "accept": "application/json",
        "accept-encoding": "gzip, deflate",
        "content-type": "application/json",
        "user-agent": headers["user-agent"],
    }
    assert re.fullmatch(rf"vi-airflow-provider/{re.escape(__version__)} \(Python 3\.\d+\.\d+\)", headers["user-agent"])


@pytest.mark.parametrize("way", ["ViClient", "AsyncViClient"])
def test_a_netrc_file_does_not_replace_the_key(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert _sent(way, WRITES["GET"][1]).header("Authorization") == f"Bearer {SECRET_KEY}"


@pytest.mark.parametrize("way", ["ViClient", "AsyncViClient"])
def test_the_path_of_the_endpoint_is_kept(way: str) -> None:
    async def run(url: str) -> None:
        async with AsyncViClient(settings_for(url)) as vi:
            await vi.get_flow(FLOW_ID)

    with ScriptedServer([Act(http_bytes(200, wire_bytes(wire_flow())))]) as server:
        if way == "AsyncViClient":
            asyncio.run(run(f"{server.url}/gateway/v1/"))
        else:
            ViClient(settings_for(f"{server.url}/gateway/v1/")).get_flow(FLOW_ID)
    assert server.received[0].target == f"/gateway/v1/workspaces/{ORGANIZATION_ID}/flows/{FLOW_ID}"


@pytest.mark.parametrize("way", ["ViClient", "AsyncViClient"])
def test_a_cursor_arrives_as_it_was_given(way: str) -> None:
    cursor = "tok/2 =&+?#ü%2F"

    async def run(url: str) -> None:
        async with AsyncViClient(settings_for(url)) as vi:
            assert [flow async for flow in vi.list_flows()] == []

    pages = [wire_page(nextPage=cursor), wire_page()]
    with ScriptedServer([Act(http_bytes(200, wire_bytes(page))) for page in pages]) as server:
        if way == "AsyncViClient":
            asyncio.run(run(server.url))
        else:
            assert list(ViClient(settings_for(server.url)).list_flows()) == []
    assert parse_qs(urlsplit(server.received[1].target).query) == {"p": [cursor], "s": ["100"]}


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/v2/flow?x=1&y=%2F", "/v2/flow?x=1&y=%2F"),
        ("/v2/a b", "/v2/a%20b"),
        ('/v2/"<>', "/v2/%22%3C%3E"),
        ("?x=1", f"/workspaces/{ORGANIZATION_ID}/flows/{FLOW_ID}?x=1"),
        ("../runs", f"/workspaces/{ORGANIZATION_ID}/runs"),
    ],
)
def test_both_clients_follow_a_redirect_to_the_same_place(location: str, target: str) -> None:
    redirect = Act(http_bytes(302, b"", [("Location", location)]))
    flow = Act(http_bytes(200, wire_bytes(wire_flow())))

    async def run(url: str) -> None:
        async with AsyncViClient(settings_for(url)) as vi:
            await vi.get_flow(FLOW_ID)

    with ScriptedServer([redirect, flow] * 2) as server:
        asyncio.run(run(server.url))
        with ViClient(settings_for(server.url)) as vi:
            vi.get_flow(FLOW_ID)
    assert [server.received[1].target, server.received[3].target] == [target, target]
    assert {request.header("Authorization") for request in server.received} == {f"Bearer {SECRET_KEY}"}


def test_both_clients_read_pages_and_ids_alike() -> None:
    script = [
        wire_page(wire_flow(flowId="a"), nextPage="2"),
        wire_page(wire_flow(flowId="b")),
        wire_page({"flowId": "c"}),
    ]
    acts = [Act(http_bytes(200, wire_bytes(page))) for page in script]

    async def run(url: str) -> list[Any]:
        async with AsyncViClient(settings_for(url)) as vi:
            pages = [page async for page in vi.iter_flow_pages(page_size=5, page_token="t")]
            return [*pages, *[flow async for flow in vi.list_simple_flows(limit=1)]]

    with ScriptedServer(acts) as server, ViClient(settings_for(server.url)) as vi:
        found = [*vi.iter_flow_pages(page_size=5, page_token="t"), *vi.list_simple_flows(limit=1)]
    with ScriptedServer(acts) as other:
        assert asyncio.run(run(other.url)) == found
    assert [request.target for request in other.received] == [request.target for request in server.received]


def test_an_endless_body_ends_at_the_deadline(requests_mock: Mocker, monkeypatch: pytest.MonkeyPatch) -> None:
    class Drip(BytesIO):
        def read1(self, _: int | None = -1) -> bytes:
            clock.now += 1
            return b" "

    clock = Clock()
    monkeypatch.setattr(client, "time", clock)
    monkeypatch.setattr(clock, "monotonic", clock, raising=False)
    requests_mock.get(f"{FLOWS}/{FLOW_ID}", body=Drip())
    vi = ViClient(settings_for(HOST, retry_budget=50, max_retries=0))
    with pytest.raises(ViTimeoutError, match="no complete response in time: the response was still arriving"):
        vi.get_flow(FLOW_ID)
    assert 1049 < clock.now <= 1051


# --- life of a client ----------------------------------------------------------------------------------------------


def test_making_a_client_sends_nothing(requests_mock: Mocker) -> None:
    ViClient(settings_for(HOST)).close()
    AsyncViClient(settings_for(HOST))
    assert requests_mock.call_count == 0


def test_an_asynchronous_client_can_be_closed_twice_and_used_again() -> None:
    async def run(url: str) -> None:
        vi = AsyncViClient(settings_for(url))
        await vi.close()
        for _ in range(2):
            await vi.get_flow(FLOW_ID)
            await vi.close()

    with ScriptedServer([Act(http_bytes(200, wire_bytes(wire_flow())))] * 2) as server:
        asyncio.run(run(server.url))
    assert len(server.received) == 2
