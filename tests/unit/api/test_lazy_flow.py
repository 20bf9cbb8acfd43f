"""A flow of a listing is decoded on access, and equals one that was decoded at once."""

from __future__ import annotations

import copy
import json
import pickle
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from tests.documents import ABSENT, FLOW_ID, ORGANIZATION_ID, wire_bytes, wire_flow
from tests.strategies import wire_flows
from vi_airflow_provider.api.canonical import CanonicalForms
from vi_airflow_provider.api.errors import ViResponseError
from vi_airflow_provider.api.models import Flow, FlowPage, FlowSpec
from vi_airflow_provider.api.protocol.lazy_flow import parse_listed_flow
from vi_airflow_provider.api.protocol.outcomes import ErrorContext

ORIGIN: Final = ErrorContext("GET", "/workspaces/o/flows", 200, "trace", 2)


def listed(wire: Any) -> Flow:
    return parse_listed_flow(ORGANIZATION_ID, wire if isinstance(wire, bytes) else wire_bytes(wire), ORIGIN, "items[3]")


class Holder(BaseModel):
    """A model of a user's that has a flow in it."""

    flow: Flow


def _old_copy(flow: Flow) -> FlowSpec:
    with pytest.warns(DeprecationWarning, match="model_copy"):
        return flow.spec.copy()


def _hash_error(flow: Flow) -> str:
    with pytest.raises(TypeError) as caught:
        hash(flow)
    return str(caught.value)


def _forms(forms: CanonicalForms) -> tuple[bytes, bytes, str, str]:
    return forms.text(), forms.spec_text(), forms.digest(), forms.fingerprint()


#: Whatever can be seen of a flow. The first look at it is the one that decodes.
LOOKS: Final[dict[str, Callable[[Flow], Any]]] = {
    "dump": lambda f: f.model_dump(),
    "xcom": lambda f: json.dumps(f.model_dump(mode="json")),
    "text": lambda f: f.model_dump_json(),
    "wire": lambda f: json.dumps(f.to_wire(), sort_keys=True),  # its keys may come in the server's order
    "all fields": lambda f: json.dumps(f.model_dump(mode="json", exclude_unset=False)),
    "by an adapter": lambda f: json.loads(TypeAdapter(Flow).dump_json(f)),
    "within a page": lambda f: json.loads(FlowPage(items=[f]).model_dump_json()),
    "within a user's model": lambda f: json.loads(Holder(flow=f).model_dump_json()),
    "spec within a user's model": lambda f: json.loads(TypeAdapter(dict[str, FlowSpec]).dump_json({"spec": f.spec})),
    "pydantic's old copy": lambda f: _old_copy(f).model_dump_json(),
    "repr": repr,
    "str": str,
    "dict": dict,
    "pickle": lambda f: pickle.loads(pickle.dumps(f)),  # noqa: S301 - our own
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "model_copy": lambda f: f.model_copy(update={"etag": "other"}),
    "validated": lambda f: Flow.model_validate(f).to_wire(),
    "digest": lambda f: f.digest,
    "fingerprint": lambda f: f.fingerprint,
    "canonical forms": lambda f: _forms(f.canonical_forms()),
    "extra": lambda f: (f.model_extra, f.spec.model_extra, f.metadata.model_extra),
    "set": lambda f: (f.model_fields_set, f.spec.model_fields_set, f.metadata.model_fields_set),
    "settings": lambda f: f.spec.settings,
    "blocks": lambda f: [(block.block, block.settings, block.style, block.model_extra) for block in f.spec.blocks],
    "blocks dumped": lambda f: [block.model_dump_json() for block in f.spec.blocks],
    "names": lambda f: (f.flow_id, f.spec.name, f.spec.training_project, f.metadata.last_updated, len(f.spec.blocks)),
    "hash": _hash_error,
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
@settings(max_examples=20)
@given(wire_flows())
def test_a_lazy_flow_equals_an_eager_one_in_every_use(look: Callable[[Flow], Any], wire: dict[str, Any]) -> None:
    assert look(listed(wire)) == look(Flow.model_validate_json(wire_bytes(wire)))


@given(wire_flows(), st.lists(st.sampled_from(sorted(LOOKS)), max_size=4))
def test_equality_does_not_depend_on_what_was_decoded(wire: dict[str, Any], looks: list[str]) -> None:
    flow, whole = listed(wire), Flow.model_validate_json(wire_bytes(wire))
    for look in looks:
        LOOKS[look](flow)
    assert flow == whole
    assert flow.model_dump_json() == whole.model_dump_json()


@given(wire_flows())
def test_both_sides_of_a_comparison_may_be_undecoded(wire: dict[str, Any]) -> None:
    whole = Flow.model_validate_json(wire_bytes(wire))
    assert whole == listed(wire)
    assert listed(wire) == listed(wire)
    assert listed(wire).spec == whole.spec
    assert listed(wire) != listed({**wire, "etag": "another"})
    assert listed(wire) != wire


def test_changes_by_a_caller_are_in_the_wire_form() -> None:
    flow = listed(wire_flow())
    flow.metadata.attributes["team"] = "line-4"
    flow.spec.tolerations["gpu"].append("H100")
    assert (flow.to_wire()["metadata"]["attributes"], flow.to_wire()["spec"]["tolerations"]) == (
        {"team": "line-4"},
        {"gpu": ["T4", "A100", "H100"]},
    )
    flow.spec.blocks.pop()
    assert len(flow.to_wire()["spec"]["blocks"]) == 1
    flow.spec.settings["seed"] = 8
    assert flow.to_wire()["spec"]["settings"] == {"seed": 8}
    flow.to_wire()["spec"]["settings"]["seed"] = 9
    assert flow.spec.settings == {"seed": 8}


def test_names_times_and_blocks_are_read_without_decoding_the_settings() -> None:
    flow = listed(wire_bytes(wire_flow()).replace(b'"temperature":0.7', b'"temperature":1e999'))
    assert (flow.spec.name, flow.spec.training_project) == ("Weld seam defects - Qwen3-VL 4B", "weld-inspection")
    assert (flow.metadata.generation, flow.metadata.attributes) == (4, {"team": "line-3"})
    assert [block.block for block in flow.spec.blocks] == ["system-prompt", "vlm-model"]
    with pytest.raises(
        ViResponseError, match=r"flow .*: items\[3\].spec.blocks\[1\].settings.*: a number that is too large"
    ) as e:
        _ = flow.spec.blocks[1].settings
    assert (e.value.status_code, e.value.path, e.value.trace_id) == (200, "/workspaces/o/flows", "trace")
    with pytest.raises(ViResponseError):
        flow.to_wire()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec__blocks__1__settings", []),
        ("spec__blocks__1__style", None),
        ("spec__blocks__0__block", ABSENT),
        ("spec__settings", "none"),
        ("spec__tolerations__gpu", [5]),
        ("metadata__timeCreated", 1.5),
        ("metadata__attributes__team", None),
        ("kind", "Run"),
        ("etag", ABSENT),
    ],
)
def test_every_required_field_is_checked_before_access(path: str, value: Any) -> None:
    with pytest.raises(ViResponseError, match=r"items\[3\]"):
        listed(wire_flow(**{path: value}))


