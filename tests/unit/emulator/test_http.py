"""The wire: status, headers and bodies over a real socket."""

from __future__ import annotations

import re

import pytest

ERRORS = [
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
def test_errors_are_json_with_the_message_of_the_matter(client, method, path, body, status, error, message):
    answer = client(method, path, body)
    assert (answer.status, answer.json) == (status, {"error": error, "message": message})
    assert answer.headers["content-type"] == "application/json"


def test_a_405_names_the_methods_that_are_allowed(client):
    allowed = client("POST", "/flows/f1", {}).headers["allow"]
    assert {name.strip() for name in allowed.split(",")} == {"GET", "HEAD", "PUT", "PATCH", "DELETE"}


@pytest.mark.parametrize("path", ["/flows", "/flows/nope", "/nothing", "//", "//workspaces/other/flows"])
@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer dtvi_wrong", "Basic abc", "é"])
def test_without_the_key_everything_is_a_401(client, path, authorization):
    answer = client("GET", path, headers={"Authorization": authorization})
    assert (answer.status, answer.json["error"]) == (401, "Unauthorized")


def test_a_key_with_something_behind_it_is_another_key(client):
    answer = client("GET", "/flows", headers={"Authorization": client.headers["Authorization"] + "x"})
    assert answer.status == 401


@pytest.mark.parametrize(
    ("path", "organization"),
    [("/flows", None), ("/flows", "other"), ("//workspaces/other/flows", "other"), ("//workspaces/other", "other")],
)
def test_another_organization_is_a_403(client, path, organization):
    assert client("GET", path, headers={"Organization-Id": organization}).status == 403


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/flows"), ("GET", "/flows/nope"), ("POST", "/flows"), ("GET", "//_emulator/health")]
)
def test_every_answer_carries_its_own_trace_id(client, method, path):
    traces = {client(method, path).headers["x-cloud-trace-context"] for _ in range(2)}
    assert len(traces) == 2
    assert all(re.fullmatch(r"[0-9a-f]{32}/\d+;o=1", trace) for trace in traces)


def test_the_workspace_document_is_a_cheap_probe(client, emulator):
    assert client("GET", "").json["workspaceId"] == emulator.organization_id


def test_a_flow_lives_over_http(client, spec):
    created = client("PUT", "/flows/f1", {"spec": spec, "kind": "x", "metadata": {"attributes": {"a": "b"}}})
    assert created.status == 200
    assert created.json["spec"] == spec
    assert client("GET", "/flows/f1").json == created.json
    patched = client("PATCH", "/flows/f1", {"metadata": {"attributes": {"a": None}}}).json
    assert patched["metadata"]["attributes"] == {}
    deleted = client("DELETE", "/flows/f1")
    assert (deleted.status, deleted.body) == (204, b"")
    assert client("GET", "/flows/f1").status == 404


def test_text_is_utf_8_and_not_escaped(client, spec):
    client("PUT", "/flows/f1", {"spec": spec})
    assert "Schweißnaht 溶接".encode() in client("GET", "/flows/f1").body


def test_a_run_lives_over_http(client, spec):
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


def test_a_busy_flow_is_not_deleted(client, emulator):
    emulator.reset(flows=10)
    (busy,) = emulator.store.busy_flow_ids()
    answer = client("DELETE", f"/flows/{busy}")
    assert (answer.status, answer.json["error"]) == (409, "Conflict")


