from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.unit.emulator.support import Client, ClientFactory
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.emulator.backend import Backend
from vi_airflow_provider.emulator.http.control import create_control
from vi_airflow_provider.emulator.settings import DEFAULT_ORGANIZATION_ID


def test_health_needs_no_key_and_shows_none(client: Client, emulator: Emulator) -> None:
    emulator.reset(flows=20, latency_ms=0, page_cap=7)
    response = client("GET", "//_emulator/health", headers={"Authorization": None, "Organization-Id": None})
    assert response.json == {
        "status": "ok",
        "organizationId": emulator.organization_id,
        "flows": 20,
        "busyFlows": emulator.store.busy_flow_ids(),
        "latencyMs": 0,
        "pageCap": 7,
    }
    assert b"dtvi_" not in response.body


def test_faults_are_added_listed_and_cleared(client: Client) -> None:
    rule = {"method": "GET", "path": "/flows", "times": 2, "status": 503, "retry_after": "1"}
    added = client("POST", "//_emulator/faults", rule)
    assert (added.status, added.json) == (201, {"id": added.json["id"], "rule": rule, "matched": 0, "fired": 0})
    assert client("GET", "/flows").status == 503
    assert client("GET", "//_emulator/faults").json == {"faults": [{**added.json, "matched": 1, "fired": 1}]}
    assert client("DELETE", "//_emulator/faults").status == 204
    assert client("GET", "/flows").status == 200


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("faults", {"status": 1}, "status must be from 200 to 599"),
        ("faults", {"stats": 1}, "unknown fault field 'stats'"),
        ("faults", b"{", "The body is not valid JSON"),
        ("reset", {"port": 1}, "unknown setting 'port'"),
        ("reset", {"secret_key": "x"}, "unknown setting 'secret_key'"),
        ("reset", {"flows": "x"}, "flows must be an integer"),
        ("reset", {"flows": True}, "flows must be an integer"),
        ("reset", {"flows": -1}, "flows must not be negative"),
        ("reset", {"latency_ms": "1"}, "latency_ms must be a number"),
        ("flows", {}, "the body must be"),
        ("flows", {"count": -1, "seed": 1}, "the body must be"),
        ("flows", {"count": 1, "seed": 1, "x": 1}, "the body must be"),
    ],
)
def test_invalid_requests_are_a_400(client: Client, path: str, body: Any, message: str) -> None:
    response = client("POST", f"//_emulator/{path}", body)
    assert response.status == 400
    assert response.json["message"].startswith(message)


def test_requests_are_listed_and_cleared(client: Client) -> None:
    client("GET", "/flows?s=3", headers={"User-Agent": "me"})
    (request,) = client("GET", "//_emulator/requests").json["requests"]
    assert request.pop("ms") >= 0
    assert request == {
        "method": "GET",
        "path": f"{client.root}/flows",
        "query": "s=3",
        "headers": {
            "accept-encoding": "identity",
            "user-agent": "me",
            "organization-id": client.headers["Organization-Id"],
        },
        "status": 200,
    }
    assert client("DELETE", "//_emulator/requests").status == 204
    assert client("GET", "//_emulator/requests").json == {"requests": []}


def test_reset_replaces_flows_and_clears_faults_and_requests(client: Client, emulator: Emulator) -> None:
    emulator.faults.add(status=503, times=None)
    client("GET", "/flows")
    assert client("POST", "//_emulator/reset", {"flows": 12, "seed": 3, "latency_ms": 1.5}).json["flows"] == 12
    assert emulator.requests == []
    assert emulator.faults.rules() == []
    first = emulator.store.flow_ids()
    client("POST", "//_emulator/reset", {"flows": 12, "seed": 4})
    assert emulator.store.flow_ids() != first
    assert client("POST", "//_emulator/reset").json == {**client("GET", "//_emulator/health").json, "flows": 0}


def test_sample_flows_can_be_added(client: Client, emulator: Emulator) -> None:
    added = client("POST", "//_emulator/flows", {"count": 3, "seed": 5})
    assert added.status == 201
    assert sorted(added.json["flowIds"]) == sorted(emulator.store.flow_ids())
    assert client("POST", "//_emulator/flows", {"count": 3, "seed": 5}).status == 409


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "nothing", 404), ("PUT", "faults", 405)])
def test_unknown_control_requests_are_refused(client: Client, method: str, path: str, status: int) -> None:
    assert client(method, f"//_emulator/{path}").status == status


def test_web_pages_are_refused(client: Client, emulator: Emulator) -> None:
    emulator.reset(flows=3)
    assert client("POST", "//_emulator/reset", headers={"Origin": "https://page.example"}).status == 403
    assert len(emulator.store.flow_ids()) == 3


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("rebound.attacker.example", 403),
        ("rebound.attacker.example:8321", 403),
        ("localhost.attacker.example", 403),
        ("127.0.0.1.attacker.example", 403),
        ("192.0.2.7", 403),
        ("[2001:db8::1]:80", 403),
        ("", 403),
        ("localhost", 200),
        ("LOCALHOST:8321", 200),
        ("127.9.9.9:8321", 200),
        ("[::1]:8321", 200),
    ],
)
def test_name_that_leads_here_by_dns_rebinding_is_refused(client: Client, host: str, status: int) -> None:
    for path in ("//_emulator/requests", f"//org/{DEFAULT_ORGANIZATION_ID}"):
        assert client("GET", path, headers={"Host": host}).status == status
    assert client("GET", "/flows", headers={"Host": host}).status == 200


def test_host_that_the_server_listens_on_is_accepted(client_of: ClientFactory) -> None:
    with Emulator(flows=0, host="0.0.0.0") as emulator:  # noqa: S104
        client = client_of(emulator)
        for host, status in (("0.0.0.0:1", 200), ("10.0.0.1", 403), ("localhost", 200)):
            assert client("GET", "//_emulator/health", headers={"Host": host}).status == status


@pytest.mark.parametrize("address", [("192.0.2.7", 4000), ("fe80::1", 4000), None])
def test_other_machines_are_refused(address: Any) -> None:
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": "/_emulator/health", "headers": [], "client": address}

    async def request() -> None:
        await create_control(Backend())(scope, receive, send)

    asyncio.run(request())
    assert messages[0]["status"] == 403
    assert json.loads(messages[1]["body"])["error"] == "Forbidden"
