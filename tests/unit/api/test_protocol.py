"""What the table of decisions cannot show: URLs, messages and logs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.documents import FLOW_ID, ORGANIZATION_ID, SECRET_KEY, wire_bytes, wire_flow, wire_page, wire_spec
from tests.transports import Clock, settings_for
from tests.unit.api.protocol_support import FLOW, HERE, ROOT, first, play, protocol
from vi_airflow_provider.api.errors import (
    ViError,
    ViRateLimitError,
    ViServerError,
    ViValidationError,
)
from vi_airflow_provider.api.protocol.messages import Failure, FailureKind, Request, Response, Steps
from vi_airflow_provider.api.protocol.outcomes import error_class
from vi_airflow_provider.api.protocol.retry import may_retry
from vi_airflow_provider.api.verbs import ViProtocol

END: Final = Response(200, {}, wire_bytes(wire_page()))


# --- requests ------------------------------------------------------------------------------------------------------

SPEC: Final = {"name": "n", "schema": "v1", "blocks": []}
BODY: Final = b'"spec":{"name":"n","schema":"v1","tolerations":{},"settings":{},"blocks":[]}'
REQUESTS: Final[dict[str, tuple[Callable[[ViProtocol], Any], str, str, bytes | None]]] = {
    "get": (lambda p: p.get_flow(FLOW_ID), "GET", f"/flows/{FLOW_ID}", None),
    "exists": (lambda p: p.flow_exists(FLOW_ID), "GET", f"/flows/{FLOW_ID}", None),
    "find by id": (lambda p: p.find_flow(flow_id=FLOW_ID), "GET", f"/flows/{FLOW_ID}", None),
    "find by name": (lambda p: p.find_flow(name="n"), "GET", "/flows?s=100", None),
    "list": (lambda p: p.list_flows().next_page(), "GET", "/flows?s=100", None),
    "list, page size": (lambda p: p.list_flows(page_size=7).next_page(), "GET", "/flows?s=7", None),
    "list, small limit": (lambda p: p.list_flows(page_size=7, limit=3).next_page(), "GET", "/flows?s=3", None),
    "list, large limit": (lambda p: p.list_flows(page_size=7, limit=30).next_page(), "GET", "/flows?s=7", None),
    "list from a cursor": (lambda p: p.iter_flow_pages(page_token="t").next_page(), "GET", "/flows?p=t&s=100", None),
    "list ids": (lambda p: p.list_simple_flows(page_size=9).next_page(), "GET", "/simpleFlows?s=9", None),
    "delete": (lambda p: p.delete_flow(FLOW_ID), "DELETE", f"/flows/{FLOW_ID}", None),
    "put": (lambda p: p.replace_flow("own", SPEC), "PUT", "/flows/own", b"{" + BODY + b"}"),
    "put with attributes": (
        lambda p: p.replace_flow("own", SPEC, attributes={"a": "ü"}),
        *("PUT", "/flows/own", b"{" + BODY + ',"metadata":{"attributes":{"a":"ü"}}}'.encode()),
    ),
    "restore": (
        lambda p: p.restore_flow(
            {
                **{"kind": "Flow", "flowId": "own", "etag": "e", "spec": {"name": "n", "newField": 1}},
                "metadata": {"timeCreated": 1, "lastUpdated": 2, "generation": 3, "attributes": {"a": "b"}, "newer": 4},
            }
        ),
        *("PUT", "/flows/own"),
        b'{"spec":{"name":"n","newField":1},"metadata":{"attributes":{"a":"b"},"newer":4}}',
    ),
    "patch": (lambda p: p.update_flow("own", spec={"name": "n"}), "PATCH", "/flows/own", b'{"spec":{"name":"n"}}'),
    "patch of attributes": (
        lambda p: p.update_flow("own", attributes={"a": None, "b": "c"}),
        *("PATCH", "/flows/own", b'{"metadata":{"attributes":{"a":null,"b":"c"}}}'),
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_call_sends_one_request(name: str) -> None:
    call, method, path, body = REQUESTS[name]
    request = first(call(protocol()))
    assert (request.method, request.path, request.body) == (method, ROOT + path, body)
    assert request.url == HERE + ROOT + path
    assert request.headers == {
        "Authorization": f"Bearer {SECRET_KEY}",
        "Organization-Id": ORGANIZATION_ID,
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate",
        "Content-Type": "application/json",
        "User-Agent": protocol().settings.user_agent,
    }


def test_the_path_of_the_endpoint_is_kept() -> None:
    behind = ViProtocol(settings_for("https://gateway.example/vi/v1/"))
    assert first(behind.get_flow("a")).url == f"https://gateway.example/vi/v1{ROOT}/flows/a"


@pytest.mark.parametrize(
    ("cursor", "query"),
    [
        ("tok/2 =&+?", "p=tok%2F2+%3D%26%2B%3F&s=100"),
        ("ü", "p=%C3%BC&s=100"),
        ("https://evil.example/x?p=1", "p=https%3A%2F%2Fevil.example%2Fx%3Fp%3D1&s=100"),
        ("/workspaces/other/flows", "p=%2Fworkspaces%2Fother%2Fflows&s=100"),
        ("#%\\\"'<>", "p=%23%25%5C%22%27%3C%3E&s=100"),
        (" ", "p=+&s=100"),
    ],
)
def test_the_next_url_is_built_from_the_cursor_alone(cursor: str, query: str) -> None:
    walk = protocol().list_flows()
    steps = walk.next_page()
    assert steps is not None
    play(steps, Response(200, {}, wire_bytes(wire_page(nextPage=cursor))))
    assert first(walk.next_page()).url == f"{HERE}{ROOT}/flows?{query}"


def test_a_created_flow_gets_a_new_id_each_time() -> None:
    paths = {first(protocol().create_flow(SPEC)).path for _ in range(3)}
    assert len(paths) == 3


BAD_CALLS: Final[dict[str, Callable[[ViProtocol], Any]]] = {
    "get without an id": lambda p: p.get_flow(""),
    "get with another path": lambda p: p.get_flow("../x"),
    "exists": lambda p: p.flow_exists("a/b"),
    "delete with a line end": lambda p: p.delete_flow("abc\n"),
    "put with an empty id": lambda p: p.replace_flow("", wire_spec()),
    "put without a spec": lambda p: p.replace_flow("a", None),  # type: ignore[arg-type]
    "put with half a spec": lambda p: p.replace_flow("a", {"name": "n"}),
    "put with NaN": lambda p: p.replace_flow("a", wire_spec(settings={"x": float("nan")})),
    "put with a number as attribute": lambda p: p.replace_flow("a", wire_spec(), attributes={"a": 5}),  # type: ignore[dict-item]
    "put that removes an attribute": lambda p: p.replace_flow("a", wire_spec(), attributes={"a": None}),  # type: ignore[dict-item]
    "patch of nothing": lambda p: p.update_flow("a"),
    "patch with a bad id": lambda p: p.update_flow("ü", spec={"name": "n"}),
    "find without an id or a name": lambda p: p.find_flow(),
    "find with both": lambda p: p.find_flow(flow_id="a", name="n"),
    "find with a bad id": lambda p: p.find_flow(flow_id="a b"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_a_bad_value_is_refused_before_any_request(name: str) -> None:
    with pytest.raises(ViValidationError) as caught:
        next(BAD_CALLS[name](protocol()))
    error = caught.value
    assert (error.status_code, error.attempts, error.retryable) == (None, 0, False)


@pytest.mark.parametrize(
    "options", [{"page_size": 0}, {"page_size": True}, {"limit": -1}, {"limit": "5"}, {"page_size": 1.0}]
)
def test_a_listing_with_a_bad_number_is_refused_at_the_call(options: dict[str, Any]) -> None:
    with pytest.raises(ViValidationError, match=next(iter(options))):
        protocol().list_flows(**options)


@pytest.mark.parametrize(
    ("project", "found"), [(None, True), ("weld-inspection", True), ("other", False)], ids=["any", "its own", "another"]
)
def test_a_flow_of_another_training_project_is_not_found(project: str | None, found: bool) -> None:
    for question in ({"flow_id": FLOW_ID}, {"name": wire_flow()["spec"]["name"]}):
        steps = protocol().find_flow(**question, training_project=project)
        next(steps)
        with pytest.raises(StopIteration) as done:
            steps.send(FLOW if "flow_id" in question else Response(200, {}, wire_bytes(wire_page(wire_flow()))))
        assert (done.value.value is not None) == found


# --- verdicts ------------------------------------------------------------------------------------------------------

REPEATABLE: Final = {"GET": True, "PUT": True, "DELETE": True, "PATCH": False, "POST": False}
BEFORE_SEND: Final = {
    *(FailureKind.NAME_RESOLUTION, FailureKind.CONNECT, FailureKind.CONNECT_TIMEOUT),
    *(FailureKind.PROXY, FailureKind.CERTIFICATE),
}
FOR_GOOD: Final = {FailureKind.CERTIFICATE, FailureKind.TOO_LARGE}


@pytest.mark.parametrize("kind", FailureKind)
@pytest.mark.parametrize("method", REPEATABLE)
def test_transient_failures_are_retried_where_that_is_safe(kind: FailureKind, method: str) -> None:
    expected = kind not in FOR_GOOD and (REPEATABLE[method] or kind in BEFORE_SEND)
    assert may_retry(Request(method, "", "", {}), Failure(kind)) is expected


@pytest.mark.parametrize("method", REPEATABLE)
def test_transient_statuses_are_retried_where_that_is_safe(method: str) -> None:
    retried = {status for status in range(100, 1000) if may_retry(Request(method, "", "", {}), Response(status))}
    assert retried == ({408, 429, *range(500, 600)} if REPEATABLE[method] else {429})


def test_every_status_has_an_error() -> None:
    statuses: dict[str, set[int]] = {}
    for status in range(100, 1000):
        statuses.setdefault(error_class(Response(status)).__name__, set()).add(status)
    one_of_a_kind = {401, 403, 404, 408, 409, 429}
    assert statuses.pop("ViValidationError") == set(range(400, 500)) - one_of_a_kind
    assert statuses.pop("ViServerError") == set(range(500, 600))
    assert statuses.pop("ViResponseError") == {*range(100, 400), *range(600, 1000)}
    assert set().union(*statuses.values()) == one_of_a_kind


def raised(steps: Steps[Any], *outcomes: Response | Failure) -> ViError:
    with pytest.raises(ViError) as caught:
        play(steps, *outcomes)
    return caught.value


def test_a_message_names_request_cause_and_remedy() -> None:
    refusal = Response(503, {"x-cloud-trace-context": "abc123/45;o=1", "retry-after": "0"}, b'{"message":"Try later."}')
    error = raised(protocol(max_retries=1).delete_flow(FLOW_ID), refusal, refusal)
    assert type(error) is ViServerError
    assert (error.status_code, error.method, error.path) == (503, "DELETE", f"{ROOT}/flows/{FLOW_ID}")
    assert (error.trace_id, error.attempts) == ("abc123", 2)
    assert str(error) == (
        f"DELETE {ROOT}/flows/{FLOW_ID}: 503 Service Unavailable: Try later. "
        "The service has a problem; try again later. (trace abc123, 2 attempts)"
    )


def test_an_error_without_a_response_names_the_server() -> None:
    failure = Failure(FailureKind.CONNECT, "Connection refused")
    error = raised(protocol(max_retries=0).get_flow("a"), failure)
    assert "no TCP connection to the server: Connection refused (vi.example). Check the connection's host" in str(error)


@pytest.mark.parametrize(
    ("kind", "named"),
    [(kind, "proxy.example:3128" if kind is FailureKind.PROXY else "vi.example") for kind in FailureKind],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_failure_names_the_host_that_failed(kind: FailureKind, named: str) -> None:
    behind_a_proxy = protocol(max_retries=0, proxy="http://me:hunter2@proxy.example:3128")
    error = raised(behind_a_proxy.get_flow("a"), Failure(kind))
    assert f"{kind.value} ({named})." in str(error)
    assert "hunter2" not in str(error)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"message":"a\\nb\\u2028c\\u0000d"}', ": a b c d"),
        (b'{"message":"' + b"x" * 5000 + b'"}', f": {'x' * 300}…"),
        (b"<html>" + b"x" * 5000, ""),
    ],
    ids=["several lines", "a long text", "HTML"],
)
def test_a_server_message_is_one_short_line(body: bytes, said: str) -> None:
    error = raised(protocol().get_flow("a"), Response(400, {}, body))
    assert str(error) == f"GET {ROOT}/flows/a: 400 Bad Request{said}."


@pytest.mark.parametrize(
    "quoted",
    [SECRET_KEY, f"Bearer {SECRET_KEY}", SECRET_KEY[:60], SECRET_KEY + "extra", f'"{SECRET_KEY}"', "dtvi_otherkey"],
)
def test_a_key_quoted_by_the_server_is_redacted(quoted: str) -> None:
    for body in (wire_bytes({"message": f"bad key {quoted}"}), f"bad key {quoted}".encode()):
        error = raised(protocol().get_flow("a"), Response(401, {}, body))
        assert "dtvi_" not in str(error).partition("Check the")[0]
        assert SECRET_KEY[5:60] not in str(error)


def test_a_hostile_trace_id_makes_one_short_line() -> None:
    answer = Response(404, {"x-cloud-trace-context": "a\x00b\x85" + "c" * 5000})
    error = raised(protocol().get_flow("a"), answer)
    assert error.trace_id is not None
    assert len(str(error).splitlines()) == 1
    assert len(str(error)) < 600


def test_a_final_rate_limit_error_has_the_requested_wait() -> None:
    error = raised(protocol(max_rate_limit_retries=0).get_flow("a"), Response(429, {"retry-after": "7"}))
    assert type(error) is ViRateLimitError
    assert error.retry_after == 7


# --- logs ----------------------------------------------------------------------------------------------------------


def test_a_request_is_logged_without_headers_and_bodies(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "vi_airflow_provider")
    clock = Clock()
    steps = protocol(clock).replace_flow(FLOW_ID, SPEC, attributes={"note": "body-text"})
    next(steps)
    clock.now += 0.25
    steps.send(
        Response(500, {"x-cloud-trace-context": "abc/1", "x-other": "header-text"}, b'{"message":"answer-text"}')
    )
    next(steps)
    with pytest.raises(StopIteration):
        steps.send(FLOW)
    messages = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert messages == [
        ("DEBUG", f"PUT {ROOT}/flows/{FLOW_ID}: 500 Internal Server Error in 250 ms (trace abc)"),
        ("WARNING", f"PUT {ROOT}/flows/{FLOW_ID}: 500 Internal Server Error; retrying in 1.0 s (attempt 1)"),
        ("DEBUG", f"PUT {ROOT}/flows/{FLOW_ID}: 200 OK in 0 ms (trace None)"),
    ]
