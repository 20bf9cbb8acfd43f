"""Bytes to documents and back: errors name the JSON path, ids cannot change an address, bodies are what was meant."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.documents import ABSENT, ORGANIZATION_ID, wire_bytes, wire_flow, wire_page, wire_spec
from vi_airflow_provider.api.errors import ViResponseError, ViValidationError
from vi_airflow_provider.api.models import Flow, FlowSpec, FlowSpecPatch, SimpleFlow
from vi_airflow_provider.api.protocol import codec, outcomes
from vi_airflow_provider.api.protocol.lazy_flow import parse_listed_flow
from vi_airflow_provider.api.protocol.messages import Response
from vi_airflow_provider.api.protocol.outcomes import ErrorContext
from vi_airflow_provider.api.validation import checked_count, checked_id

ORIGIN: Final = ErrorContext("GET", "/workspaces/o/flows", 200, "trace", 2)


def answer(body: Any, **headers: str) -> Response:
    return Response(200, headers, body if isinstance(body, bytes) else wire_bytes(body))


def read_page(body: Any) -> codec.RawPage[Flow]:
    return codec.parse_page(partial(parse_listed_flow, ORGANIZATION_ID), answer(body), ORIGIN)


# --- pages ---------------------------------------------------------------------------------------------------------


def test_a_page_has_flows_and_two_cursors() -> None:
    page = read_page(wire_page(wire_flow(flowId="a"), wire_flow(flowId="b"), nextPage="n", prevPage="p"))
    assert [flow.flow_id for flow in page.documents()] == ["a", "b"]
    assert (page.next_page, page.prev_page) == ("n", "p")


def test_a_response_about_something_else_is_refused() -> None:
    found = "a\n" + "b" * 100
    with pytest.raises(ViResponseError) as caught:
        codec.check_identity("flow", found, "f", ORIGIN)
    assert caught.value.args[0] == f"the response is about flow {repr(found)[:80]}…, but flow 'f' was requested"
    assert caught.value.advice.startswith("Check the organization id (the connection's login), and that no proxy")
    assert caught.value.trace_id == "trace"
    codec.check_identity("flow", "f", "f", ORIGIN)


@pytest.mark.parametrize("changes", [{}, {"selfLink": ABSENT, "self_link": "/"}], ids=["plain", "read by pydantic"])
def test_a_listed_flow_of_another_organization_is_refused(changes: dict[str, Any]) -> None:
    page = read_page(wire_page(wire_flow(workspaceId="another", **changes)))
    with pytest.raises(ViResponseError, match="about organization 'another', but organization") as caught:
        list(page.documents())
    assert caught.value.trace_id == "trace"


@pytest.mark.parametrize(
    "cursor", [{}, {"nextPage": None, "prevPage": None}, {"nextPage": "", "prevPage": ""}], ids=str
)
def test_an_empty_cursor_ends_the_listing(cursor: dict[str, Any]) -> None:
    page = read_page(wire_page(**cursor))
    assert (page.next_page, page.prev_page) == (None, None)


def test_unknown_fields_of_a_page_are_ignored() -> None:
    assert list(read_page(wire_page(total=5, links={"self": "x"})).documents()) == []


def test_flows_are_validated_when_they_are_requested() -> None:
    flows = read_page(wire_page(wire_flow(flowId="good"), {"kind": "broken"})).documents()
    assert next(flows).flow_id == "good"
    with pytest.raises(ViResponseError):
        next(flows)


def test_a_page_as_a_document_has_all_its_flows() -> None:
    page = codec.flow_page(read_page(wire_page(wire_flow(flowId="a"), nextPage="n", prevPage="p")))
    assert ([flow.flow_id for flow in page.items], page.next_page, page.prev_page) == (["a"], "n", "p")


def test_a_listing_of_ids_is_read_as_such() -> None:
    page = codec.parse_page(
        partial(codec.parse_document, SimpleFlow),
        answer(wire_page({"flowId": "a"}, {"flowId": "b", "name": "n"})),
        ORIGIN,
    )
    assert [(flow.flow_id, flow.name) for flow in page.documents()] == [("a", None), ("b", "n")]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"etag": ABSENT}, "items[1].etag: Field required"),
        ({"metadata__timeCreated": "now"}, "items[1].metadata.timeCreated: Input should be a valid integer"),
        ({"metadata__attributes": {"team": 5}}, "items[1].metadata.attributes.team: Input should be a valid string"),
        ({"spec__blocks__1__style": ABSENT}, "items[1].spec.blocks[1].style: Field required"),
        ({"spec__tolerations": {"gpu": ["T4", 4]}}, "items[1].spec.tolerations.gpu[1]: Input should be a valid string"),
        ({"kind": "Run"}, "items[1].kind: Input should be 'Flow'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_error_names_the_json_path(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(ViResponseError) as caught:
        list(read_page(wire_page(wire_flow(), wire_flow(**changes))).documents())
    error = caught.value
    assert path in str(error)
    assert (error.method, error.path, error.status_code) == ("GET", "/workspaces/o/flows", 200)
    assert (error.trace_id, error.attempts) == ("trace", 2)
    with pytest.raises(ViResponseError) as caught:
        codec.parse_document(Flow, wire_bytes(wire_flow(**changes)), ORIGIN)
    assert path.removeprefix("items[1].") in str(caught.value)
    assert "items" not in str(caught.value)


def test_the_first_three_of_many_errors_are_named() -> None:
    with pytest.raises(ViResponseError, match=r"workspaceId: .*; flowId: .*; spec: .*; and 3 more\.") as caught:
        codec.parse_document(Flow, b'{"kind": "Flow"}', ORIGIN)
    assert "etag" not in str(caught.value)


def test_an_error_below_hostile_keys_is_one_short_line() -> None:
    key = "a\nb\u2028" + "k" * 5000
    with pytest.raises(ViResponseError) as caught:
        codec.parse_document(Flow, wire_bytes(wire_flow(metadata__attributes={key: 5})), ORIGIN)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        (b"", {}, "the response is empty where a flow was expected"),
        (b"\n\t ", {}, "the response is empty"),
        (
            b"<html>",
            {"content-type": "text/html; charset=utf-8"},
            "the response is not JSON (text/html; charset=utf-8)",
        ),
        (b"Bad gateway", {}, "the response is not JSON (no content type)"),
        (b"\xef\xbb\xbf{}", {}, "the response is not JSON"),
        (b"x", {"content-type": "a\x00b" + "c" * 500}, "the response is not JSON (a bccc"),
    ],
)
def test_a_response_that_is_not_json_is_described(body: bytes, headers: dict[str, str], words: str) -> None:
    with pytest.raises(ViResponseError) as caught:
        codec.json_content(answer(body, **headers), ORIGIN, "a flow")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 500


@given(st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(wire_bytes))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for read in (
        lambda: list(read_page(body).documents()),
        lambda: codec.parse_document(Flow, codec.json_content(answer(body), ORIGIN, "a flow"), ORIGIN),
    ):
        with pytest.raises(ViResponseError):
            read()


# --- messages of a server ------------- -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"message":"m","error":"e"}', "m"),
        (b'{"error":"e"}', "e"),
        (b'{"message":"","error":"e"}', "e"),
        (b'{"message":5,"error":"e"}', "e"),
        (b'{"error":{"code":5}}', '{"error":{"code":5}}'),
        (b'{"detail":"d"}', '{"detail":"d"}'),
        (b'["a"]', '["a"]'),
        (b"Bad gateway", "Bad gateway"),
        (b"<html><body>Bad gateway</body></html>", ""),
        (b"", ""),
        (b"\xff", "\ufffd"),
        (b"[" * 5000, "[" * 1000),
    ],
)
def test_a_server_message_is_its_message_error_or_body(body: bytes, said: str) -> None:
    assert outcomes.server_message(Response(500, {}, body)) == said


# --- ids and counts ------------------------------------------------------------------------------------------------

GOOD_IDS: Final = ("a", "A-1_b", "-", "_", "a" * 255, "0f4c9c1e-7a53-4f0e-8f0d-2b1f6f3a9d21")
BAD_IDS: Final = (
    *("", "a" * 256, "abc\n", "\nabc", "a\x00", "a b", " a", "a/b", "../x", "..", ".", "a?b", "a#b", "a%2fb", "a:b"),
    *("ü", "а", "٣", "a;b", "a\\b", "a\r\nX: y", None, b"a", ["a"], True),  # noqa: RUF001 - the second is Cyrillic
)


@pytest.mark.parametrize("value", GOOD_IDS)
def test_an_id_is_letters_digits_minus_and_underscore(value: str) -> None:
    assert checked_id(value) == value


@pytest.mark.parametrize("value", BAD_IDS, ids=repr)
def test_an_id_that_would_change_the_url_is_refused(value: Any) -> None:
    with pytest.raises(ViValidationError, match=r"is not a valid flow id: letters, digits") as caught:
        checked_id(value)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("value", [12345, 0, 1e5, -1])
def test_an_id_that_arrived_as_a_number_is_explained(value: Any) -> None:
    with pytest.raises(ViValidationError, match=r"is not a valid flow id: it arrived as a number; .*as_native"):
        checked_id(value)


@pytest.mark.parametrize("value", [-1, 1.0, "1", True, None, [1]], ids=repr)
def test_a_count_is_a_whole_number(value: Any) -> None:
    with pytest.raises(ViValidationError, match=r"^limit: .* is not a whole number of at least 0"):
        checked_count(value, "limit", 0)
    assert checked_count(0, "limit", 0) == 0


# --- bodies --------------------------------------------------------------------------------------------------------


def test_a_body_is_compact_utf8_with_nothing_escaped() -> None:
    assert codec.encode_body({"a": ["größe", 1.5, None, True]}) == '{"a":["größe",1.5,null,true]}'.encode()


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")), st.lists))
def test_a_body_is_the_json_that_was_given(value: Any) -> None:
    assert json.loads(codec.encode_body({"value": value})) == {"value": value}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), "\ud800", {1, 2}, object()], ids=repr)
def test_values_without_a_json_form_are_refused(value: Any) -> None:
    with pytest.raises(ViValidationError, match="cannot be written as JSON"):
        codec.encode_body({"value": value})


def test_a_spec_is_sent_in_its_wire_form() -> None:
    spec = FlowSpec.model_validate(wire_spec())
    assert codec.wire_spec(FlowSpec.complete, spec) == wire_spec()
    assert codec.wire_spec(FlowSpec.complete, wire_spec()) == wire_spec()
    assert codec.wire_spec(FlowSpec.complete, spec.model_dump(mode="json")) == wire_spec()


def test_a_spec_may_hold_what_has_a_json_form() -> None:
    settings = {"until": datetime(2026, 7, 1, tzinfo=UTC), "sizes": (1, 2)}
    written = codec.wire_spec(FlowSpecPatch.complete, {"settings": settings})
    assert written == {"settings": {"until": "2026-07-01T00:00:00Z", "sizes": [1, 2]}}


def circular() -> dict[str, Any]:
    settings: dict[str, Any] = {}
    settings["self"] = settings
    return settings


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("a text", "spec: a flow spec or an object of its fields expected, str given"),
        (None, "spec: a flow spec or an object of its fields expected, NoneType given"),
        ([], "spec: a flow spec or an object of its fields expected, list given"),
        ({}, "spec.name: Field required; spec.schema: Field required; spec.blocks: Field required"),
        (wire_spec(blocks=[{}]), "spec.blocks[0].block: Field required"),
        (wire_spec(blocks=["model"]), "spec.blocks[0]: "),
        (wire_spec(blocks={}), "spec.blocks: "),
        (wire_spec(name=None), "spec.name: "),
        (wire_spec(tolerations={"gpu": "T4"}), "spec.tolerations.gpu: "),
        (wire_spec(settings={1: "one"}), "spec.settings"),
        (wire_spec(settings={"x": object()}), "spec: Unable to serialize unknown type"),
        (wire_spec(settings=circular()), "spec: Circular reference"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_a_value_that_is_not_a_spec_is_refused(spec: Any, words: str) -> None:
    with pytest.raises(ViValidationError) as caught:
        codec.wire_spec(FlowSpec.complete, spec)
    assert words in str(caught.value)
    assert (caught.value.retryable, caught.value.attempts) == (False, 0)


def test_attributes_are_sent_as_metadata() -> None:
    assert codec.wire_metadata(None) == {}
    assert codec.wire_metadata({}) == {"metadata": {"attributes": {}}}
    assert codec.wire_metadata({"team": "line-3"}) == {"metadata": {"attributes": {"team": "line-3"}}}
    assert codec.wire_metadata({"team": None}, removable=True) == {"metadata": {"attributes": {"team": None}}}


@pytest.mark.parametrize(
    "attributes",
    [{"team": 3}, {"team": None}, {"team": ["x"]}, {3: "team"}, {None: "x"}, ["team"], "team", 5],
    ids=repr,
)
def test_attributes_that_are_not_text_are_refused(attributes: Any) -> None:
    with pytest.raises(ViValidationError, match=r"^attributes"):
        codec.wire_metadata(attributes)
