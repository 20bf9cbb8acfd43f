"""Arguments that hold several values: what each type accepts, and in which words it refuses the rest."""

from __future__ import annotations

from typing import Any, Final

import pytest

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.run_state import RunState
from vi_airflow_provider.selection import collection_arguments as arguments

KINDS: Final = {
    "texts": arguments.Texts,
    "attributes": arguments.Attributes,
    "states": arguments.States,
    "ended": arguments.EndedStates,
    "protected": arguments.ProtectedTexts,
    "protected_attributes": arguments.ProtectedAttributes,
}

ACCEPTED: Final[list[tuple[str, Any, Any]]] = [
    ("texts", ["b", "a"], ("b", "a")),
    ("texts", (), ()),
    ("texts", None, None),
    ("attributes", {"line": "3", "empty": ""}, {"line": "3", "empty": ""}),
    ("states", "running", {RunState.RUNNING}),
    ("states", ["failed", "killed", "failed"], {RunState.FAILED, RunState.KILLED}),
    ("states", [], frozenset()),
    ("ended", "failed", {RunState.FAILED}),
    ("ended", list(arguments.ENDED), {RunState.SUCCEEDED, RunState.FAILED, RunState.KILLED}),
    ("protected", {"none", "true", "x"}, {"none", "true", "x"}),
    ("protected_attributes", {"keep": ""}, {"keep": ""}),
]

NOT_TEXT: Final = "is what a template makes of a value that is not text; it would protect nothing"
RENDERED: Final = "'None' is given, or the template rendered to None"
ENDED: Final = "some of 'succeeded', 'failed', 'killed' expected: other runs are never deleted"

REFUSED: Final[list[tuple[str, Any, str]]] = [
    ("texts", "a", "'a' is not a list of strings; write ['a']"),
    ("texts", b"a", "b'a' is not a list of strings"),
    ("texts", 5, "5 is not a list of strings; write ['5']"),
    ("texts", 5.5, "5.5 is not a list of strings"),
    ("texts", {"a": "b"}, "{'a': 'b'} is not a list of strings"),
    ("attributes", ["line"], "['line'] is not a mapping of strings, like {'line': '3'}"),
    ("attributes", "line", "'line' is not a mapping of strings"),
    ("states", "runing", "'runing' is not one of "),
    ("states", ["failed", 5], "5 is not one of "),
    ("ended", [], ENDED),
    ("ended", ["failed", "running"], ENDED),
    ("protected", ["x", "None"], RENDERED),
    ("protected", ["True"], f"'True' {NOT_TEXT}"),
    ("protected", ["False"], f"'False' {NOT_TEXT}"),
    ("protected", "x", "'x' is not a list of strings; write ['x']"),
    ("protected_attributes", {"keep": "False"}, f"'False' {NOT_TEXT}"),
    ("protected_attributes", {"None": "x"}, RENDERED),
    ("protected_attributes", {"keep": "None"}, RENDERED),
    ("protected_attributes", ["keep"], "['keep'] is not a mapping of strings"),
]


@pytest.mark.parametrize(("kind", "value", "expected"), ACCEPTED, ids=repr)
def test_values_are_checked_and_converted(kind: str, value: Any, expected: Any) -> None:
    assert arguments.check_of(KINDS[kind])("argument", value) == expected


@pytest.mark.parametrize(("kind", "value", "reason"), REFUSED, ids=repr)
def test_another_value_is_refused_with_the_argument_by_name(kind: str, value: Any, reason: str) -> None:
    with pytest.raises(ViValidationError) as caught:
        arguments.check_of(KINDS[kind])("argument", value)
    assert caught.value.args[0].startswith("argument")
    assert reason in caught.value.args[0]


def test_at_least_one_state_is_required() -> None:
    assert arguments.some_states("states", ["failed"]) == {RunState.FAILED}
    assert arguments.some_states("states", None) is None
    with pytest.raises(ViValidationError, match=r"^states: at least one is required, like 'succeeded'"):
        arguments.some_states("states", [])


@pytest.mark.parametrize("value", [None, [], {"outcomes": []}, object()], ids=repr)
def test_a_plan_may_be_a_report_or_its_outcomes(value: Any) -> None:
    assert arguments.document_list("plan", value) is value


@pytest.mark.parametrize("value", ["x", b"x", 5, 0.5], ids=repr)
def test_another_plan_is_refused(value: Any) -> None:
    with pytest.raises(ViValidationError) as caught:
        arguments.document_list("plan", value)
    assert caught.value.args[0] == f"plan: {value!r} is neither the report of a dry run nor a list of its outcomes"
