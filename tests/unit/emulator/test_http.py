"""The wire: status, headers and bodies over a real socket."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.unit.emulator.support import Client, ClientFactory
from vi_airflow_provider.emulator import Emulator

ERRORS: list[tuple[str, str, Any, int, str, str]] = [
    ("GET", "/flows/nope", None, 404, "Not Found", "Flow nope not found"),
    ("DELETE", "/flows/nope", None, 404, "Not Found", "Flow nope not found"),
    ("PATCH", "/flows/nope", {}, 404, "Not Found", "Flow nope not found"),
    ("GET", "/flows/a%20b", None, 400, "Bad Request", "Flow id must be 1 to 255 letters, digits, '-' or '_'"),
    ("PUT", "/flows/a%0A", {"spec": {}}, 400, "Bad Request", "Flow id must be 1 to 255 letters, digits, '-' or '_'"),
    ("GET", "/runs/nope", None, 404, "Not Found", "Run nope not found"),
    ("DELETE", "/runs/nope", None, 404, "Not Found", "Run nope not found"),
    ("PUT", "/flows/f1", {}, 400, "Bad Request", "spec is required"),
    ("PUT", "/flows/f1", [], 400, "Bad Request", "The body must be a JSON object"),
    ("PATCH", "/flows/f1", {"kind": "Flow"}, 400, "Bad Request", "kind is not a known field"),
    ("GET", "/flows?s=0", None, 400, "Bad Request", "s must be a positive integer"),
    ("GET", "/flows?s=-1", None, 400, "Bad Request", "s must be a positive integer"),
    ("GET", "/flows?s=ten", None, 400, "Bad Request", "s must be a positive integer"),
    ("GET", "/flows?s=", None, 400, "Bad Request", "s must be a positive integer"),
    ("GET", "/flows?p=", None, 400, "Bad Request", "p is not a page cursor of flows"),
    ("GET", "/runs?p=https://x/y", None, 400, "Bad Request", "p is not a page cursor of runs"),
    ("GET", "/nothing", None, 404, "Not Found", "No such resource"),
    ("GET", "/flows/", None, 404, "Not Found", "No such resource"),
    ("GET", "//", None, 404, "Not Found", "No such resource"),
    ("GET", "//workspaces", None, 404, "Not Found", "No such resource"),
    ("POST", "/flows", {}, 405, "Method Not Allowed", "POST is not allowed here"),
    ("POST", "/flows/f1", {}, 405, "Method Not Allowed", "POST is not allowed here"),
    ("DELETE", "/simpleFlows", None, 405, "Method Not Allowed", "DELETE is not allowed here"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "error", "message"), ERRORS)
def test_errors_are_json_with_a_specific_message(
    client: Client, method: str, path: str, body: Any, status: int, error: str, message: str
) -> None:
    response = client(method, path, body)
    assert (response.status, response.json) == (status, {"error": error, "message": message})
    assert response.headers["content-type"] == "application/json"


def test_405_lists_the_allowed_methods(client: Client) -> None:
    allowed = client("POST", "/flows/f1", {}).headers["allow"]
    assert {name.strip() for name in allowed.split(",")} == {"GET", "HEAD", "PUT", "PATCH", "DELETE"}


@pytest.mark.parametrize("path", ["/flows", "/flows/nope", "/nothing", "//", "//workspaces/other/flows"])
@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer dtvi_wrong", "Basic abc", "é"])
def test_every_path_without_the_key_is_a_401(client: Client, path: str, authorization: str | None) -> None:
    response = client("GET", path, headers={"Authorization": authorization})
    assert (response.status, response.json["error"]) == (401, "Unauthorized")


def test_key_with_a_suffix_is_refused(client: Client) -> None:
    response = client("GET", "/flows", headers={"Authorization": client.headers["Authorization"] + "x"})
    assert response.status == 401


@pytest.mark.parametrize(
    ("path", "organization"),
    [("/flows", None), ("/flows", "other"), ("//workspaces/other/flows", "other"), ("//workspaces/other", "other")],
)
def test_other_organization_is_a_403(client: Client, path: str, organization: str | None) -> None:
    assert client("GET", path, headers={"Organization-Id": organization}).status == 403


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/flows"), ("GET", "/flows/nope"), ("POST", "/flows"), ("GET", "//_emulator/health")]
)
def test_every_response_has_a_unique_trace_id(client: Client, method: str, path: str) -> None:
    traces = {client(method, path).headers["x-cloud-trace-context"] for _ in range(2)}
    assert len(traces) == 2
    assert all(re.fullmatch(r"[0-9a-f]{32}/\d+;o=1", trace) for trace in traces)


def test_organization_document_is_served(client: Client, emulator: Emulator) -> None:
    assert client("GET", "").json["workspaceId"] == emulator.organization_id


def test_flow_life_cycle_over_http(client: Client, spec: dict[str, Any]) -> None:
    created = client("PUT", "/flows/f1", {"spec": spec, "kind": "x", "metadata": {"attributes": {"a": "b"}}})
    assert created.status == 200
    assert created.json["spec"] == spec
    assert client("GET", "/flows/f1").json == created.json
    patched = client("PATCH", "/flows/f1", {"metadata": {"attributes": {"a": None}}}).json
    assert patched["metadata"]["attributes"] == {}
    deleted = client("DELETE", "/flows/f1")
    assert (deleted.status, deleted.body) == (204, b"")
    assert client("GET", "/flows/f1").status == 404


def test_text_is_utf_8_and_not_escaped(client: Client, spec: dict[str, Any]) -> None:
    client("PUT", "/flows/f1", {"spec": spec})
    assert "Schweißnaht 溶接".encode() in client("GET", "/flows/f1").body


def test_run_life_cycle_over_http(client: Client, spec: dict[str, Any]) -> None:
    created = client("PUT", "/runs/r1", {"spec": {"flow": spec}})
    assert created.status == 200
    assert created.json["status"]["observedGeneration"] == 1
    assert client("DELETE", "/runs/r1").status == 409
    now = created.json["metadata"]["timeCreated"]
    assert client("PATCH", "/runs/r1", {"spec": {"killedAt": now}}).json["spec"]["killedAt"] == now
    assert client("PATCH", "/runs/r1", {"spec": {"killedAt": now}}).status == 409
    assert client("GET", "/simpleRuns").json["items"] == [{"runId": "r1", "name": spec["name"]}]
    assert client("GET", "/runs").json["items"] == [client("GET", "/runs/r1").json]
    assert client("DELETE", "/runs/r1").status == 204


def test_a_busy_flow_is_not_deleted(client: Client, emulator: Emulator) -> None:
    emulator.reset(flows=10)
    (busy,) = emulator.store.busy_flow_ids()
    response = client("DELETE", f"/flows/{busy}")
    assert (response.status, response.json["error"]) == (409, "Conflict")


class TestPages:
    @pytest.mark.parametrize(("flows", "size", "lengths"), [(0, 3, [0]), (3, 3, [3]), (7, 3, [3, 3, 1]), (2, 5, [2])])
    def test_end_with_a_null_cursor(
        self, client: Client, emulator: Emulator, flows: Any, size: int, lengths: list[int]
    ) -> None:
        emulator.reset(flows=flows)
        pages = list(client.pages(size=size))
        assert [len(page["items"]) for page in pages] == lengths
        assert pages[-1]["nextPage"] is None
        assert [flow["flowId"] for page in pages for flow in page["items"]] == emulator.store.flow_ids()

    def test_have_ten_items_by_default(self, client: Client, emulator: Emulator) -> None:
        emulator.reset(flows=12)
        assert len(client("GET", "/flows").json["items"]) == 10

    @pytest.mark.parametrize("size", ["6", "1000", "9" * 5000])
    def test_never_exceed_the_cap(self, client: Client, emulator: Emulator, size: int) -> None:
        emulator.reset(flows=12, page_cap=5)
        assert len(client("GET", f"/flows?s={size}").json["items"]) == 5

    def test_respect_a_cap_below_the_default_size(self, client: Client, emulator: Emulator) -> None:
        emulator.reset(flows=12, page_cap=5)
        assert len(client("GET", "/flows").json["items"]) == 5

    def test_ignore_unknown_query_keys(self, client: Client, emulator: Emulator) -> None:
        emulator.reset(flows=3)
        assert len(client("GET", "/flows?pageSize=1&filter=x&s=2").json["items"]) == 2

    def test_of_the_simple_listing_contain_ids_and_names(self, client: Client, emulator: Emulator) -> None:
        emulator.reset(flows=3)
        expected = [{"flowId": id_, "name": emulator.store.get_flow(id_)["spec"]["name"]}
                    for id_ in emulator.store.flow_ids()]  # fmt: skip
        assert [item for page in client.pages("/simpleFlows", size=2) for item in page["items"]] == expected

    def test_refuse_the_cursor_of_another_listing(self, client: Client, emulator: Emulator) -> None:
        emulator.reset(flows=3)
        cursor = client("GET", "/flows?s=1").json["nextPage"]
        assert client("GET", f"/simpleFlows?p={cursor}").status == 400

    def test_repeat_no_flow_while_others_delete_and_create(self, client: Client, emulator: Emulator) -> None:
        emulator.reset(flows=60)
        before, seen = set(emulator.store.flow_ids()), []
        for number, page in enumerate(client.pages(size=7)):
            seen += [flow["flowId"] for flow in page["items"]]
            emulator.store.create_flows(2)
            emulator.store.delete_flow(seen[0] if number == 0 else seen[-1]) if number < 3 else None
        assert len(seen) == len(set(seen))
        assert before - set(seen) == set()


class TestRequestLog:
    def test_contains_a_request_once_its_client_has_the_response(self, client: Client, emulator: Emulator) -> None:
        client("GET", "/flows?p=x&s=3")
        (request,) = emulator.requests
        assert (request.method, request.path, request.status) == ("GET", f"{client.root}/flows", 400)
        assert request.query == "p=x&s=3"
        assert request.params == {"p": "x", "s": "3"}
        assert request.ms is not None

    def test_never_contains_the_key(self, client: Client, emulator: Emulator) -> None:
        key = emulator.secret_key
        client("GET", f"/flows/{key}?key={key}", headers={"User-Agent": f"agent {key}", "X-Key": key})
        log = client("GET", "//_emulator/requests").body.decode()
        assert "agent <secret key>" in log
        assert "dtvi_" not in log
        assert "authorization" not in log.lower()

    @pytest.mark.parametrize("mark", ["-", "%", "+", '"', "\\", "'", "&<>"])
    def test_key_is_neither_in_the_log_nor_in_an_error(self, client_of: ClientFactory, mark: str) -> None:
        key = f"dtvi_{(mark * 98)[:94]}zqzq"
        with Emulator(flows=0, secret_key=key) as emulator:
            client, encoded = client_of(emulator), "".join(f"%{ord(character):02x}" for character in key)
            known = quote(key, safe="")
            texts = []
            for spelling in {encoded, encoded.upper().replace("%25", "%"), known, quote(known), quote(encoded)}:
                for path in ("/flows/{}", "/flows?key={}", "/{}", "/runs/{}/logs", "//org/{}"):
                    texts.append(client("GET", path.format(spelling), headers={"User-Agent": spelling}).body)
            texts.append(client("GET", f"//org/{emulator.organization_id}/flows/{known}").body)
            texts.append(client("POST", "//_emulator/reset", {key: 1}).body)
            texts.append(client("PUT", "/flows/f1", {key: 1}).body)
            texts.append(client("GET", "//_emulator/requests").body)
        text = b"".join(texts).decode()
        assert "<secret key>" in text
        assert "zqzq" not in text
        assert quote("zqzq") not in text
        assert "%7a%71%7a%71" not in text.lower().replace("%25", "%")

    def test_error_in_which_the_key_is_redacted_is_whole(self, client: Client, emulator: Emulator) -> None:
        response = client("GET", f"/flows/{emulator.secret_key}")
        assert (response.status, response.json["message"]) == (404, "Flow <secret key> not found")
        assert int(response.headers["content-length"]) == len(response.body)

    def test_excludes_the_control_api(self, client: Client, emulator: Emulator) -> None:
        client("GET", "//_emulator/health")
        assert emulator.requests == []

    def test_can_be_cleared(self, client: Client, emulator: Emulator) -> None:
        client("GET", "/flows")
        emulator.clear_requests()
        assert emulator.requests == []


def test_bug_in_the_emulator_is_a_500(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vi_airflow_provider.emulator.store.listing.Listing.page", lambda *_, **__: 1 / 0)
    response = client("GET", "/flows")
    assert (response.status, response.json["message"]) == (500, "The emulator failed: ZeroDivisionError")


@pytest.mark.parametrize("state", [False, True], ids=["memory", "state file"])
def test_changes_behave_the_same_with_a_state_file(
    tmp_path: Path, client_of: ClientFactory, spec: dict[str, Any], state: bool
) -> None:
    with Emulator(flows=0, state=tmp_path / "vi.json" if state else None) as emulator:
        client = client_of(emulator)
        assert client("PUT", "/flows/f1", {"spec": spec}).status == 200
        assert client("PATCH", "/flows/f1", {"spec": {"name": 5}}).status == 400
        assert client("DELETE", "/flows/f1").status == 204
        assert client("DELETE", "/flows/f1").status == 404
