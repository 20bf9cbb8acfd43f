"""A wrong literal is an import error of the DAG file; templates, XComs and mapped values are checked by the task."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from tests.layers import ROOT
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.operators import flows, runs
from vi_airflow_provider.selection.literals import CHECKS, refuse_literals
from vi_airflow_provider.sensors.flows import FlowExistsSensor, FlowSpecSensor
from vi_airflow_provider.sensors.runs import RunStateSensor

START = datetime(2026, 1, 1, tzinfo=UTC)
OPERATORS = [getattr(module, name) for module in (flows, runs) for name in module.__all__ if name.endswith("Operator")]
KINDS: list[Any] = [*OPERATORS, FlowExistsSensor, FlowSpecSensor, RunStateSensor]
WRONG: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (flows.PruneFlowsOperator, {"older_than": 90}, "older_than: 90 is not"),
    (flows.PruneFlowsOperator, {"older_than": "P90D", "dry_run": "no"}, "dry_run: 'no' is not true or false"),
    (flows.PruneFlowsOperator, {}, "older_than or keep_last or plan is required"),
    (flows.PruneFlowsOperator, {"older_than": "P90D", "age_of": "birth"}, "age_of: 'birth' is not one of"),
    (flows.ListFlowsOperator, {"created_after": datetime(2026, 1, 1)}, "has no time zone"),
    (flows.ExportFlowsOperator, {"destination": "/a", "format": "xlsx"}, "format: 'xlsx' is not one of"),
    (flows.DeleteFlowOperator, {"flow_id": "f", "dry_run": "off"}, "dry_run: 'off' is not true or false; write False"),
    (flows.GetFlowOperator, {"flow_id": None}, "flow_id is required"),
    (flows.UpdateFlowOperator, {"flow_id": "f"}, "spec or attributes is required"),
    (runs.StartRunOperator, {}, "flow_id or flow is required"),
    (runs.StartRunOperator, {"flow_id": "f", "on_clear": "kill"}, "on_clear: 'kill' is not one of"),
    (runs.StartRunOperator, {"flow_id": "f", "max_duration": "long"}, "max_duration: 'long' is not"),
    (runs.PruneRunsOperator, {"older_than": 30}, "older_than: 30 is not"),
    (runs.KillOverdueRunsOperator, {"grace": "soon"}, "grace: 'soon' is not"),
    (FlowExistsSensor, {}, "flow_id or flow_name is required"),
    (FlowSpecSensor, {"flow_id": "f", "min_generation": "new"}, "min_generation: 'new' is not"),
    (RunStateSensor, {}, "run_id or flow_id or training_project or attributes is required"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "arguments", "message"), WRONG, ids=lambda value: str(value)[-40:])
def test_wrong_literal_in_a_dag_file_is_refused(
    kind: Callable[..., Any], arguments: dict[str, Any], message: str
) -> None:
    with DAG("nightly", start_date=START, schedule=None), pytest.raises(ViValidationError) as raised:
        kind(task_id="task", **arguments)
    assert str(raised.value).startswith("task 'task': ")
    assert message in str(raised.value)


def test_template_and_xcom_are_checked_by_the_task() -> None:
    with DAG("nightly", start_date=START, schedule=None):
        rendered: Any = "{{ params.result }}"
        ids: Any = flows.ListFlowsOperator(task_id="ids", result=rendered)
        flows.PruneFlowsOperator(task_id="prune", older_than="{{ params.age }}", dry_run=ids.output)
        flows.GetFlowOperator.partial(task_id="get").expand(flow_id=ids.output)


def test_mapped_value_fails_the_task_and_not_the_file() -> None:
    with DAG("nightly", start_date=START, schedule=None) as dag:
        flows.PruneFlowsOperator.partial(task_id="prune").expand(older_than=[90, "P90D"])
    mapped: Any = dag.task_dict["prune"]
    task = mapped.unmap({"older_than": 90})
    with pytest.raises(AirflowFailException, match="older_than: 90 is not"):
        task.execute({})


def test_import_error_of_a_dag_file_names_task_and_argument(tmp_path: Path) -> None:
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models import DagBag
    file = tmp_path / "nightly.py"
    file.write_text(
        "from airflow.providers.common.compat.sdk import DAG\n"
        "from vi_airflow_provider.operators.flows import PruneFlowsOperator\n"
        "with DAG('nightly', schedule=None):\n"
        "    PruneFlowsOperator(task_id='prune', older_than=90)\n"
    )
    (error,) = DagBag(str(tmp_path)).import_errors.values()
    assert "task 'prune': older_than: 90 is not a timedelta or an ISO 8601 duration" in error


def test_every_constructor_ends_with_the_check() -> None:
    missing = []
    for folder in ("operators", "sensors"):
        for file in sorted((ROOT / "vi_airflow_provider" / folder).glob("*.py")):
            if file.name == "base.py":
                continue
            for found in ast.walk(ast.parse(file.read_text())):
                if isinstance(found, ast.FunctionDef) and found.name == "__init__":
                    last = ast.unparse(found.body[-1])
                    if last != "self.refuse_literals()":
                        missing.append(f"{file.name}:{found.lineno}")
    assert missing == []


SAMPLES: dict[str, Any] = {
    "int": 1,
    "float": 0.5,
    "bool": True,
    "timedelta": timedelta(days=1),
    "datetime": START,
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_documented_type_of_an_argument_is_a_legal_literal(kind: Any) -> None:
    checked = {**CHECKS, **kind.checks}
    for name, parameter in inspect.signature(kind.__init__).parameters.items():
        kinds = set(re.findall(r"\w+", str(parameter.annotation)))
        for value in (SAMPLES[word] for word in kinds & SAMPLES.keys() if name in checked):
            refuse_literals("task", {name: value}, choices=kind.choices, checks=checked)


def test_choices_and_required_arguments_exist() -> None:
    for kind in KINDS:
        known = {name for base in kind.__mro__ for name in inspect.signature(base.__init__).parameters}
        named = {*kind.choices, *(name for group in kind.required for name in group)}
        assert named <= known, kind


@pytest.mark.parametrize(
    ("written", "arguments"),
    [
        ("`older_than=90`", {"older_than": 90}),
        ('`archive_to="archive"`', {"older_than": "P90D", "archive_to": "archive"}),
        ("`dry_run=False` without `archive_to`", {"older_than": "P90D", "dry_run": False}),
    ],
)
def test_import_errors_are_those_of_the_page(written: str, arguments: dict[str, Any]) -> None:
    (line,) = [line for line in (ROOT / "docs/errors.md").read_text().splitlines() if line.startswith(f"| {written} |")]
    with DAG("nightly", start_date=START, schedule=None), pytest.raises(ViValidationError) as raised:
        flows.PruneFlowsOperator(task_id="prune", **arguments)
    assert line == f"| {written} | `{str(raised.value).removesuffix('.')}` |"
