"""Faults as a client meets them: on a real socket."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import time
from collections.abc import Iterable
from typing import Any

import pytest

from tests.unit.emulator.support import Client, ClientFactory
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.emulator.fault_rules import When


def raw(client: Client, method: str, path: str, body: bytes = b"") -> socket.socket:
    """A connection on which one request was sent and nothing read."""
    host, _, port = client.address.partition(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    lines = [f"{method} {client.root}{path} HTTP/1.1", f"Host: {client.address}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in client.headers.items()]
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
    return connection


class TestReplacedResponses:
    @pytest.mark.parametrize("status", [200, 302, 404, 418, 429, 500, 503, 520, 599])
    def test_have_the_status_for_the_given_number_of_times(
        self, client: Client, emulator: Emulator, status: int
    ) -> None:
        emulator.faults.add(status=status, times=2)
        statuses = [client("GET", "/flows").status for _ in range(3)]
        assert statuses == [status, status, 200]
        assert [request.status for request in emulator.requests] == statuses

    def test_are_ordinary_errors_by_default(self, client: Client, emulator: Emulator) -> None:
        emulator.faults.add(status=503)
        response = client("GET", "/flows")
        assert response.json == {"error": "Service Unavailable", "message": "Injected by a fault rule"}
        assert response.headers["content-type"] == "application/json"
        assert response.headers["x-cloud-trace-context"]

    @pytest.mark.parametrize("value", ["3", "-1", "soon", "Wed, 21 Oct 2026 07:28:00 GMT", ""])
    def test_carry_retry_after_verbatim(self, client: Client, emulator: Emulator, value: Any) -> None:
        emulator.faults.add(status=429, retry_after=value)
        assert client("GET", "/flows").headers["retry-after"] == value

    def test_carry_body_headers_and_content_type_verbatim(self, client: Client, emulator: Emulator) -> None:
        page = "<html>Zugriff verweigert: Größe</html>"
        emulator.faults.add(status=200, body=page, content_type="text/html", headers={"Via": "1.1 proxy"})
        response = client("GET", "/flows")
        assert response.body.decode() == page
        assert (response.headers["content-type"], response.headers["via"]) == ("text/html", "1.1 proxy")

    @pytest.mark.parametrize("status", [204, 304])
    def test_without_content_have_no_body(self, client: Client, emulator: Emulator, status: int) -> None:
        emulator.faults.add(status=status)
        response = client("GET", "/flows")
        assert (response.status, response.body) == (status, b"")

    @pytest.mark.parametrize(("rule", "status"), [({}, 307), ({"when": "after"}, 307), ({"status": 303}, 303)])
    def test_can_be_redirects(self, client: Client, emulator: Emulator, rule: dict[str, Any], status: int) -> None:
        emulator.faults.add(redirect="http://elsewhere.invalid/x", **rule)
        response = client("GET", "/flows")
        assert (response.status, response.headers["location"]) == (status, "http://elsewhere.invalid/x")

    def test_come_before_authentication(self, client: Client, emulator: Emulator) -> None:
        emulator.faults.add(status=503)
        assert client("GET", "/flows", headers={"Authorization": None}).status == 503

    @pytest.mark.parametrize(("when", "is_there"), [("before", False), ("after", True)])
    @pytest.mark.parametrize("effect", [{"status": 502}, {"drop": True}])
    def test_do_not_reveal_whether_the_change_was_made(
        self,
        client: Client,
        emulator: Emulator,
        spec: dict[str, Any],
        when: When,
        is_there: bool,
        effect: dict[str, Any],
    ) -> None:
        emulator.faults.add(method="PUT", when=when, **effect)
        try:
            assert client("PUT", "/flows/f1", {"spec": spec}).status == 502
        except ConnectionResetError:
            assert "drop" in effect
        assert ("f1" in emulator.store.flow_ids()) == is_there


class TestBrokenConnections:
    def test_are_reset_rather_than_closed(self, client: Client, emulator: Emulator) -> None:
        emulator.faults.add(drop=True)
        with raw(client, "GET", "/flows") as connection, pytest.raises(ConnectionResetError):
            connection.recv(1)
        (request,) = emulator.requests
        assert request.status is None
        assert client("GET", "/flows").status == 200

    def test_can_be_connections_that_were_used_before(self, client: Client, emulator: Emulator) -> None:
        emulator.faults.add(drop=True, skip=1)
        connection = http.client.HTTPConnection(client.address, timeout=10)
        connection.request("GET", client.root, headers=client.headers)
        assert connection.getresponse().read()
        connection.request("GET", client.root, headers=client.headers)
        with pytest.raises(ConnectionResetError):
            connection.getresponse()
        connection.close()

    def test_can_announce_a_whole_body_and_send_half(self, client: Client, emulator: Emulator) -> None:
        whole = client("GET", "").body
        emulator.faults.add(truncate=True)
        with pytest.raises(http.client.IncompleteRead) as caught:
            client("GET", "")
        assert caught.value.partial == whole[: len(whole) // 2]
        assert caught.value.expected == len(whole) - len(caught.value.partial)

    def test_can_truncate_a_replaced_response(self, client: Client, emulator: Emulator) -> None:
        emulator.faults.add(status=500, body="0123456789", truncate=True)
        with pytest.raises(http.client.IncompleteRead) as caught:
            client("GET", "")
        assert caught.value.partial == b"01234"

    @pytest.mark.parametrize("rule", [{"truncate": True}, {"drip_ms": 0}])
    def test_do_not_affect_an_empty_response(
        self, client: Client, emulator: Emulator, spec: dict[str, Any], rule: dict[str, Any]
    ) -> None:
        client("PUT", "/flows/f1", {"spec": spec})
        emulator.faults.add(method="DELETE", **rule)
        assert client("DELETE", "/flows/f1").status == 204

    def test_can_drip_a_body_byte_by_byte(self, client: Client, emulator: Emulator) -> None:
        whole = client("GET", "").body
        emulator.faults.add(drip_ms=0)
        assert client("GET", "").body == whole

    def test_stop_dripping_when_the_client_disconnects(self, client: Client, emulator: Emulator) -> None:
        emulator.faults.add(drip_ms=60_000)
        with raw(client, "GET", "/flows") as connection:
            received = b""
            while b"\r\n\r\n{" not in received:
                received += connection.recv(1000)
        assert received.endswith(b"\r\n\r\n{")


class TestLatency:
    def test_of_a_rule_passes_before_the_response(self, client: Client, emulator: Emulator) -> None:
        emulator.faults.add(latency_ms=50)
        started = time.perf_counter()
        client("GET", "")
        assert time.perf_counter() - started >= 0.05

    def test_of_the_emulator_passes_before_every_response(self, client: Client, emulator: Emulator) -> None:
        emulator.reset(latency_ms=20)
        started = time.perf_counter()
        for _ in range(3):
            client("GET", "")
        assert time.perf_counter() - started >= 0.06
        client("GET", "//_emulator/health")

    @pytest.mark.parametrize(("when", "is_there"), [("before", False), ("after", True)])
    def test_can_outlast_the_client_before_or_after_the_change(
        self, client: Client, emulator: Emulator, spec: dict[str, Any], when: When, is_there: bool
    ) -> None:
        emulator.faults.add(method="PUT", latency_ms=60_000, when=when)
        body = json.dumps({"spec": spec}).encode()
        with raw(client, "PUT", "/flows/f1", body) as connection:
            client("GET", "")  # by now the first request was taken up
            connection.settimeout(0.05)
            with pytest.raises(TimeoutError):
                connection.recv(1)
        assert ("f1" in emulator.store.flow_ids()) == is_there


class TestOtherDocuments:
    def test_replace_the_requested_flow_or_run(self, client: Client, emulator: Emulator, spec: dict[str, Any]) -> None:
        emulator.reset(flows=3)
        flow_id = emulator.store.flow_ids()[0]
        for run_id in ("r1", "r2"):
            client("PUT", f"/runs/{run_id}", {"spec": {"flow": spec}})
        emulator.faults.add(other_document=True, times=2)
        assert client("GET", f"/flows/{flow_id}").json["flowId"] != flow_id
        assert client("GET", "/runs/r1").json["runId"] == "r2"
        assert client("GET", f"/flows/{flow_id}").json["flowId"] == flow_id

    @pytest.mark.parametrize("path", ["/flows", "", "/flows/nope", "/flows/f1", "/quota"])
    def test_need_a_document_and_another_one(
        self, client: Client, emulator: Emulator, spec: dict[str, Any], path: str
    ) -> None:
        client("PUT", "/flows/f1", {"spec": spec})
        before = client("GET", path).json
        emulator.faults.add(other_document=True)
        assert client("GET", path).json == before


class TestAlteredPages:
    @pytest.fixture(autouse=True)
    def flows(self, emulator: Emulator) -> list[str]:
        emulator.reset(flows=9)
        return emulator.store.flow_ids()

    def ids(self, pages: Iterable[dict[str, Any]]) -> list[str]:
        return [flow["flowId"] for page in pages for flow in page["items"]]

    @pytest.mark.parametrize("skip", [0, 1, 3])
    @pytest.mark.parametrize("times", [1, 3])
    def test_can_be_empty_without_losing_items(
        self, client: Client, emulator: Emulator, flows: Any, skip: int, times: int
    ) -> None:
        emulator.faults.add(empty_page=True, skip=skip, times=times)
        pages = list(client.pages(size=3))
        cursors = [page["nextPage"] for page in pages]
        assert self.ids(pages) == flows
        assert len(set(cursors)) == len(cursors)
        assert [len(page["items"]) for page in pages].count(0) == (times if skip < 3 else 0)

    def test_can_repeat_their_cursor(self, client: Client, emulator: Emulator) -> None:
        emulator.faults.add(repeat_cursor=True)
        first = client("GET", "/flows?s=3").json
        again = client("GET", f"/flows?s=3&p={first['nextPage']}").json
        assert again["nextPage"] == first["nextPage"]
        assert again["items"] != first["items"]
        assert client("GET", f"/flows?s=3&p={first['nextPage']}").json["nextPage"] != first["nextPage"]

    def test_that_are_not_pages_stay_unchanged(self, client: Client, emulator: Emulator, flows: Any) -> None:
        emulator.faults.add(empty_page=True, times=None)
        assert client("GET", f"/flows/{flows[0]}").json["flowId"] == flows[0]
        assert client("GET", "/flows", headers={"Authorization": None}).status == 401
        assert client("GET", "/simpleFlows").json["items"] == []

    def test_can_change_between_requests(self, client: Client, emulator: Emulator, flows: Any) -> None:
        emulator.faults.add(path="/flows$", skip=1, times=2, create_flows=2, delete_flows=1)
        seen = self.ids(client.pages(size=2))
        deleted = set(flows) - set(emulator.store.flow_ids())
        assert len(emulator.store.flow_ids()) == 9 + 2 * (2 - 1)
        assert len(seen) == len(set(seen))
        assert set(flows) - deleted <= set(seen) <= set(flows)


@pytest.mark.parametrize("rule", [{"latency_ms": 60_000}, {"latency_ms": 60_000, "when": "after"}, {"drip_ms": 60_000}])
def test_stopping_does_not_wait_for_requests_in_flight(
    client_of: ClientFactory, caplog: pytest.LogCaptureFixture, rule: dict[str, Any]
) -> None:
    with Emulator() as emulator:
        client = client_of(emulator)
        emulator.faults.add(**rule)
        connection = raw(client, "GET", "/flows")
        client("GET", "//_emulator/health")
        started = time.perf_counter()
    assert time.perf_counter() - started < 5
    connection.close()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
