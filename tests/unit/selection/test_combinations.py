"""Arguments that exclude or require each other: what is accepted, and in which words the rest is refused."""

from __future__ import annotations

from typing import Any, Final

import pytest

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.selection import combinations

TARGET: Final = {"run_id": None, "flow_id": None, "training_project": None, "attributes": None, "newest": False}
ONE_CRITERION: Final = "give either run_id, or at least one of flow_id, training_project and attributes"
ABSENT: Final = "absent: nothing else can be required of a flow that must not exist; leave out "
ARCHIVE: Final = "archive_to: give a folder for what is deleted, or allow_unarchived=True to delete without an archive"
NOTHING_SPARED: Final = "without them every"

ACCEPTED: Final[list[tuple[str, dict[str, Any]]]] = [
    ("exactly_one", {"a": 0, "b": None}),
    ("exactly_one", {"a": None, "b": ""}),
    ("both_or_neither", {"a": None, "b": None}),
    ("both_or_neither", {"a": 0, "b": ""}),
    ("target_of_run", {**TARGET, "run_id": "r"}),
    ("target_of_run", {**TARGET, "run_id": "r", "attributes": {}, "newest": "false"}),
    ("target_of_run", {**TARGET, "flow_id": "f", "newest": True}),
    ("target_of_run", {**TARGET, "attributes": {"line": "3"}, "training_project": "p", "newest": "true"}),
    ("absence", {"absent": True, "a": None, "b": (), "c": {}}),
    ("absence", {"absent": False, "a": 1}),
    ("absence", {"absent": None, "a": 1}),
    ("limits_of_flows", {"plan": None, "older_than": "P1D", "keep_last": None}),
    ("limits_of_flows", {"plan": None, "older_than": None, "keep_last": "5"}),
    ("limits_of_flows", {"plan": [], "older_than": None, "keep_last": None}),
    ("limits_of_flows", {"plan": {}, "older_than": None, "keep_last": "not looked at"}),
    ("limits_of_runs", {"plan": None, "older_than": None, "keep_best": None, "keep_succeeded": 1}),
    ("limits_of_runs", {"plan": [], "older_than": None, "keep_best": None, "keep_succeeded": None}),
    ("archive_or_consent", {"dry_run": True, "archive_to": None, "allow_unarchived": False}),
    ("archive_or_consent", {"dry_run": False, "archive_to": "/archive", "allow_unarchived": False}),
    ("archive_or_consent", {"dry_run": False, "archive_to": None, "allow_unarchived": True}),
    ("metric_of_best", {"select": "best", "best_metric": ("f1", "max")}),
    ("metric_of_best", {"select": "latest", "best_metric": None}),
    ("comparison", {"compare_to": None, "fail_on_drift": False, "format": "csv", "destination": "/a"}),
    ("comparison", {"compare_to": "previous", "fail_on_drift": True, "format": None, "destination": "/a"}),
]

