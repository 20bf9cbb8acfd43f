"""What parsing a DAG file refuses, the task refuses, too, and the other way round: the same checks decide."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from tests.public_tasks import TASKS
from tests.tries import Try
from tests.unit.operators.support import SPEC
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.assets import create_asset
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.operators import flows, runs
from vi_airflow_provider.sensors.flows import FlowExistsSensor, FlowSpecSensor
from vi_airflow_provider.sensors.runs import RunStateSensor

pytestmark = pytest.mark.vi_emulator(flows=3, runs=2)

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
NAIVE: Final = datetime(2026, 1, 1)

COUNTS: Final = [-1, 1.5, True, "ten"]
FLAGS: Final = ["no", 1, None, "maybe"]
PLAIN_FLAGS: Final = ["yes", "true", 1, None]
TEXTS: Final = ["", "None", 5]
IDS: Final = ["", "None", "../x", "Weld seams", 12]
SPANS: Final = [90, "90", "P90", "90 days ago", "-P1D", timedelta(days=-1), True]
SECONDS: Final = ["soon", -1, True]
TIMES: Final = [NAIVE, "yesterday", "2026-01-31T12:00", 7]
ATTRIBUTES: Final = ["a=b", {"line": 3}, {"line": "None"}, ["line"]]
WIRE_ATTRIBUTES: Final = ["a=b", {"line": 3}, ["line"]]
PROTECTED: Final = ["keep", [1], ["None"], [""], {"a": "b"}]
STATES: Final = ["done", ["succeeded", "done"], 5]
PLACES: Final = ["archive", "~/archive", "file://archive", "s3://", "//a/b", "s3://bucket/a//"]
FOLDERS: Final = [*PLACES, "", "None", "s3://key:word@bucket/a"]
FILES: Final = [*FOLDERS, "/audit/", "s3://bucket/a//b", "file:///a//b"]
METRICS: Final = ["f1", ("f1",), ("f1", "best"), ("", "max"), ["f1", "min", "max"]]
SELECTION: Final[dict[str, list[Any]]] = {
    "name_pattern": TEXTS,
    "training_project": TEXTS,
    "attributes": ATTRIBUTES,
    "created_after": TIMES,
    "created_before": TIMES,
    "older_than": SPANS,
    "limit": COUNTS,
    "page_size": [0, *COUNTS],
}
UPDATES: Final = {"updated_after": TIMES, "updated_before": TIMES}
EXPORT: Final[dict[str, list[Any]]] = {
    "destination": FILES,
    "format": ["xlsx", "parket", "csv", 5],
    "compare_to": [*PLACES, "", "None", 5],
    "fail_on_drift": [True, *FLAGS],
    "html_report": FLAGS,
    "csv_bom": FLAGS,
}
PRUNE: Final[dict[str, list[Any]]] = {
    **{name: SELECTION[name] for name in ("name_pattern", "training_project", "attributes", "older_than", "page_size")},
    "age_of": ["birth", 5],
    "keep_last": COUNTS,
    "protect_ids": PROTECTED,
    "protect_names": PROTECTED,
    "protect_attributes": ["a=b", {"keep": True}, {"keep": "None"}, {"": "x"}],
    "plan": ["report.json", 5],
    "dry_run": FLAGS,
    "max_delete": [None, *COUNTS],
    "max_delete_fraction": [None, 50, "50%", -0.1, "half"],
    "protect_unmatched": ["ignore", None],
    "archive_to": FOLDERS,
    "allow_unarchived": PLAIN_FLAGS,
    "concurrency": [0, None, *COUNTS],
}
WAIT: Final[dict[str, list[Any]]] = {"max_failures": COUNTS, "deferrable": PLAIN_FLAGS}
#: A dry run needs no archive, so the task does not check it.
DELETE: Final = {"older_than": "P90D", "dry_run": False, "archive_to": "/archive"}
RUN: Final = {"run_id": "RUN"}
JSONL: Final = {"destination": "/audit/flows.jsonl"}

#: Of each operator and sensor: arguments with which it works, and for each argument, literals that it refuses.
TABLE: Final[dict[Any, tuple[dict[str, Any], dict[str, list[Any]]]]] = {
    flows.ListFlowsOperator: (
        {},
        {**SELECTION, **UPDATES, "result": ["all", None], "max_xcom_bytes": COUNTS},
    ),
    flows.GetFlowOperator: ({"flow_id": "f"}, {"flow_id": IDS, "if_missing": ["ignore", None]}),
    flows.DeleteFlowOperator: (
        {"flow_id": "f"},
        {
            "flow_id": IDS,
            "if_missing": ["ignore", None],
            "if_changed": ["ignore", None],
            "expected_etag": TEXTS,
            "archive_to": FOLDERS,
            "dry_run": FLAGS,
        },
    ),
    flows.CreateFlowOperator: (
        {"flow_id": "f", "spec": SPEC},
        {"spec": ["spec", 5, ["block"]], "attributes": WIRE_ATTRIBUTES, "flow_id": IDS, "if_exists": ["ignore", None]},
    ),
    flows.UpdateFlowOperator: (
        {"flow_id": "f", "spec": {"name": "n"}},
        {"flow_id": IDS, "spec": ["spec", 5, ["block"]], "attributes": WIRE_ATTRIBUTES},
    ),
    flows.PruneFlowsOperator: (DELETE, PRUNE),
    flows.RestoreFlowsOperator: (
        {"archive": "/archive/x.jsonl"},
        {"archive": [*PLACES, "s3://key:word@bucket/a"], "if_exists": ["ignore", None]},
    ),
    flows.ExportFlowsOperator: (JSONL, {**SELECTION, **UPDATES, **EXPORT}),
    runs.ExportRunsOperator: (
        JSONL,
        {
            **{name: values for name, values in SELECTION.items() if name != "name_pattern"},
            **EXPORT,
            "outputs": FLAGS,
            "states": STATES,
            "flow_id": IDS,
        },
    ),
    runs.StartRunOperator: (
        {"flow_id": "FLOW", "wait_for_completion": False},
        {
            "flow_id": IDS,
            "flow": ["flow", 5, ["block"], {"name": "both"}],
            "overrides": ["epochs", {"setings": {}}, {"blocks": ["trainer"]}, {"blocks": {"trainer": {"epochs": 3}}}],
            "training_project": TEXTS,
            "attributes": WIRE_ATTRIBUTES,
            "wait_for_completion": FLAGS,
            "poll_interval": [0, None, *SECONDS],
            "timeout": SECONDS,
            "max_queue_time": SECONDS,
            "max_duration": SECONDS,
            "max_runs": [0, None, *COUNTS],
            "on_clear": ["kill", None],
            "best_metric": METRICS,
            "tail_logs": FLAGS,
            "cancel_on_kill": PLAIN_FLAGS,
            "deferrable": PLAIN_FLAGS,
        },
    ),
    runs.GetRunOperator: (RUN, {"run_id": IDS, "if_missing": ["ignore", None], "best_metric": METRICS}),
    runs.KillRunOperator: (RUN, {"run_id": IDS, "if_ended": ["ignore", None], "wait": FLAGS}),
    runs.ListRunsOperator: (
        {},
        {
            "states": STATES,
            "flow_id": IDS,
            "training_project": TEXTS,
            "attributes": ATTRIBUTES,
            "older_than": SPANS,
            "limit": COUNTS,
            "result": ["flows", None],
            "max_xcom_bytes": COUNTS,
        },
    ),
    runs.GetRunOutputsOperator: (
        RUN,
        {
            "run_id": IDS,
            "select": ["best", "newest", None],
            "best_metric": METRICS,
            "destination": [*FILES, "/x.csv", "/x.log.gz", "/x.PARQUET"],
        },
    ),
    runs.ExportModelOperator: (
        {**RUN, "destination": "/models/x.bin"},
        {"run_id": IDS, "select": ["best", "a b", 5, ""], "best_metric": METRICS, "destination": FILES},
    ),
    runs.ExportRunLogsOperator: (
        {**RUN, "destination": "/logs/x.txt"},
        {"run_id": IDS, "destination": [*FILES, "/x.csv", "/x.log.gz", "/x.PARQUET"]},
    ),
    runs.PruneRunsOperator: (
        DELETE,
        {
            **PRUNE,
            "states": ["running", ["failed", "queued"], [], "done"],
            "keep_best": [3, *COUNTS],
            "best_metric": [("f1", "max"), *METRICS],
            "keep_succeeded": COUNTS,
        },
    ),
    runs.KillOverdueRunsOperator: (
        {},
        {
            "grace": [None, *SECONDS],
            "namespace": TEXTS,
            "dry_run": FLAGS,
            "max_kill": [None, *COUNTS],
            "page_size": [0, *COUNTS],
        },
    ),
    FlowExistsSensor: (
        {"flow_id": "f"},
        {"flow_id": IDS, "flow_name": ["both", *TEXTS], "training_project": TEXTS, **WAIT},
    ),
    FlowSpecSensor: (
        {"flow_id": "f"},
        {
            "flow_id": IDS,
            "expected_digest": TEXTS,
            "required_blocks": ["trainer", [1], [""]],
            "min_generation": COUNTS,
            "attributes": ATTRIBUTES,
            "unchanged_for": SPANS,
            "absent": ["perhaps", 5],
            **WAIT,
        },
    ),
    RunStateSensor: (
        RUN,
        {
            "run_id": IDS,
            "flow_id": ["both", *IDS],
            "training_project": ["both", *TEXTS],
            "attributes": [{"both": "x"}, *ATTRIBUTES],
            "newest": [True, *FLAGS],
            "states": [[], *STATES],
            "fail_on": STATES,
            **WAIT,
        },
    ),
}
#: Arguments that are not checked, and why.
UNCHECKED: Final = {
    "flow_ids": "refused by the archive, which has to be read first",
}
#: Combinations that are refused although each of their values is right.
TOGETHER: Final[list[tuple[Any, dict[str, Any], str]]] = [
    (flows.PruneFlowsOperator, {"older_than": None, "keep_last": 0}, "older_than"),
    (flows.PruneFlowsOperator, {"archive_to": None}, "archive_to"),
    (runs.PruneRunsOperator, {"dry_run": "false", "archive_to": None}, "archive_to"),
    (runs.PruneRunsOperator, {"older_than": None, "keep_best": 0, "best_metric": ["f1", "max"]}, "keep_succeeded"),
    (flows.ExportFlowsOperator, {"destination": "/a/x.parquet.gz"}, "'/a/x.parquet'"),
    (flows.ExportFlowsOperator, {"destination": "/a/x.csv", "compare_to": "previous"}, "compare_to"),
    (flows.ExportFlowsOperator, {"destination": "/a/x.csv", "format": "jsonl"}, "format"),
    (FlowSpecSensor, {"absent": True, "min_generation": 2}, "min_generation=2"),
    (RunStateSensor, {"run_id": None, "flow_id": "f"}, "newest"),
    (runs.StartRunOperator, {"outlets": [create_asset(organization_id="o", flow_id="f", models=True)]}, "outlets"),
]
ROWS: Final = [
    pytest.param(kind, {**base, name: value}, name, id=f"{kind.__name__}-{name}-{value!r:.30}")
    for kind, (base, arguments) in TABLE.items()
    for name, values in {**arguments, "vi_conn_id": TEXTS}.items()
    for value in values
]
ROWS_TOGETHER: Final = [
    pytest.param(kind, {**TABLE[kind][0], **arguments}, words, id=f"{kind.__name__}-{arguments}"[:70])
    for kind, arguments, words in TOGETHER
]
bad_literals: Final = pytest.mark.parametrize(("kind", "arguments", "words"), [*ROWS, *ROWS_TOGETHER])


@bad_literals
def test_bad_literal_is_an_import_error(kind: Any, arguments: dict[str, Any], words: str) -> None:
    with DAG("nightly", start_date=START, schedule=None), pytest.raises(ViValidationError) as raised:
        kind(task_id="task", **arguments)
    message = str(raised.value)
    assert message.startswith("task 'task': ")
    assert words in message
    assert "word@" not in message


@bad_literals
def test_bad_literal_is_refused_by_the_task(
    kind: Any, arguments: dict[str, Any], words: str, vi_emulator: Emulator
) -> None:
    flow_id = vi_emulator.store.flow_ids()[0]
    run_id = existing_run(vi_emulator)
    given = {name: {"RUN": run_id, "FLOW": flow_id}.get(str(value), value) for name, value in arguments.items()}
    task = kind(task_id="task", **given)  # outside of a DAG, nothing is checked
    context: Any = {"ti": Try(), "dag_run": SimpleNamespace(start_date=START)}
    with pytest.raises(AirflowFailException, match="ViValidationError") as raised:
        task.execute(context)
    assert words.replace("_", " ") in str(raised.value).replace("_", " ")


@pytest.mark.parametrize("kind", TABLE, ids=lambda kind: kind.__name__)
def test_every_argument_is_in_the_table(kind: Any) -> None:
    bases = [base for base in kind.__mro__ if base.__module__.startswith("vi_airflow_provider")]
    names = {name for base in bases for name in inspect.signature(inspect.unwrap(base.__init__)).parameters}
    missing = names - {"self", "args", "kwargs", "vi_conn_id"} - TABLE[kind][1].keys() - UNCHECKED.keys()
    assert missing == set()


def test_every_operator_and_sensor_is_in_the_table() -> None:
    assert TABLE.keys() == set(TASKS)


@pytest.mark.parametrize("kind", TABLE, ids=lambda kind: kind.__name__)
def test_arguments_that_work_are_accepted(kind: Any) -> None:
    with DAG("nightly", start_date=START, schedule=None):
        kind(task_id="task", **TABLE[kind][0])


def test_policy_limited_by_places_alone_is_accepted() -> None:
    with DAG("nightly", start_date=START, schedule=None):
        flows.PruneFlowsOperator(task_id="flows", keep_last=5)
        runs.PruneRunsOperator(task_id="runs", keep_succeeded=2)


def test_delimiters_of_a_dag_make_a_template() -> None:
    delimiters = {"variable_start_string": "<<", "variable_end_string": ">>"}
    with DAG("nightly", start_date=START, schedule=None, jinja_environment_kwargs=delimiters):
        flows.ExportFlowsOperator(task_id="export", destination="<< params.folder >>/x.jsonl")
    with DAG("weekly", start_date=START, schedule=None), pytest.raises(ViValidationError):
        flows.ExportFlowsOperator(task_id="export", destination="<< params.folder >>/x.jsonl")


def existing_run(emulator: Emulator) -> str:
    """The id of a run that the emulator has created as a sample."""
    return str(emulator.store.run_ids()[0])
