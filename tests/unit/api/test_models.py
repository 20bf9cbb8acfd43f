"""The documents: what is read is what is written back, in both forms, and nothing wrong is read."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from copy import deepcopy
from typing import Any, Final

import pytest
from hypothesis import given
from pydantic import ValidationError

from tests.documents import ABSENT, ORGANIZATION_ID, wire_bytes, wire_flow, wire_spec
from tests.strategies import wire_flows
from vi_airflow_provider.api import models
from vi_airflow_provider.api.models import (
    DeletedFlow,
    Flow,
    FlowBlock,
    FlowSpec,
    FlowSpecPatch,
    SimpleFlow,
    format_time,
)

# --- reading -------------------------------------------------------------------------------------------------------


def test_a_flow_has_the_field_names_of_the_vendors_page() -> None:
    wire = wire_flow()
    flow = Flow.model_validate(wire)
    assert (flow.kind, flow.flow_id, flow.organization_id) == ("Flow", wire["flowId"], ORGANIZATION_ID)
    assert (flow.self_link, flow.etag) == (wire["selfLink"], wire["etag"])
    spec = flow.spec
    assert (spec.name, spec.schema, spec.training_project) == (wire["spec"]["name"], "v1", "weld-inspection")
    assert (spec.tolerations, spec.settings) == ({"gpu": ["T4", "A100"]}, {"seed": 7})
    assert [(block.block, block.settings, block.style) for block in spec.blocks] == [
        (block["block"], block["settings"], block["style"]) for block in wire["spec"]["blocks"]
    ]
    metadata = flow.metadata
    assert (metadata.time_created, metadata.last_updated) == (1_782_864_000_123, 1_783_209_600_456)
    assert (metadata.generation, metadata.attributes) == (4, {"team": "line-3"})


REQUIRED: Final = (
    *("workspaceId", "flowId", "selfLink", "etag", "spec", "metadata"),
    *("spec__name", "spec__schema", "spec__tolerations", "spec__settings", "spec__blocks"),
    *("spec__blocks__1__block", "spec__blocks__1__settings", "spec__blocks__1__style"),
    *("metadata__timeCreated", "metadata__lastUpdated", "metadata__generation", "metadata__attributes"),
)
WRONG: Final[dict[str, list[Any]]] = {
    "kind": ["flow", "Run", None, 5],
    "workspaceId": [None, 5],
    "flowId": [None, 5, ["a"]],
    "selfLink": [None],
    "etag": [None, 4],
    "spec": [None, [], "spec"],
    "spec__name": [None, 5],
    "spec__schema": [None, 1],
    "spec__tolerations": [None, [], {"gpu": "T4"}, {"gpu": [1]}, {"gpu": None}],
    "spec__settings": [None, []],
    "spec__blocks": [None, {}, "none"],
    "spec__blocks__1": [None, "block"],
    "spec__blocks__1__block": [None, 1],
    "spec__blocks__1__settings": [None, []],
    "spec__blocks__1__style": [None],
    "spec__trainingProject": [5, {}],
    "metadata": [None, []],
    "metadata__timeCreated": [1.75e12, 1.5, "1782864000123", "2026-07-01T00:00:00Z", None, True],
    "metadata__lastUpdated": [1.75e12, "2026-07-01T00:00:00Z", None, False],
    "metadata__generation": [4.0, "4", None, True],
    "metadata__attributes": [None, [], {"team": 3}, {"team": None}, {"team": ["line-3"]}, {"team": True}],
}


def _places(error: ValidationError) -> set[str]:
    return {"__".join(map(str, mistake["loc"])) for mistake in error.errors()}


@pytest.mark.parametrize("path", REQUIRED)
def test_a_missing_required_field_is_refused_under_its_wire_name(path: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Flow.model_validate_json(wire_bytes(wire_flow(**{path: ABSENT})))
    assert _places(caught.value) == {path}


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, values in WRONG.items() for value in values])
def test_a_value_of_a_wrong_type_is_refused_under_its_wire_name(path: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        Flow.model_validate_json(wire_bytes(wire_flow(**{path: value})))
    assert all(place.startswith(path) for place in _places(caught.value))


def test_an_integral_float_is_not_a_time() -> None:
    content = wire_bytes(wire_flow(metadata__timeCreated=12345)).replace(b"12345", b"1.75e12")
    with pytest.raises(ValidationError, match="timeCreated"):
        Flow.model_validate_json(content)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("flow_id", "flow_id"),
        ("spec__training_project", "training_project"),
        ("metadata__last_updated", "last_updated"),
        ("metadata__time_created", "time_created"),
    ],
)
def test_a_field_that_would_replace_another_in_an_xcom_is_refused(path: str, name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name}: an unknown field has the name"):
        Flow.model_validate_json(wire_bytes(wire_flow(**{path: "another"})))


# --- round trips ---------------------------------------------------------------------------------------------------


@given(wire_flows())
def test_wire_to_model_to_xcom_to_model_to_wire_loses_nothing(wire: dict[str, Any]) -> None:
    flow = Flow.model_validate_json(json.dumps(wire))
    xcom = flow.model_dump(mode="json")
    assert json.loads(json.dumps(xcom, allow_nan=False)) == xcom
    again = Flow.model_validate(xcom)
    assert again == flow
    assert json.dumps(again.to_wire(), sort_keys=True) == json.dumps(wire, sort_keys=True)


@given(wire_flows())
def test_dumps_to_text_equal_the_dumps_to_dicts(wire: dict[str, Any]) -> None:
    flow = Flow.model_validate(wire)
    assert json.loads(flow.model_dump_json()) == flow.model_dump(mode="json")
    assert json.loads(flow.model_dump_json(by_alias=True)) == flow.to_wire()


@pytest.mark.parametrize("path", ["", "spec", "spec__blocks__0", "metadata"])
@pytest.mark.parametrize("value", [None, {"a": [1]}, "text"])
def test_an_unknown_field_survives_at_every_level(path: str, value: Any) -> None:
    wire = wire_flow(**{f"{path}__newField" if path else "newField": value})
    flow = Flow.model_validate(wire)
    assert flow.to_wire() == wire
    assert Flow.model_validate(flow.model_dump(mode="json")).to_wire() == wire


@pytest.mark.parametrize(
    "changes", [{"spec__trainingProject": None}, {"spec__trainingProject": ABSENT}, {"kind": ABSENT}]
)
def test_null_stays_null_and_absent_stays_absent(changes: dict[str, Any]) -> None:
    wire = wire_flow(**changes)
    flow = Flow.model_validate(wire)
    assert flow.spec.training_project in (None, "weld-inspection")
    assert flow.kind == "Flow"
    assert Flow.model_validate(flow.model_dump(mode="json")).to_wire() == wire


def test_the_xcom_form_has_snake_case_names_and_verbatim_data() -> None:
    wire = wire_flow(spec__settings={"maxSteps": 1, "max_steps": 2}, metadata__attributes={"camelCase": "kept"})
    xcom = Flow.model_validate(wire).model_dump(mode="json")
    assert set(xcom) == {"kind", "organization_id", "flow_id", "spec", "metadata", "self_link", "etag"}
    assert set(xcom["metadata"]) == {"time_created", "last_updated", "generation", "attributes"}
    assert xcom["spec"]["training_project"] == "weld-inspection"
    assert xcom["spec"]["settings"] == {"maxSteps": 1, "max_steps": 2}
    assert xcom["metadata"]["attributes"] == {"camelCase": "kept"}


def test_a_simple_flow_may_have_no_name() -> None:
    assert SimpleFlow.model_validate({"flowId": "a"}).to_wire() == {"flowId": "a"}
    assert SimpleFlow.model_validate({"flowId": "a", "name": "n"}).name == "n"


def test_documents_can_be_pickled_copied_and_compared() -> None:
    flow = Flow.model_validate(wire_flow())
    assert pickle.loads(pickle.dumps(flow)) == flow == deepcopy(flow)  # noqa: S301
    assert flow != Flow.model_validate(wire_flow(etag="other"))


@pytest.mark.parametrize(
    ("document", "name"),
    [
        (Flow.model_validate(wire_flow()), "etag"),
        (Flow.model_validate(wire_flow()).spec, "name"),
        (Flow.model_validate(wire_flow()).spec, "schema"),
        (Flow.model_validate(wire_flow()).metadata, "generation"),
        (DeletedFlow(id="a", deleted=True, already_absent=False), "deleted"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_documents_are_frozen(document: Any, name: str) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(document, name, getattr(document, name))


# --- what authors write --------------------------------------------------------------------------------------------


def test_empty_containers_may_be_omitted() -> None:
    spec = FlowSpec.complete({"name": "n", "schema": "v1", "blocks": [{"block": "model", "settings": {"a": 1}}]})
    assert spec.to_wire() == {
        "name": "n",
        "schema": "v1",
        "tolerations": {},
        "settings": {},
        "blocks": [{"block": "model", "settings": {"a": 1}, "style": {}}],
    }


@pytest.mark.parametrize("name", ["training_project", "trainingProject"])
def test_a_spec_may_be_snake_case_or_camel_case(name: str) -> None:
    spec = FlowSpec.complete({"name": "n", "schema": "v1", "blocks": [], name: "p"})
    assert spec.to_wire()["trainingProject"] == "p"
    assert FlowSpecPatch.complete({name: "p"}).to_wire() == {"trainingProject": "p"}


def test_a_complete_spec_is_used_unchanged() -> None:
    spec = Flow.model_validate(wire_flow()).spec
    assert FlowSpec.complete(spec) is spec
    assert FlowSpec.complete(wire_spec()) == spec
    assert FlowSpecPatch.complete(spec).to_wire() == spec.to_wire()


def test_the_given_spec_is_not_modified() -> None:
    given_spec = {"name": "n", "schema": "v1", "blocks": [{"block": "model"}]}
    before = deepcopy(given_spec)
    FlowSpec.complete(given_spec)
    FlowSpecPatch.complete(given_spec)
    assert given_spec == before


@pytest.mark.parametrize("missing", ["name", "schema", "blocks"])
def test_other_required_fields_may_not_be_omitted(missing: str) -> None:
    spec = {key: value for key, value in wire_spec().items() if key != missing}
    with pytest.raises(ValidationError, match=missing):
        FlowSpec.complete(spec)


@pytest.mark.parametrize("field", sorted(wire_spec()))
def test_a_patch_contains_only_the_given_fields(field: str) -> None:
    value = wire_spec()[field]
    assert FlowSpecPatch.complete({field: value}).to_wire() == {field: value}


@pytest.mark.parametrize(
    "fields",
    [{"name": None}, {"name": 5}, {"blocks": {}}, {"blocks": [{}]}, {"settings": None}, {"tolerations": []}],
    ids=str,
)
def test_a_patch_is_validated(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FlowSpecPatch.complete(fields)


# --- summaries ----------------------------------------------------------------------------------------------------


def test_info_prints_a_summary_and_returns_it(capsys: pytest.CaptureFixture[str]) -> None:
    flow = Flow.model_validate(wire_flow(metadata__timeCreated=1_782_864_000_123))
    text = flow.info()
    assert capsys.readouterr().out == f"{text}\n"
    assert text.splitlines() == [
        "Flow: Weld seam defects - Qwen3-VL 4B",
        "  Flow ID:          0f4c9c1e-7a53-4f0e-8f0d-2b1f6f3a9d21",
        f"  Organization:     {ORGANIZATION_ID}",
        "  Schema:           v1",
        "  Training project: weld-inspection",
        "  Created:          2026-07-01 00:00:00 UTC",
        "  Last updated:     2026-07-05 00:00:00 UTC",
        "  Generation:       4",
        "  Attributes:       team=line-3",
        "  Tolerations:      gpu: ['T4', 'A100']",
        "  Settings:         seed=7",
        f"  Digest:           {flow.digest}",
        "  Blocks (2):",
        "    1. system-prompt",
        "    2. vlm-model",
    ]


@given(wire_flows())
def test_info_summarizes_every_flow(wire: dict[str, Any]) -> None:
    flow = Flow.model_validate(wire)
    assert f"Flow ID:          {flow.flow_id}" in flow.info()


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01 00:00:00 UTC"),
        (1_782_864_000_999, "2026-07-01 00:00:00 UTC"),
        (-1, "1969-12-31 23:59:59 UTC"),
        (253_402_300_799_999, "9999-12-31 23:59:59 UTC"),
        (253_402_300_800_000, "253402300800000 ms"),
        (10**30, f"{10**30} ms"),
    ],
)
def test_a_time_out_of_range_is_formatted_as_a_number(ms: int, text: str) -> None:
    assert format_time(ms) == text


def test_a_block_needs_no_flow_around_it() -> None:
    block = {"block": "model", "settings": {}, "style": {}}
    assert FlowBlock.model_validate(block).to_wire() == block


# --- import --------------------------------------------------------------------------------------------------------


def test_importing_raises_no_warning() -> None:
    command = [sys.executable, "-W", "error", "-c", "import vi_airflow_provider.api.models"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stderr) == (0, "")


def test_clients_import_the_models_of_runs_only_when_they_are_used() -> None:
    script = (
        "import sys, vi_airflow_provider.api.client, vi_airflow_provider.api.async_client as clients\n"
        "later = {f'vi_airflow_provider.api.models.{name}' for name in ('runs', 'training_projects')}\n"
        "assert not later & set(sys.modules)\n"
        "from vi_airflow_provider.api.models import Run\n"
        "assert later & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)  # noqa: S603 - our own interpreter


def test_all_public_models_can_be_imported_and_no_others() -> None:
    assert all(getattr(models, name) for name in models.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Rum'"):
        models.Rum  # type: ignore[attr-defined]  # noqa: B018
