"""Any response is a value or a ``ViError``: never another exception, and never a call that does not end."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from tests.documents import FLOW_ID, ORGANIZATION_ID, SECRET_KEY, wire_bytes, wire_flow, wire_page, wire_spec
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.errors import ViError, ViResponseError
from vi_airflow_provider.api.models import Flow, FlowPage, FlowSpec, SimpleFlow
from vi_airflow_provider.api.protocol.messages import Failure, FailureKind, Response, Send, Sleep, Steps
from vi_airflow_provider.api.protocol.paging import Paginator
from vi_airflow_provider.api.settings import ViSettings
from vi_airflow_provider.api.transport.deadlines import Call
from vi_airflow_provider.api.verbs import ViProtocol

SETTINGS: Final = ViSettings(organization_id=ORGANIZATION_ID, secret_key=SECRET_KEY, endpoint="https://vi.example")
#: More requests than any call may need for the scripts below; beyond it, a call is one that does not end.
MANY: Final = 500


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)  # thousands of lines about retries are of no use


# --- what a server may say -----------------------------------------------------------------------------------------

#: Names that mean something to Python, to pydantic, or to us, and nothing on the wire.
NAMES: Final = (
    *("__class__", "__dict__", "__pydantic_extra__", "model_fields", "model_dump", "model_extra", "copy", "json"),
    *("self", "cls", "digest", "info", "to_wire", "canonical", "items", "keys", "", "a.b", "{{ name }}"),
    *("\x00\n\u2028", "organizationId", "id", "spec", "schema", "blocks"),
    *("flow_id", "training_project", "last_updated", "self_link"),
)
LEAVES: Final = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**30, -(10**400), 2**63, 1.5e308, -0.0, 5e-324])
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(max_size=20)
    | st.sampled_from(["Flow", FLOW_ID, "../x", "\ud800", "\x00\x1b[31m\r\n\u202e", "{{ 7 * 7 }}"])
)
JSON: Final = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def written(document: Any) -> bytes:
    """As a careless server writes it: NaN, lone surrogates and all."""
    return json.dumps(document, ensure_ascii=True).encode()


def places_in(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a document, with each of its keys."""
    for key, inner in list(value.items()) if isinstance(value, dict) else list(enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places_in(inner)


@st.composite
def almost_flows(draw: st.DrawFn) -> dict[str, Any]:
    """A valid flow with some of its values replaced, removed or joined by others."""
    flow = wire_flow(flowId=draw(st.sampled_from(["a", "b", "c"])))
    for _ in range(draw(st.integers(0, 3))):
        places = list(places_in(flow))
        container, key = draw(st.sampled_from(places))
        change = draw(st.sampled_from(["replace", "remove", "add", "add"]))
        if change == "replace":
            container[key] = draw(JSON)
        elif change == "remove":
            del container[key]
        elif isinstance(container, dict):
            container[draw(st.sampled_from(NAMES) | st.text(max_size=8))] = draw(JSON)
    return flow


def nested(depth: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening * depth + closing * depth


FLOWS: Final = almost_flows().map(written)
PAGES: Final = st.builds(
    lambda items, cursor, extra: written({"items": items, "nextPage": cursor, **extra}),
    st.lists(almost_flows() | JSON, max_size=3) | JSON,
    st.none() | st.text(max_size=5) | JSON,
    st.dictionaries(st.sampled_from(NAMES), JSON, max_size=2),
)
BODIES: Final = (
    st.binary(max_size=60)
    | JSON.map(written)
    | FLOWS
    | PAGES
    # Cut off, or with one byte changed.
    | st.tuples(FLOWS | PAGES, st.integers(0, 2000)).map(lambda cut: cut[0][: cut[1]])
    | st.tuples(FLOWS | PAGES, st.integers(0, 2000), st.binary(min_size=1, max_size=1)).map(
        lambda bad: bad[0][: bad[1]] + bad[2] + bad[0][bad[1] + 1 :]
    )
    | st.sampled_from([nested(100_000), nested(150), nested(5000, b'{"spec":', b"}"), b"\xef\xbb\xbf{}", b"1" * 10_000])
)
HEADERS: Final = st.dictionaries(
    st.sampled_from(["retry-after", "location", "content-type", "x-cloud-trace-context", "content-length"]),
    st.text(st.characters(max_codepoint=255), max_size=20)
    | st.sampled_from(
        [
            *("9" * 400, "-1", "1e9", "nan", "inf"),
            *("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 99 Oct 99999 99:99:99 +9999"),
            *("//evil.example", "http://[", "?p=1", "/\r\nX: y", "https://vi.example/\x00", "javascript:alert(1)"),
        ]
    ),
)
RESPONSES: Final = st.builds(
    Response,
    st.sampled_from([200, 200, 200, 200, 201, 204, 299, 301, 307, 400, 401, 404, 408, 409, 429, 500, 503, 599])
    | st.integers(100, 999),
    HEADERS,
    BODIES,
)
FAILURES: Final = st.builds(
    Failure, st.sampled_from(FailureKind), st.text(max_size=20), st.none() | st.sampled_from([200, 204, 500])
)

# --- every call ----------------------------------------------------------------------------------------------------


def _walked(walk: Paginator[Any]) -> Steps[list[Any]]:
    found: list[Any] = []
    while (steps := walk.next_page()) is not None:
        found += (yield from steps).documents()
    return found


CALLS: Final[dict[str, Callable[[ViProtocol], Steps[Any]]]] = {
    "list": lambda p: _walked(p.list_flows()),
    "list some": lambda p: _walked(p.list_flows(page_size=2, limit=3)),
    "list ids": lambda p: _walked(p.list_simple_flows()),
    "get": lambda p: p.get_flow(FLOW_ID),
    "exists": lambda p: p.flow_exists(FLOW_ID),
    "find by id": lambda p: p.find_flow(flow_id=FLOW_ID, training_project="weld-inspection"),
    "find by name": lambda p: p.find_flow(name=wire_spec()["name"]),
    "scan": lambda p: p.scan_flows(frozenset("ab"), frozenset({"x"}), 3),
    "delete": lambda p: p.delete_flow(FLOW_ID),
    "create": lambda p: p.create_flow(wire_spec()),
    "replace": lambda p: p.replace_flow(FLOW_ID, wire_spec(), attributes={"team": "x"}),
    "restore": lambda p: p.restore_flow(wire_flow()),
    "update": lambda p: p.update_flow(FLOW_ID, spec={"name": "x"}, attributes={"team": None}),
}


class Script:
    """Responses in order, the last one for ever; a clock that advances in waits."""

    def __init__(self, outcomes: list[Response | Failure]) -> None:
        self.outcomes = outcomes
        self.sent = 0
        self.now = 0.0

    def next(self, send: Send) -> Response | Failure:
        assert send.request.url.startswith("https://vi.example/"), "the credentials would go to another origin"
        assert send.timeout > 0
        self.sent += 1
        assert self.sent < MANY, "the call does not end"
        return self.outcomes[min(self.sent, len(self.outcomes)) - 1]

    def run(self, call: Callable[[ViProtocol], Steps[Any]]) -> Any:
        steps = call(ViProtocol(SETTINGS, clock=lambda: self.now, jitter=lambda _low, high: high))
        reply: Response | Failure | None = None
        while True:
            try:
                step = steps.send(reply)
            except StopIteration as done:
                return done.value
            if isinstance(step, Sleep):
                assert 0 <= step.seconds <= SETTINGS.max_retry_delay
                self.now += step.seconds
                reply = None
            else:
                assert isinstance(step, Send)
                reply = self.next(step)


def check_error(error: ViError) -> None:
    """An error is one line that a terminal can show, of a bounded length, and its facts are data."""
    shown = str(error)
    assert shown.isprintable(), shown
    assert len(shown) < 2000
    assert (error.trace_id or "").isprintable()
    assert len(error.trace_id or "") < 200
    assert SECRET_KEY not in repr(error)


@pytest.mark.parametrize("call", CALLS)
@settings(max_examples=80)
@given(outcomes=st.lists(RESPONSES | RESPONSES | FAILURES, min_size=1, max_size=3))
def test_a_call_ends_with_a_value_or_a_vi_error(call: str, outcomes: list[Response | Failure]) -> None:
    try:
        value = Script(outcomes).run(CALLS[call])
        for flow in value if isinstance(value, list) else [value]:
            if isinstance(flow, Flow):
                check_flow(flow)
    except ViError as error:
        check_error(error)


# --- a flow, however it was read -----------------------------------------------------------------------------------


def read_everything(document: Any) -> None:
    """Read every field that a document has, and those of the documents in it."""
    if isinstance(document, BaseModel):
        for name in type(document).model_fields:
            read_everything(getattr(document, name))
        read_everything(document.model_extra)
    elif isinstance(document, list):
        for inner in document:
            read_everything(inner)


USES: Final[dict[str, Callable[[Flow], Any]]] = {
    "read": read_everything,
    "repr": repr,
    "str": str,
    "digest": lambda flow: flow.digest,
    "canonical": lambda flow: flow.spec.canonical(),
    "dump": lambda flow: flow.model_dump(),
    "dump for XCom": lambda flow: flow.model_dump(mode="json"),
    "dump to text": lambda flow: flow.model_dump_json(),
    "to_wire": lambda flow: flow.to_wire(),
    "fields set": lambda flow: flow.model_fields_set,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "model_copy": lambda flow: flow.model_copy(update={"etag": "x"}),
    "pickle": lambda flow: pickle.loads(pickle.dumps(flow)),  # noqa: S301 - made the line before
    "equal": lambda flow: (flow == flow.model_copy(), flow == "x"),
}


def check_flow(flow: Flow) -> None:
    """Use a flow in every way: each works, or reports an invalid response."""
    refused = []
    for name, use in USES.items():
        try:
            use(flow)
        except ViResponseError as error:
            check_error(error)
            refused.append(name)
    if not refused:
        check_round_trips(flow)


def check_round_trips(flow: Flow) -> None:
    wire, dump = written(flow.to_wire()), written(flow.model_dump(mode="json"))
    assert written(Flow.model_validate_json(wire).to_wire()) == wire
    assert written(Flow.model_validate(json.loads(dump)).model_dump(mode="json")) == dump
    assert written(pickle.loads(pickle.dumps(flow)).to_wire()) == wire  # noqa: S301 - made the line before
    assert written(copy.deepcopy(flow).to_wire()) == wire


class CannedClient(ViClient):
    """Gets its responses from a script instead of a socket."""

    def __init__(self, script: Script) -> None:
        super().__init__(SETTINGS, sleep=lambda _: None)
        self._script = script

    def _send(self, send: Send, _call: Call) -> Response | Failure:
        return self._script.next(send)


class CannedAsyncClient(AsyncViClient):
    """The same on an event loop."""

    def __init__(self, script: Script) -> None:
        async def sleep(_: float) -> None:
            pass

        super().__init__(SETTINGS, sleep=sleep)
        self._script = script

    async def _send(self, send: Send) -> Response | Failure:
        return self._script.next(send)


def by_client(script: Script) -> list[Flow]:
    with CannedClient(script) as client:
        return list(client.list_flows())


def by_async_client(script: Script) -> list[Flow]:
    async def read() -> list[Flow]:
        async with CannedAsyncClient(script) as client:
            return [flow async for flow in client.list_flows()]

    return asyncio.run(read())


def page_by_page(script: Script) -> list[Flow]:
    with CannedClient(script) as client:
        pages = list(client.iter_flow_pages())
    assert all(isinstance(page, FlowPage) for page in pages)
    return [flow for page in pages for flow in page.items]


@pytest.mark.parametrize("read", [by_client, by_async_client, page_by_page])
@settings(max_examples=100)
@given(items=st.lists(almost_flows(), min_size=1, max_size=3), end=st.sampled_from([b"", b"]}", b"\xff"]))
@example(items=[wire_flow(), wire_flow(kind="Run")], end=b"")
@example(items=[wire_flow(spec__settings={"x": {"y": [float("inf")]}})], end=b"")
def test_a_listed_flow_is_complete_or_refused(
    read: Callable[[Script], list[Flow]], items: list[dict[str, Any]], end: bytes
) -> None:
    body = written(wire_page(*items)) + end
    try:
        flows = read(Script([Response(200, {}, body)]))
    except ViError as error:
        check_error(error)
        return
    assert all(isinstance(flow, Flow) for flow in flows)
    assert len(flows) == len(items)
    for flow, item in zip(flows, items, strict=True):
        try:
            assert flow.flow_id == item["flowId"]
            assert written(flow.to_wire()) == written(item) or not is_exact(item)
        except ViResponseError as error:
            check_error(error)
        check_flow(flow)


def is_exact(item: dict[str, Any]) -> bool:
    """Is the item what the API promises, in the order in which we write it? Then nothing of it may change."""
    try:
        return written(Flow.model_validate_json(written(item)).to_wire()) == written(item)
    except ValidationError:
        return False


def test_a_valid_listing_is_read_unchanged() -> None:
    items = [wire_flow(flowId="a", more={"x": [1, None]}), wire_flow(flowId="b", spec__blocks=[])]
    for read in (by_client, by_async_client, page_by_page):
        flows = read(Script([Response(200, {}, wire_bytes(wire_page(*items)))]))
        assert [flow.to_wire() for flow in flows] == items
        for flow in flows:
            check_flow(flow)


# --- documents by themselves ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [Flow, FlowSpec, SimpleFlow, FlowPage])
@given(document=JSON | almost_flows())
def test_a_document_is_validated_or_refused(model: type[BaseModel], document: Any) -> None:
    ways: tuple[Callable[[], BaseModel], ...] = (
        lambda: model.model_validate(document),
        lambda: model.model_validate_json(written(document)),
    )
    for validate in ways:
        try:
            value = validate()
        except ValidationError:
            continue
        read_everything(value)
        again = model.model_validate(value.model_dump(mode="json"))
        assert repr(again) == repr(value)  # not ==, because NaN is not equal to itself
