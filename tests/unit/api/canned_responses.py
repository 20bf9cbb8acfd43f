"""Responses of the service, right and wrong ones, for the tables of decisions."""

from __future__ import annotations

from typing import Any, Final

from tests.documents import ABSENT, FLOW_ID, wire_bytes, wire_flow, wire_page
from tests.transports import (
    Outcome,
    http,
)
from vi_airflow_provider.api.models import DeletedFlow

DOCUMENT: Final = wire_bytes(wire_flow())
FLOW: Final = http(200, wire_flow())
NO_CONTENT: Final = http(204)

DELETED: Final = DeletedFlow(id=FLOW_ID, deleted=True, already_absent=False)
NOT_THERE: Final = DeletedFlow(id=FLOW_ID, deleted=False, already_absent=True)


def page(*flow_ids: str, **envelope: Any) -> Outcome:
    return http(200, wire_page(*(wire_flow(flowId=flow_id) for flow_id in flow_ids), **envelope))


NOT_A_PAGE: Final = {
    "an error object": b'{"error":"Internal"}',
    "an array": b"[]",
    "an empty object": b"{}",
    "items as an object": b'{"items":{}}',
    "items as null": b'{"items":null}',
    "items as text": b'{"items":"none"}',
    "a text": b'"items"',
    "null": b"null",
    "HTML": b"<!DOCTYPE html><html><body>Sign in</body></html>",
    "JSON that breaks off": b'{"items":[{"kind":"Flow",',
    "JSON with something behind it": b'{"items":[]} {"items":[]}',
    "nothing": b"",
    "white space": b" \r\n\t",
    "a cursor in invalid UTF-8": b'{"items":[],"nextPage":"\xff"}',
    "a cursor that is a number": b'{"items":[],"nextPage":5}',
    "a cursor that is an object": b'{"items":[],"nextPage":{}}',
    "a cursor that is false": b'{"items":[],"nextPage":false}',
    "deep nesting": b'{"items":' + b"[" * 100_000,
    "a flow that is a number": b'{"items":[5]}',
    "a flow that is null": b'{"items":[null]}',
    "a flow that is an array": b'{"items":[[]]}',
    "a flow of the wrong kind": wire_bytes(wire_page(wire_flow(kind="Run"))),
    "a flow whose kind is in lower case": wire_bytes(wire_page(wire_flow(kind="flow"))),
    "a flow whose kind is null": wire_bytes(wire_page(wire_flow(kind=None))),
    "a flow without etag": wire_bytes(wire_page(wire_flow(etag=ABSENT))),
    "a flow with invalid UTF-8": wire_bytes(wire_page(wire_flow(etag="~"))).replace(b"~", b"\xff"),
    "a flow with NaN": wire_bytes(wire_page(wire_flow(spec__settings={"rate": 0.5}))).replace(b"0.5", b"NaN"),
}
NOT_A_FLOW: Final = {
    "an error object": b'{"error":"Internal"}',
    "an array": wire_bytes([wire_flow()]),
    "a page": wire_bytes(wire_page(wire_flow())),
    "null": b"null",
    "HTML": b"<html></html>",
    "JSON that breaks off": DOCUMENT[:-1],
    "JSON with something behind it": DOCUMENT + b"{}",
    "nothing": b"",
    "the wrong kind": wire_bytes(wire_flow(kind="Run")),
    "invalid UTF-8": wire_bytes(wire_flow(etag="~")).replace(b"~", b"\xff"),
    "half a surrogate pair": wire_bytes(wire_flow(etag="~")).replace(b"~", b"\\ud800"),
    "NaN": wire_bytes(wire_flow(spec__settings={"rate": 0.5})).replace(b"0.5", b"NaN"),
    "minus infinity": wire_bytes(wire_flow(spec__settings={"rate": 0.5})).replace(b"0.5", b"-Infinity"),
}
