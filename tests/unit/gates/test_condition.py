"""What a gate waits for: the boundaries of every condition, and conditions that no flow can meet."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.documents import FLOW_ID, wire_flow
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.gates.condition import FlowCondition, Gate, Target, Verdict

#: Five days after the last update of the example, to the millisecond.
NOW: Final = datetime.fromtimestamp(1_783_209_600.456, UTC) + timedelta(days=5)
BY_ID: Final = {"flow_id": FLOW_ID}
DIGEST: Final = Flow.model_validate(wire_flow()).digest


def judged(condition: dict[str, Any], **changes: Any) -> Verdict:
    gate = Gate.build(BY_ID, condition)
    return gate.condition.judge(Flow.model_validate(wire_flow(**changes)), NOW)


# --- the verdict ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ({}, None),
        ({"min_generation": 4}, None),
        ({"min_generation": 5}, "its generation is 4, not yet 5"),
        ({"required_blocks": ["vlm-model", "system-prompt"]}, None),
        ({"required_blocks": []}, None),
        ({"required_blocks": ["vlm-model", "dataset", "augment"]}, "it has no block augment, dataset"),
        ({"attributes": {"team": "line-3"}}, None),
        ({"attributes": {}}, None),
        ({"attributes": {"team": "Line-3"}}, "its attribute team is not 'Line-3'"),
        ({"attributes": {"approved": ""}}, "its attribute approved is not ''"),
        ({"expected_digest": DIGEST}, None),
        ({"expected_digest": DIGEST[:-1]}, f"its digest is {DIGEST}"),
        ({"unchanged_for": timedelta(days=5)}, None),
        ({"unchanged_for": "P5D"}, None),
        ({"unchanged_for": timedelta(0)}, None),
        ({"unchanged_for": timedelta(days=5, milliseconds=1)}, "it was changed 5 days, 0:00:00 ago"),
        ({"min_generation": 4, "attributes": {"team": "line-3"}, "unchanged_for": "P5D"}, None),
        ({"min_generation": 5, "attributes": {"team": "x"}}, "its generation is 4, not yet 5"),
        ({"min_generation": 4, "attributes": {"team": "x"}}, "its attribute team is not 'x'"),
        ({"absent": True}, "it still exists"),
    ],
    ids=str,
)
def test_a_flow_has_to_meet_all_conditions(condition: dict[str, Any], reason: str | None) -> None:
    name = wire_flow()["spec"]["name"]
    assert judged(condition) == Verdict(reason is None, reason or f"it is there: {name!r}")


@pytest.mark.parametrize(
    "condition", [{}, {"min_generation": 0}, {"attributes": {}}, {"unchanged_for": "PT0S"}], ids=str
)
def test_a_missing_flow_opens_only_a_gate_for_its_absence(condition: dict[str, Any]) -> None:
    assert Gate.build(BY_ID, condition).condition.judge(None, NOW) == Verdict(False, "it does not exist")
    assert Gate.build(BY_ID, {"absent": True}).condition.judge(None, NOW) == Verdict(True, "it does not exist")


def test_settings_change_the_digest_and_layout_does_not() -> None:
    condition = {"expected_digest": DIGEST}
    assert judged(condition, spec__blocks__0__style={"x": 1}, metadata__generation=9).met
    assert not judged(condition, spec__settings={"seed": 8}).met


@pytest.mark.parametrize("last_updated", [10**15, 2**63 - 1], ids=str)
def test_an_update_in_the_future_was_just_now(last_updated: int) -> None:
    verdict = judged({"unchanged_for": timedelta(days=1)}, metadata__lastUpdated=last_updated)
    assert verdict == Verdict(False, "it was changed 0:00:00 ago")


@pytest.mark.parametrize("last_updated", [0, -1, -(2**63), wire_flow()["metadata"]["timeCreated"] - 1], ids=str)
def test_a_placeholder_for_the_time_of_update_is_not_long_ago(last_updated: int) -> None:
    verdict = judged({"unchanged_for": timedelta(0)}, metadata__lastUpdated=last_updated)
    assert verdict == Verdict(False, f"its time of update is unknown ({last_updated})")


@pytest.mark.parametrize("time", [0, -1])
def test_a_placeholder_for_both_times_is_not_long_ago(time: int) -> None:
    verdict = judged({"unchanged_for": timedelta(0)}, metadata__timeCreated=time, metadata__lastUpdated=time)
    assert verdict == Verdict(False, f"its time of update is unknown ({time})")


def test_another_change_restarts_the_time_of_rest() -> None:
    rest = FlowCondition(unchanged_for=timedelta(hours=1))
    before, after = (
        Flow.model_validate(wire_flow(metadata__timeCreated=1, metadata__lastUpdated=ms)) for ms in (1, 3_500_000)
    )
    assert rest.judge(before, datetime.fromtimestamp(3601, UTC)).met
    assert not rest.judge(after, datetime.fromtimestamp(3601, UTC)).met


# --- arguments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "condition", "words"),
    [
        ({}, {}, "either flow_id or flow_name"),
        ({"flow_id": None, "flow_name": None}, {}, "either flow_id or flow_name"),
        ({"flow_id": "a", "flow_name": "b"}, {}, "either flow_id or flow_name"),
        ({"flow_id": ""}, {}, "'' is not a valid flow id"),
        ({"flow_id": "../a"}, {}, "is not a valid flow id"),
        ({"flow_id": "a\n"}, {}, "is not a valid flow id"),
        ({"flow_id": 5}, {}, "flow_id: "),
        ({"flow_name": ""}, {}, "flow_name: "),
        ({"flow_name": "a", "training_project": ""}, {}, "training_project: "),
        (BY_ID, {"expected_digest": ""}, "expected_digest: "),
        (BY_ID, {"required_blocks": "vlm-model"}, "required_blocks: "),
        (BY_ID, {"required_blocks": [1]}, "required_blocks"),
        (BY_ID, {"min_generation": "many"}, "min_generation: "),
        (BY_ID, {"attributes": {"a": 1}}, "attributes.a: "),
        (BY_ID, {"attributes": "a=b"}, "attributes: "),
        (BY_ID, {"unchanged_for": 90}, "unchanged_for: "),
        (BY_ID, {"unchanged_for": "-P1D"}, "unchanged_for: "),
        (BY_ID, {"unchanged_for": timedelta(-1)}, "unchanged_for: "),
        (BY_ID, {"unchanged_for": ""}, "unchanged_for: "),
        (BY_ID, {"absent": True, "min_generation": 1}, "absent: nothing else"),
        (BY_ID, {"absent": True, "unchanged_for": "P1D"}, "absent: nothing else"),
        (BY_ID, {"absent": "perhaps"}, "absent: "),
    ],
    ids=str,
)
def test_an_error_names_the_unusable_argument(target: dict[str, Any], condition: dict[str, Any], words: str) -> None:
    with pytest.raises(ViValidationError, match=words):
        Gate.build(target, condition)


def test_none_counts_as_not_given() -> None:
    nothing = dict.fromkeys(FlowCondition.model_fields)
    assert Gate.build(BY_ID | {"flow_name": None, "training_project": None}, nothing) == Gate.build(BY_ID)


def test_numbers_and_durations_may_be_text_from_a_template() -> None:
    texts = {"min_generation": "3", "unchanged_for": "1 day, 2:00:00", "absent": "false"}
    values = {"min_generation": 3, "unchanged_for": timedelta(hours=26), "absent": False}
    assert Gate.build(BY_ID, texts) == Gate.build(BY_ID, values)


# --- storage -------------------------------------------------------------------------------------------------------

TEXT: Final = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
CONDITIONS: Final = st.builds(
    FlowCondition,
    expected_digest=st.none() | TEXT,
    required_blocks=st.lists(TEXT).map(tuple),
    min_generation=st.none() | st.integers(),
    attributes=st.dictionaries(TEXT, TEXT),
    unchanged_for=st.none() | st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=100_000)),
) | st.just(FlowCondition(absent=True))
TARGETS: Final = st.builds(Target, flow_name=TEXT, training_project=st.none() | TEXT) | st.just(Target(**BY_ID))


@given(target=TARGETS, condition=CONDITIONS)
def test_a_gate_survives_storage(target: Target, condition: FlowCondition) -> None:
    gate = Gate(target=target, condition=condition)
    stored = json.dumps(gate.model_dump(mode="json"), allow_nan=False)
    assert Gate.model_validate(json.loads(stored)) == gate


def test_a_gate_is_frozen_and_refuses_unknown_fields() -> None:
    gate = Gate.build(BY_ID)
    with pytest.raises(ValidationError):
        gate.target = Target(flow_name="x")  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Gate.model_validate({"target": BY_ID, "condition": {"min_genration": 3}})


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (Target(flow_id="f1"), "flow f1"),
        (Target(flow_name="weld"), "flow 'weld'"),
        (Target(flow_name="weld", training_project="p"), "flow 'weld' in training project 'p'"),
    ],
)
def test_a_target_has_a_text_for_logs(target: Target, text: str) -> None:
    assert str(target) == text