@given(st.binary(max_size=40), st.integers(0, 900))
def test_a_damaged_flow_is_refused_at_once_or_valid(damage: bytes, place: int) -> None:
    content = wire_bytes(wire_flow())
    content = content[:place] + damage + content[place + len(damage) :]
    try:
        content.decode()
        flow = listed(content)
    except (UnicodeDecodeError, ViResponseError):
        return
    flow.model_dump_json()


@pytest.mark.parametrize("path", ["flow_id", "spec__training_project", "metadata__last_updated"])
def test_a_field_replacing_another_in_an_xcom_is_refused_when_read(path: str) -> None:
    flow = listed(wire_flow(**{path: "another"}))
    assert (flow.flow_id, flow.spec.training_project) == (FLOW_ID, "weld-inspection")
    with pytest.raises(ViResponseError, match=r"items\[3\]: \w+: .*cannot be told apart"):
        flow.model_dump(mode="json")


def test_block_is_unhashable_before_and_after_decoding() -> None:
    block = listed(wire_flow()).spec.blocks[0]
    for _ in range(2):
        with pytest.raises(TypeError, match="unhashable"):
            hash(block)


def test_a_missing_attribute_raises_attribute_error() -> None:
    flow = listed(wire_flow())
    with pytest.raises(AttributeError, match="'FlowSpec' object has no attribute 'block'"):
        _ = flow.spec.block  # type: ignore[attr-defined]
    assert flow.spec.settings == {"seed": 7}


def test_blocks_outlive_their_flow() -> None:
    blocks = listed(wire_flow()).spec.blocks
    blocks.append(blocks[0])  # the list is the caller's
    assert blocks[1].settings["architecture"] == {"name": "qwen3vl", "size": "4B"}


def test_threads_may_read_one_flow_concurrently(request: pytest.FixtureRequest) -> None:
    whole = Flow.model_validate(wire_flow())
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    request.addfinalizer(lambda: sys.setswitchinterval(interval))
    for _ in range(300):
        flow = listed(wire_flow())
        seen: list[Any] = []
        start = threading.Barrier(4)

        def read(flow: Flow = flow, seen: list[Any] = seen, start: threading.Barrier = start) -> None:
            start.wait(5)
            seen.append(([block.settings for block in flow.spec.blocks], flow.spec.training_project, flow.to_wire()))

        threads = [threading.Thread(target=read, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        blocks = [block.settings for block in whole.spec.blocks]
        assert seen == [(blocks, whole.spec.training_project, whole.to_wire())] * 4
