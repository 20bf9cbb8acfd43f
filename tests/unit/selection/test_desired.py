"""Whether a flow is as desired, and whether a write over what exists is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.documents import ABSENT, wire_flow, wire_spec
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.models import Flow, GuardedWrite
from vi_airflow_provider.selection.desired import DesiredFlow, WriteGuard, patch_document


def flow(**changes: Any) -> Flow:
    return Flow.model_validate(wire_flow(**changes))


DESIRED = DesiredFlow.build(wire_spec(), {"team": "line-3"})

EQUAL: list[dict[str, Any]] = [
    {},
    {"spec__blocks__0__style": {}},
    {"spec__settings": {"seed": 7.0}},
    {"metadata__generation": 9, "etag": "other"},
]
ADDED: list[dict[str, Any]] = [
    {"spec__settings": {"seed": 7, "deterministic": False}},
    {"spec__blocks__1__settings__quantization": {"enabled": False}},
    {"spec__tolerations__cpu": ["any"]},
    {"spec__owner": "server"},
    {"metadata__attributes": {"team": "line-3", "createdBy": "key-1"}},
]
OTHER: list[dict[str, Any]] = [
    {"spec__name": "other"},
    {"spec__settings": {}},
    {"spec__settings": {"seed": 8}},
    {"spec__settings": {"seed": True}},
    {"spec__settings": {"seed": "7"}},
    {"spec__settings": {"seed": [7]}},
    {"spec__blocks": wire_spec()["blocks"][:1]},
    {"spec__blocks": [*wire_spec()["blocks"], wire_spec()["blocks"][0]]},
    {"spec__blocks": wire_spec()["blocks"][::-1]},
    {"spec__tolerations__gpu": ["T4"]},
    {"spec__trainingProject": ABSENT},
    {"metadata__attributes": {}},
    {"metadata__attributes": {"team": "other"}},
]


@pytest.mark.parametrize("changes", EQUAL, ids=str)
def test_layout_and_bookkeeping_do_not_matter(changes: dict[str, Any]) -> None:
    assert DESIRED.is_met_by(flow(**changes))
    assert DESIRED.is_met_by(flow(**changes), additions=True)


@pytest.mark.parametrize("changes", ADDED, ids=str)
def test_what_a_server_adds_is_accepted_only_on_request(changes: dict[str, Any]) -> None:
    assert not DESIRED.is_met_by(flow(**changes))
    assert DESIRED.is_met_by(flow(**changes), additions=True)


@pytest.mark.parametrize("changes", OTHER, ids=str)
def test_a_flow_that_lacks_or_contradicts_something_differs(changes: dict[str, Any]) -> None:
    assert not DESIRED.is_met_by(flow(**changes))
    assert not DESIRED.is_met_by(flow(**changes), additions=True)


def test_one_is_not_true() -> None:
    assert not DesiredFlow.build(wire_spec(settings={"seed": True}), None).is_met_by(flow(spec__settings={"seed": 1}))


@pytest.mark.parametrize("wanted", [{}, [], "", None, 0], ids=repr)
@pytest.mark.parametrize("actual", [{}, [], "", None, 0], ids=repr)
def test_empty_values_of_different_types_differ(wanted: Any, actual: Any) -> None:
    desired = DesiredFlow.build(wire_spec(settings={"a": wanted}), None)
    for additions in (False, True):
        met = desired.is_met_by(flow(spec__settings={"a": actual}), additions=additions)
        assert met is (type(wanted) is type(actual))


def test_a_document_is_what_a_write_contains() -> None:
    assert DESIRED.document() == {"spec": wire_spec(), "metadata": {"attributes": {"team": "line-3"}}}
    assert DesiredFlow.build(wire_spec(), None).document() == {"spec": wire_spec()}


def test_attributes_that_are_not_given_do_not_matter() -> None:
    assert DesiredFlow.build(wire_spec(), None).is_met_by(flow(metadata__attributes={"any": "thing"}))
    assert not DesiredFlow.build(wire_spec(), {}).is_met_by(flow())


def test_training_project_of_null_is_no_project() -> None:
    desired = DesiredFlow.build(wire_spec(trainingProject=None), None)
    assert desired.is_met_by(flow(spec__trainingProject=ABSENT))
    assert not desired.is_met_by(flow())


@pytest.mark.parametrize(("spec", "attributes"), [({"name": "n"}, None), ("text", None), (wire_spec(), {"a": 1})])
def test_unusable_values_are_refused(spec: Any, attributes: Any) -> None:
    with pytest.raises(ViValidationError, match=r"^(spec|attributes)"):
        DesiredFlow.build(spec, attributes)


def test_a_patch_document_holds_only_what_is_given() -> None:
    assert patch_document(None, None) == {}
    assert patch_document({"training_project": None}, {"a": None}) == {
        "spec": {"trainingProject": None},
        "metadata": {"attributes": {"a": None}},
    }


# --- guard ---------------------------------------------------------------------------------------------------------

FOUND, EDITED = flow(spec__name="other"), flow(spec__name="edited", etag="edited", metadata__generation=5)


@pytest.mark.parametrize("replace", [False, True])
def test_an_absent_flow_may_be_written_while_it_is_absent(replace: bool) -> None:
    guard = WriteGuard(DESIRED, replace=replace)
    assert [guard(None), guard(None), guard(EDITED)] == [True, True, False]


def test_an_existing_flow_may_not_be_written_over() -> None:
    guard = WriteGuard(DESIRED, replace=False)
    assert not guard(FOUND)


@pytest.mark.parametrize("latest", [EDITED, None], ids=["edited", "deleted"])
def test_a_flow_may_be_replaced_only_as_the_first_read_found_it(latest: Flow | None) -> None:
    guard = WriteGuard(DESIRED, replace=True)
    assert [guard(FOUND), guard(FOUND), guard(latest)] == [True, True, False]


def test_an_equal_flow_is_not_replaced() -> None:
    assert not WriteGuard(DESIRED, replace=True)(flow())


@pytest.mark.parametrize(
    ("replace", "reads", "earlier_try", "accepted"),
    [
        (False, [], False, False),
        (False, [], True, True),
        (False, [None], False, True),
        (True, [], True, False),
        (True, [FOUND], False, False),
    ],
    ids=["another client's", "a retry", "after a lost response", "replace, a retry", "replace, after a lost response"],
)
def test_additions_are_accepted_only_in_what_the_task_may_have_created(
    replace: bool, reads: list[Flow | None], earlier_try: bool, accepted: bool
) -> None:
    guard = WriteGuard(DESIRED, replace=replace)
    found = flow(**ADDED[0], etag="added")
    for read in [*reads, found]:
        guard(read)
    assert (guard.accepted(GuardedWrite(False, found), earlier_try=earlier_try) is found) is accepted


def test_what_was_written_is_accepted_whatever_the_server_made_of_it() -> None:
    guard = WriteGuard(DESIRED, replace=False)
    assert guard(None)
    assert guard.accepted(GuardedWrite(True, FOUND), earlier_try=False) is FOUND
    assert guard.accepted(GuardedWrite(False, None), earlier_try=True) is None
