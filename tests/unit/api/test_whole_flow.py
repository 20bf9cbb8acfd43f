"""A consumer that reads the contents of flows gets them decoded at once, and cannot tell."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.documents import ABSENT, ORGANIZATION_ID, wire_bytes, wire_flow
from tests.strategies import wire_flows
from tests.unit.api.test_lazy_flow import LOOKS, ORIGIN
from tests.unit.api.test_lazy_flow import listed as lazily_listed
from vi_airflow_provider.api import lazy_model
from vi_airflow_provider.api.canonical import WireForms, canonical_json, canonical_spec, comparable
from vi_airflow_provider.api.errors import ViResponseError
from vi_airflow_provider.api.models import Flow, FlowBlock, FlowSpec, ResourceMetadata
from vi_airflow_provider.api.protocol import whole_flow
from vi_airflow_provider.api.protocol.plain_flow import PlainFlow
from vi_airflow_provider.api.protocol.whole_flow import SAMPLE, ListedFlows, parse_stored_flow


def plain(wire: dict[str, Any]) -> dict[str, Any]:
    """Remove the fields that the models do not know; only such flows are decoded at once."""

    def known(document: dict[str, Any], model: Any) -> dict[str, Any]:
        names = {field.alias or name for name, field in model.model_fields.items()}
        return {key: value for key, value in document.items() if key in names}

    spec, metadata = known(wire["spec"], FlowSpec), known(wire["metadata"], ResourceMetadata)
    spec["blocks"] = [known(block, FlowBlock) for block in spec["blocks"]]
    return {"kind": "Flow"} | known(wire, Flow) | {"spec": spec, "metadata": metadata}


ANY_FLOW: Final = wire_flows() | wire_flows().map(plain)


def after_a_read(wire: Any) -> Flow:
    """List a flow after one whose contents were read."""
    flows = ListedFlows(ORGANIZATION_ID)
    _ = flows.parse(wire_bytes(wire_flow()), ORIGIN, "items[2]").spec.settings
    return flows.parse(wire if isinstance(wire, bytes) else wire_bytes(wire), ORIGIN, "items[3]")


def is_decoded(flow: Flow) -> bool:
    return isinstance(lazy_model._rest_of(flow), whole_flow._RestOfFlow)


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
@settings(max_examples=20)
@given(ANY_FLOW)
def test_flow_decoded_at_once_equals_a_validated_one(look: Callable[[Flow], Any], wire: dict[str, Any]) -> None:
    assert look(after_a_read(wire)) == look(Flow.model_validate_json(wire_bytes(wire)))


@given(ANY_FLOW, st.lists(st.sampled_from(sorted(LOOKS)), max_size=4))
def test_equality_does_not_depend_on_what_was_read(wire: dict[str, Any], looks: list[str]) -> None:
    flow, lazy = after_a_read(wire), lazily_listed(wire)
    for look in looks:
        LOOKS[look](flow)
    assert flow == lazy == Flow.model_validate_json(wire_bytes(wire))
    assert after_a_read(wire) == after_a_read(wire)
    assert after_a_read(wire) != after_a_read({**wire, "etag": "another"})


@given(st.binary(max_size=40), st.integers(0, 900))
def test_damaged_flow_is_refused_with_the_same_message(damage: bytes, place: int) -> None:
    content = wire_bytes(wire_flow())
    content = content[:place] + damage + content[place + len(damage) :]
    found = []
    for parse in (lazily_listed, after_a_read):
        try:
            content.decode()
            found.append(parse(content).model_dump_json())
        except UnicodeDecodeError:
            return
        except ViResponseError as error:
            found.append(str(error))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"spec__blocks__1__settings": []},
        {"spec__blocks__0__block": ABSENT},
        {"metadata__timeCreated": 1.5},
        {"metadata__generation": 2**63},
        {"kind": "Run"},
        {"workspaceId": "another"},
    ],
)
def test_invalid_flow_is_refused_with_its_path(changes: dict[str, Any]) -> None:
    with pytest.raises(ViResponseError) as lazily:
        lazily_listed(wire_flow(**changes))
    with pytest.raises(ViResponseError) as at_once:
        after_a_read(wire_flow(**changes))
    assert str(at_once.value) == str(lazily.value)


def test_unreadable_contents_are_an_error_when_they_are_read() -> None:
    content = wire_bytes(wire_flow())
    for value, reason in ((b"1e999", "too large"), (b"[" * 600 + b"]" * 600, "levels of nesting")):
        flow = after_a_read(content.replace(b"0.7", value))
        assert flow.spec.name == "Weld seam defects - Qwen3-VL 4B"
        with pytest.raises(ViResponseError, match=reason):
            _ = flow.spec.settings


def test_only_a_consumer_of_contents_gets_them_at_once() -> None:
    flows = ListedFlows(ORGANIZATION_ID)

    def parsed() -> Flow:
        return flows.parse(wire_bytes(wire_flow()), ORIGIN, "items[0]")

    for _ in range(3 * SAMPLE):
        flow = parsed()
        assert not is_decoded(flow)
        _ = (flow.spec.name, flow.metadata.last_updated, [block.block for block in flow.spec.blocks])
    _ = flow.spec.settings
    reading = [is_decoded(flow) for flow in (parsed() for _ in range(3 * SAMPLE)) if flow.spec.blocks[0].settings]
    assert reading.count(False) == 3
    assert [is_decoded(parsed()) for _ in range(2 * SAMPLE)].count(True) < SAMPLE


def test_field_that_was_absent_stays_absent() -> None:
    flow = after_a_read(wire_flow(spec__trainingProject=ABSENT))
    assert is_decoded(flow)
    assert (flow.spec.training_project, "trainingProject" in flow.to_wire()["spec"]) == (None, False)


@given(wire_flows().map(plain))
def test_canonical_forms_of_a_plain_flow_are_those_of_its_wire_form(wire: dict[str, Any]) -> None:
    content = wire_bytes(wire)
    forms = [after_a_read(wire).canonical_forms(), WireForms(json.loads(content))]
    assert [type(each) for each in forms] == [PlainFlow, WireForms]
    texts, specs, digests, fingerprints = zip(
        *((each.text(), each.spec_text(), each.digest(), each.fingerprint()) for each in forms), strict=True
    )
    assert texts == (canonical_json(wire),) * 2
    assert specs == (canonical_json(wire["spec"]),) * 2
    assert digests[0] == digests[1] == hashlib.sha256(canonical_json(canonical_spec(wire["spec"]))).hexdigest()
    assert fingerprints[0] == fingerprints[1] == hashlib.sha256(canonical_json(comparable(wire))).hexdigest()


@pytest.mark.parametrize("parse", [after_a_read, lazily_listed])
def test_canonical_forms_include_the_changes_of_a_caller(parse: Callable[[Any], Flow]) -> None:
    changes: list[Callable[[Flow], Any]] = [
        lambda f: f.metadata.attributes.update(team="line-4"),
        lambda f: f.spec.tolerations["gpu"].append("H100"),
        lambda f: f.spec.settings.update(seed=8),
        lambda f: f.spec.blocks.pop(),
        lambda f: f.spec.blocks[0].settings.update(prompt="?"),
    ]
    for change in changes:
        flow = parse(wire_flow())
        before = flow.canonical_forms().fingerprint()
        change(flow)
        forms = flow.canonical_forms()
        assert forms.text() == canonical_json(flow.model_dump(mode="json", by_alias=True))
        assert forms.fingerprint() != before


def test_wire_form_of_a_flow_decoded_at_once_belongs_to_the_caller() -> None:
    flow = after_a_read(wire_flow())
    flow.to_wire()["spec"]["settings"]["seed"] = 9
    assert flow.to_wire()["spec"] == flow.spec.to_wire() == wire_flow()["spec"]


def test_consumer_of_canonical_forms_gets_the_next_flows_decoded() -> None:
    flows = ListedFlows(ORGANIZATION_ID)
    _ = flows.parse(wire_bytes(wire_flow()), ORIGIN, "items[0]").fingerprint
    assert is_decoded(flows.parse(wire_bytes(wire_flow()), ORIGIN, "items[1]"))


@given(ANY_FLOW, st.binary(max_size=8), st.integers(0, 900))
def test_stored_flow_is_read_as_pydantic_reads_it(wire: dict[str, Any], damage: bytes, place: int) -> None:
    content = canonical_json(wire)
    found: list[list[Any]] = []
    for text in (content + b"\n", content[:place] + damage + content[place + len(damage) :]):
        for parse in (parse_stored_flow, Flow.model_validate_json):
            try:
                flow = parse(text)
            except ValidationError as error:
                found.append([str(error)])
            else:
                found.append([flow, repr(flow), canonical_json(flow.to_wire()), flow.fingerprint])
    assert found[0] == found[1]
    assert found[2] == found[3]