class TestPages:
    @pytest.mark.parametrize(("flows", "size", "lengths"), [(0, 3, [0]), (3, 3, [3]), (7, 3, [3, 3, 1]), (2, 5, [2])])
    def test_end_with_a_null_cursor(self, client, emulator, flows, size, lengths):
        emulator.reset(flows=flows)
        pages = list(client.walk(size=size))
        assert [len(page["items"]) for page in pages] == lengths
        assert pages[-1]["nextPage"] is None
        assert [flow["flowId"] for page in pages for flow in page["items"]] == emulator.store.flow_ids()

    def test_have_ten_items_unless_told(self, client, emulator):
        emulator.reset(flows=12)
        assert len(client("GET", "/flows").json["items"]) == 10

    @pytest.mark.parametrize("size", ["6", "1000", "9" * 5000])
    def test_never_have_more_than_the_cap(self, client, emulator, size):
        emulator.reset(flows=12, page_cap=5)
        assert len(client("GET", f"/flows?s={size}").json["items"]) == 5

    def test_of_a_small_cap_are_small_without_a_size_too(self, client, emulator):
        emulator.reset(flows=12, page_cap=5)
        assert len(client("GET", "/flows").json["items"]) == 5

    def test_ignore_unknown_query_keys(self, client, emulator):
        emulator.reset(flows=3)
        assert len(client("GET", "/flows?pageSize=1&filter=x&s=2").json["items"]) == 2

    def test_of_the_simple_listing_have_ids_and_names(self, client, emulator):
        emulator.reset(flows=3)
        expected = [{"flowId": id_, "name": emulator.store.get_flow(id_)["spec"]["name"]}
                    for id_ in emulator.store.flow_ids()]  # fmt: skip
        assert [item for page in client.walk("/simpleFlows", size=2) for item in page["items"]] == expected

    def test_do_not_take_the_cursor_of_another_listing(self, client, emulator):
        emulator.reset(flows=3)
        cursor = client("GET", "/flows?s=1").json["nextPage"]
        assert client("GET", f"/simpleFlows?p={cursor}").status == 400

    def test_show_no_flow_twice_when_others_delete_and_create(self, client, emulator):
        emulator.reset(flows=60)
        before, seen = set(emulator.store.flow_ids()), []
        for number, page in enumerate(client.walk(size=7)):
            seen += [flow["flowId"] for flow in page["items"]]
            emulator.store.create_flows(2)
            emulator.store.delete_flow(seen[0] if number == 0 else seen[-1]) if number < 3 else None
        assert len(seen) == len(set(seen))
        assert before - set(seen) == set()


class TestJournal:
    def test_knows_a_request_as_soon_as_its_client_has_the_answer(self, client, emulator):
        client("GET", "/flows?p=x&s=3")
        (request,) = emulator.requests
        assert (request.method, request.path, request.status) == ("GET", f"{client.root}/flows", 400)
        assert request.query == "p=x&s=3"
        assert request.params == {"p": "x", "s": "3"}
        assert request.ms is not None

    def test_never_shows_the_key(self, client, emulator):
        key = emulator.secret_key
        client("GET", f"/flows/{key}?key={key}", headers={"User-Agent": f"agent {key}", "X-Key": key})
        log = client("GET", "//_emulator/requests").body.decode()
        assert "agent <secret key>" in log
        assert "dtvi_" not in log
        assert "authorization" not in log.lower()

    def test_leaves_the_control_api_out(self, client, emulator):
        client("GET", "//_emulator/health")
        assert emulator.requests == []

    def test_can_be_cleared(self, client, emulator):
        client("GET", "/flows")
        emulator.clear_requests()
        assert emulator.requests == []


def test_a_bug_of_the_emulator_is_a_500_that_says_so(client, monkeypatch):
    monkeypatch.setattr("vi_airflow_provider.emulator.store.listing.Listing.page", lambda *_: 1 / 0)
    answer = client("GET", "/flows")
    assert (answer.status, answer.json["message"]) == (500, "The emulator failed: ZeroDivisionError")


@pytest.mark.parametrize("state", [False, True], ids=["memory", "state file"])
def test_changes_work_the_same_with_a_state_file(tmp_path, client_of, spec, state):
    from vi_airflow_provider.emulator import Emulator

    with Emulator(flows=0, state=tmp_path / "vi.json" if state else None) as emulator:
        client = client_of(emulator)
        assert client("PUT", "/flows/f1", {"spec": spec}).status == 200
        assert client("PATCH", "/flows/f1", {"spec": {"name": 5}}).status == 400
        assert client("DELETE", "/flows/f1").status == 204
        assert client("DELETE", "/flows/f1").status == 404
