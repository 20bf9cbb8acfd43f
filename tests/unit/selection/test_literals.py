"""A literal that can never be right is refused when the DAG file is parsed; what Airflow fills in later is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pendulum
import pytest

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.selection.combinations import Combination, exactly_one
from vi_airflow_provider.selection.literals import is_literal, optional, refuse_literals, wire_attributes

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"older_than": 90}, "older_than: 90 is not a timedelta or an ISO 8601 duration; write timedelta(days=90), if"),
    ({"older_than": "90 d"}, "older_than: '90 d' is not a timedelta or an ISO 8601 duration; write 'P90D'"),
    ({"older_than": timedelta(days=-1)}, "older_than: it is negative"),
    ({"unchanged_for": 1.5}, "unchanged_for: 1.5 is not a timedelta"),
    ({"dry_run": "no"}, "dry_run: 'no' is not true or false; write False"),
    ({"dry_run": 1}, "dry_run: 1 is not true or false; write True"),
    ({"html_report": "maybe"}, "html_report: 'maybe' is not true or false"),
    ({"created_after": datetime(2026, 1, 31)}, "has no time zone; write '2026-01-31T00:00:00+00:00' for UTC"),
    ({"created_before": "2026-01-31T12:00"}, "has no time zone; write '2026-01-31T12:00:00+00:00' for UTC"),
    ({"updated_after": "yesterday"}, "updated_after: 'yesterday' is not a datetime or an ISO 8601 time; write '2026"),
    ({"updated_before": 7}, "updated_before: 7 is not a datetime"),
    ({"limit": -1}, "limit: -1 is not a whole number"),
    ({"keep_last": 2.5}, "keep_last: 2.5 is not a whole number"),
    ({"max_delete": True}, "max_delete: True is not a whole number"),
    ({"max_delete_fraction": 50}, "max_delete_fraction: 50 is not a number from 0 to 1; write 0.5 for 50 %"),
    ({"grace": "soon"}, "grace: 'soon' is not a number of seconds, a timedelta or an ISO 8601 duration like PT1H"),
    ({"format": "xlsx"}, "format: 'xlsx' is not one of 'jsonl', 'csv', 'parquet'"),
    ({"format": "parket"}, "format: 'parket' is not one of 'jsonl', 'csv', 'parquet'; did you mean 'parquet'?"),
    ({"flow_id": "Weld seams"}, "flow_id: 'Weld seams' is not a valid flow id: letters, digits, '-' and '_'"),
    ({"run_id": "../x"}, "run_id: '../x' is not a valid run id: letters, digits"),
    ({"flow_id": 12345}, "flow_id: 12345 is a number, not text; write '12345'"),
    ({"flow_id": None, "flow_name": None}, "flow_id or flow_name is required"),
]  # fmt: skip

FINE: list[dict[str, Any]] = [
    {"older_than": "P90D"},
    {"older_than": pendulum.duration(days=90)},
    {"older_than": "{{ params.age }}"},
    {"older_than": "<< params.age >>"},
    {"older_than": None},
    {"older_than": object()},
    {"dry_run": False},
    {"dry_run": "false"},
    {"dry_run": "{{ params.dry_run }}"},
    {"created_after": datetime(2026, 1, 31, tzinfo=UTC)},
    {"created_after": pendulum.datetime(2026, 1, 31)},
    {"created_after": "2026-01-31T00:00:00Z"},
    {"limit": "10"},
    {"limit": 0},
    {"max_delete_fraction": 0.29},
    {"grace": 0},
    {"format": "csv"},
    {"format": None},
    {"flow_id": "x", "flow_name": None},
    {"flow_id": None},
    {"flow_id": "{{ params.flow }}"},
    {"run_id": "<%= params.run %>"},
    {"name_pattern": "no", "attributes": {"dry_run": "no"}},
]

CHOICES = {"format": ("jsonl", "csv", "parquet")}
REQUIRED = [("flow_id", "flow_name")]


@pytest.mark.parametrize(("values", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_wrong_literal_is_refused_by_task_and_argument(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ViValidationError) as raised:
        refuse_literals("nightly", values, choices=CHOICES, required=REQUIRED)
    assert str(raised.value).startswith("task 'nightly': ")
    assert message in str(raised.value)


@pytest.mark.parametrize("values", FINE, ids=str)
def test_everything_else_waits_for_the_task(values: dict[str, Any]) -> None:
    refuse_literals("nightly", values, choices=CHOICES, required=REQUIRED)


TEMPLATES = ["{{ x }}", "{% if x %}1{% endif %}", "[[ x ]]", "<% x %>"]


@pytest.mark.parametrize("value", [*TEMPLATES, object(), [object()], ["{{ x }}"], {"a": "{{ x }}"}])
def test_templates_and_objects_are_no_literals(value: Any) -> None:
    assert not is_literal(value)


def test_an_optional_argument_may_be_none_and_is_checked_otherwise() -> None:
    checked: list[tuple[str, object]] = []

    def check(name: str, value: object) -> str:
        checked.append((name, value))
        return "checked"

    assert optional(check)("limit", None) is None
    assert not checked
    assert optional(check)("limit", 0) == "checked"
    assert checked == [("limit", 0)]


def test_only_an_update_removes_an_attribute() -> None:
    assert wire_attributes("attributes", None) is None
    assert wire_attributes("attributes", {"line": "3"}) == {"line": "3"}
    assert wire_attributes("attributes", {"line": None}, removable=True) == {"line": None}
    with pytest.raises(ViValidationError, match="line"):
        wire_attributes("attributes", {"line": None})


@pytest.mark.parametrize("value", ["<x>", ["a", "<x>"], {"a": "<x>"}, {"<x>": "a"}, {"a": ["<x>"]}], ids=repr)
def test_the_delimiters_of_a_dag_decide_what_is_a_template_also_within_a_value(value: Any) -> None:
    assert not is_literal(value)
    assert is_literal(value, lambda text: "{{" not in text)


def test_a_combination_is_checked_once_all_its_arguments_are_literals() -> None:
    combinations = [Combination(("a", "b"), exactly_one)]
    refuse_literals("t", {"a": "x", "b": "{{ y }}"}, choices={}, combinations=combinations)
    for more in ({}, {"c": 1}):
        with pytest.raises(ViValidationError) as caught:
            refuse_literals("t", {"a": "x", "b": "y", **more}, choices={}, combinations=combinations)
        assert caught.value.args[0] == "task 't': give either a or b, not a='x' and b='y'"