REFUSED: Final[list[tuple[str, dict[str, Any], str]]] = [
    ("exactly_one", {"a": None, "b": None}, "give either a or b"),
    ("exactly_one", {"a": 0, "b": "x", "c": None}, "give either a or b or c, not a=0 and b='x'"),
    ("both_or_neither", {"a": "x", "b": None}, "a, b: give both or neither, not only a='x'"),
    ("both_or_neither", {"a": None, "b": 0}, "a, b: give both or neither, not only b=0"),
    ("target_of_run", TARGET, ONE_CRITERION),
    (
        "target_of_run",
        {**TARGET, "run_id": "r", "flow_id": "f", "attributes": {}},
        f"{ONE_CRITERION}, not run_id='r' and flow_id='f'",
    ),
    (
        "target_of_run",
        {**TARGET, "run_id": "r", "training_project": "p", "attributes": {"line": "3"}},
        f"{ONE_CRITERION}, not run_id='r' and training_project='p' and attributes={{'line': '3'}}",
    ),
    (
        "target_of_run",
        {**TARGET, "run_id": "r", "newest": True},
        "newest: leave it out: run_id='r' names the only run that can be meant",
    ),
    (
        "target_of_run",
        {**TARGET, "flow_id": "f"},
        "newest: set it to True: of the runs that match, the newest one is waited for",
    ),
    ("target_of_run", {**TARGET, "run_id": "r", "newest": "no"}, "newest: 'no' is not true or false; write False"),
    ("absence", {"absent": True, "a": 0, "b": None}, f"{ABSENT}a=0"),
    ("absence", {"absent": "true", "a": ["x"], "b": {"c": 1}, "d": ()}, f"{ABSENT}a=['x'], b={{'c': 1}}"),
    ("absence", {"absent": "no"}, "absent: 'no' is not true or false; write False"),
    (
        "limits_of_flows",
        {"plan": None, "older_than": None, "keep_last": "0"},
        f"give older_than, keep_last or both: {NOTHING_SPARED} flow would be deleted",
    ),
    (
        "limits_of_flows",
        {"plan": None, "older_than": "P1D", "keep_last": "many"},
        "keep_last: 'many' is not a whole number of at least 0",
    ),
    (
        "limits_of_runs",
        {"plan": None, "older_than": None, "keep_best": 0, "keep_succeeded": None},
        f"give older_than, keep_best, keep_succeeded or some of them: {NOTHING_SPARED} run would be deleted",
    ),
    ("archive_or_consent", {"dry_run": False, "archive_to": None, "allow_unarchived": False}, ARCHIVE),
    (
        "archive_or_consent",
        {"dry_run": "no", "archive_to": None, "allow_unarchived": False},
        "dry_run: 'no' is not true or false; write False",
    ),
    (
        "archive_or_consent",
        {"dry_run": False, "archive_to": "/archive", "allow_unarchived": 1},
        "allow_unarchived: 1 is not True or False",
    ),
    (
        "metric_of_best",
        {"select": "best", "best_metric": None},
        'best_metric: needed for select="best", like ("f1", "max")',
    ),
    (
        "comparison",
        {"compare_to": "previous", "fail_on_drift": False, "format": None, "destination": "/a.csv"},
        "compare_to: only exports with format=\"jsonl\" can be compared, and this one is 'csv'",
    ),
    (
        "comparison",
        {"compare_to": "previous", "fail_on_drift": False, "format": "parquet", "destination": "/a"},
        "compare_to: only exports with format=\"jsonl\" can be compared, and this one is 'parquet'",
    ),
    (
        "comparison",
        {"compare_to": None, "fail_on_drift": "true", "format": None, "destination": "/a"},
        'fail_on_drift: give compare_to, too, like compare_to="previous"; there is no drift without a comparison',
    ),
    (
        "comparison",
        {"compare_to": None, "fail_on_drift": "no", "format": None, "destination": "/a"},
        "fail_on_drift: 'no' is not true or false; write False",
    ),
]  # fmt: skip

FORMATS: Final[list[tuple[str | None, str, str]]] = [
    (None, "/a", "jsonl"),
    (None, "/a.jsonl", "jsonl"),
    (None, "/a.ndjson.gz", "jsonl"),
    (None, "/a.CSV", "csv"),
    (None, "/a.csv.gz", "csv"),
    (None, "/a.parquet", "parquet"),
    (None, "/a.csv/flows", "jsonl"),
    ("csv", "/a", "csv"),
    ("csv", "/a.csv", "csv"),
    ("parquet", "/a.txt", "parquet"),
]


def call(check: str, arguments: dict[str, Any]) -> Any:
    return getattr(combinations, check)(**arguments)


@pytest.mark.parametrize(("check", "arguments"), ACCEPTED, ids=repr)
def test_a_combination_that_can_be_right_is_accepted(check: str, arguments: dict[str, Any]) -> None:
    call(check, arguments)


@pytest.mark.parametrize(("check", "arguments", "message"), REFUSED, ids=lambda value: repr(value)[:60])
def test_another_combination_is_refused_with_the_arguments_by_name(
    check: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ViValidationError) as caught:
        call(check, arguments)
    assert caught.value.args[0] == message


@pytest.mark.parametrize(("given", "destination", "expected"), FORMATS, ids=repr)
def test_the_format_is_the_given_one_or_that_of_the_name(given: str | None, destination: str, expected: str) -> None:
    assert combinations.export_format(format=given, destination=destination) == expected


@pytest.mark.parametrize(
    ("given", "destination", "message"),
    [
        ("csv", "/a.jsonl.gz", "format: 'csv' contradicts .jsonl at the end of destination; write 'jsonl', or"),
        ("xlsx", "/a.csv", "format: 'xlsx' is not one of 'jsonl', 'csv', 'parquet'"),
        ("parquet", "/a.parquet.gz", "destination: a parquet file is compressed internally; write '/a.parquet'"),
        (None, "/a.parquet.GZ", "destination: a parquet file is compressed internally; write '/a.parquet'"),
        ("parquet", "/a.gz", "destination: a parquet file is compressed internally; write '/a'"),
    ],
    ids=repr,
)  # fmt: skip
def test_a_format_that_contradicts_the_name_is_refused(given: str | None, destination: str, message: str) -> None:
    with pytest.raises(ViValidationError) as caught:
        combinations.export_format(format=given, destination=destination)
    assert caught.value.args[0].startswith(message)


def test_a_long_value_is_shortened_in_a_message() -> None:
    with pytest.raises(ViValidationError) as caught:
        combinations.exactly_one(a="x" * 100, b="y")
    assert caught.value.args[0] == f"give either a or b, not a='{'x' * 79} and b='y'"
