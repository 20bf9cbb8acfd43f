"""One limit for both parsers, and errors that name flow and field."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.documents import FLOW_ID, ORGANIZATION_ID, wire_bytes, wire_flow, wire_page, wire_spec
from tests.scripted_server import Act, ScriptedServer, http_bytes
from tests.transports import settings_for
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.errors import ViError, ViResponseError, ViValidationError
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.api.protocol.strict_json import MAX_NESTING, find_flaw, nests_too_deep


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def flow_with(value: bytes, **changes: Any) -> bytes:
    """A flow whose settings hold this JSON text as ``rate``."""
    return wire_bytes(wire_flow(spec__settings={"rate": "~"}, **changes)).replace(b'"~"', value)


def listed(*items: bytes) -> bytes:
    return b'{"items":[' + b",".join(items) + b"]}"


def read(body: bytes, way: str) -> Any:
    """What a client returns, read to the last field, or the error that it raises."""
    answer = Act(http_bytes(200, body))

    async def run() -> Any:
        async with AsyncViClient(settings_for(server.url)) as vi:
            return [flow.to_wire() async for flow in vi.list_flows()]

    with ScriptedServer([answer]) as server:
        try:
            if way == "async listing":
                return asyncio.run(run())
            with ViClient(settings_for(server.url)) as vi:
                return vi.get_flow(FLOW_ID).to_wire() if way == "get" else [f.to_wire() for f in vi.list_flows()]
        except ViError as error:
            return error


# The spec is level 2 of a flow, its settings level 3.
DEEPEST: Final = MAX_NESTING - 3


@pytest.mark.parametrize("way", ["get", "listing", "async listing"])
@pytest.mark.parametrize(("levels", "accepted"), [(DEEPEST, True), (DEEPEST + 1, False), (300, False), (5000, False)])
def test_nesting_has_one_limit_however_a_flow_is_read(levels: int, accepted: bool, way: str) -> None:
    value = b"[" * levels + b"1" + b"]" * levels
    found = read(flow_with(value) if way == "get" else listed(flow_with(value)), way)
    if accepted:
        document = found if way == "get" else found[0]
        assert Flow.model_validate_json(json.dumps(document)).to_wire() == document, "it cannot be read again"
    else:
        assert isinstance(found, ViResponseError)
        assert f"more than {MAX_NESTING} levels of nesting" in str(found)


BAD_VALUES: Final = {
    b"NaN": "NaN is not a JSON number",
    b"-Infinity": "-Infinity is not a JSON number",
    b"1e999": "a number that is too large",
    b"9" * 5000: "a number that is too large",
    b'"\\ud800"': "not valid Unicode",
    b'"\xff"': "not valid Unicode",
    b"[" * 200 + b"]" * 200: f"more than {MAX_NESTING} levels of nesting",
}


@pytest.mark.parametrize("way", ["get", "listing", "async listing"])
@pytest.mark.parametrize("value", BAD_VALUES, ids=lambda value: value[:12].decode("latin-1"))
def test_an_unreadable_value_is_named_by_flow_and_path(value: bytes, way: str) -> None:
    good, bad = wire_bytes(wire_flow(flowId="good")), flow_with(value)
    found = read(bad if way == "get" else listed(good, good, bad), way)
    assert isinstance(found, ViResponseError)
    path = ("" if way == "get" else "items[2].") + "spec.settings.rate"
    assert f"flow '{FLOW_ID}': {path}" in str(found)
    assert BAD_VALUES[value] in str(found)
    assert "Correct or delete this flow in Vi" in str(found)
    assert "login page" not in str(found)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"spec__name": None}, "items[1].spec.name"),
        ({"metadata__generation": 2**63}, "items[1].metadata.generation"),
        ({"metadata__timeCreated": -(2**63) - 1}, "items[1].metadata.timeCreated"),
    ],
)
def test_a_violation_in_a_listing_names_its_flow(change: dict[str, Any], path: str) -> None:
    found = read(listed(wire_bytes(wire_flow(flowId="good")), wire_bytes(wire_flow(**change))), "listing")
    assert isinstance(found, ViResponseError)
    assert f"the response violates the contract: flow '{FLOW_ID}': {path}: Input should be" in str(found)


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63)])
def test_integers_of_64_bits_are_read_by_both_parsers(number: int) -> None:
    flow = wire_flow(metadata__lastUpdated=number, spec__settings={"seed": 2**64})
    assert read(wire_bytes(flow), "get") == flow
    assert read(wire_bytes(wire_page(flow)), "listing") == [flow]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rate": float("nan")}, "spec.settings.rate: NaN is not a JSON number"),
        ({"a": [1, {"b": float("inf")}]}, "spec.settings.a[1].b: a number that is too large"),
        ({"text": "\ud800"}, "spec.settings.text: text that is not valid Unicode"),
        ({"deep": nested(150)}, f"more than {MAX_NESTING} levels of nesting"),
    ],
)
def test_a_value_that_could_not_be_read_again_is_not_written(settings: Any, words: str) -> None:
    with ScriptedServer() as server, ViClient(settings_for(server.url)) as vi, pytest.raises(ViValidationError) as e:
        vi.replace_flow(FLOW_ID, wire_spec(settings=settings))
    assert words in str(e.value)
    assert server.connections == 0


JSON: Final = st.recursive(
    st.none() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=20,
)


@given(JSON, st.integers(0, 2 * MAX_NESTING), st.booleans())
def test_the_depth_is_that_of_the_document(value: Any, levels: int, ascii_only: bool) -> None:
    for _ in range(levels):
        value = [value, "]}"] if levels % 2 else {"[{": value}
    content = json.dumps(value, ensure_ascii=ascii_only).encode()

    def depth(inner: Any) -> int:
        if not isinstance(inner, list | dict):
            return 0
        return 1 + max(map(depth, inner.values() if isinstance(inner, dict) else inner), default=0)

    assert nests_too_deep(content) is (depth(value) > MAX_NESTING)
    assert (find_flaw(content) is not None) is (depth(value) > MAX_NESTING)


def test_an_organization_is_not_a_flow() -> None:
    flaw = find_flaw(b'{"name":"x","rate":NaN}')
    assert flaw is not None
    assert (flaw.json_path, flaw.item) == ("rate", None)
    assert ORGANIZATION_ID not in str(flaw)


@pytest.mark.parametrize(
    ("noun", "advice"), [("flow", "Correct or delete this flow"), ("run", "Delete this run")], ids=["flow", "run"]
)
def test_item_of_a_page_is_named_with_advice_that_fits(noun: str, advice: str) -> None:
    """Within it is foreign data, in which a key of this name means nothing."""
    flaw = find_flaw(b'{"items":[{"%sId":"a","spec":{"flowId":"b","runId":"c","rate":NaN}}]}' % noun.encode())
    assert flaw is not None
    assert flaw.item is not None
    assert str(flaw).startswith(f"{noun} 'a': items[0].spec.rate: ")
    assert flaw.item.advice.startswith(advice)
