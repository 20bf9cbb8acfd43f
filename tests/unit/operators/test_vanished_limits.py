"""An argument that limits what a task does must not vanish when it is rendered.

``None`` means that an argument is not given. A template of a DAG that renders native objects, or an earlier task that
returned nothing, would open the scope of a cleanup, delete whatever version there is, or omit the archive. It would
open a gate too early, train a flow without its overrides, or list everything.
"""

from __future__ import annotations

from typing import Any, Final

import pendulum
import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from vi_airflow_provider.operators.cleanup import CleanupOperator
from vi_airflow_provider.operators.flows import (
    DeleteFlowOperator,
    ExportFlowsOperator,
    ListFlowsOperator,
    PruneFlowsOperator,
    RestoreFlowsOperator,
)
from vi_airflow_provider.operators.runs import (
    ExportModelOperator,
    ExportRunsOperator,
    KillOverdueRunsOperator,
    ListRunsOperator,
    PruneRunsOperator,
    StartRunOperator,
)
from vi_airflow_provider.sensors.flows import FlowExistsSensor, FlowSpecSensor
from vi_airflow_provider.sensors.runs import RunStateSensor

START: Final = pendulum.datetime(2026, 1, 1, tz="UTC")
CLEANUPS: Final[dict[type[Any], dict[str, Any]]] = {
    PruneFlowsOperator: {"older_than": "P90D"},
    PruneRunsOperator: {"older_than": "P90D"},
    DeleteFlowOperator: {"flow_id": "f"},
    RestoreFlowsOperator: {"archive": "file:///archive.jsonl"},
    KillOverdueRunsOperator: {},
}
FIELDS: Final = [(operator, field) for operator in CLEANUPS for field in operator.template_fields]
_FLOWS: Final = (
    *("name_pattern", "training_project", "attributes", "created_after", "created_before", "updated_after"),
    *("updated_before", "older_than", "limit"),
)
_RUNS: Final = ("states", "flow_id", "training_project", "attributes", "older_than", "limit")
#: The required arguments of the other tasks, and those that limit or determine what they do.
OTHERS: Final[dict[type[Any], tuple[dict[str, Any], tuple[str, ...]]]] = {
    StartRunOperator: (
        {"flow_id": "f"},
        ("timeout", "max_queue_time", "max_duration", "overrides", "training_project", "attributes", "best_metric"),
    ),
    ListFlowsOperator: ({}, _FLOWS),
    ExportFlowsOperator: ({"destination": "/tmp/x.jsonl"}, _FLOWS),  # noqa: S108 - nothing is written
    ListRunsOperator: ({}, _RUNS),
    ExportRunsOperator: ({"destination": "/tmp/x.jsonl"}, (*_RUNS, "created_after", "created_before")),  # noqa: S108
    ExportModelOperator: ({"run_id": "r", "destination": "/tmp/x.tar"}, ("select", "best_metric")),  # noqa: S108
    FlowExistsSensor: ({"flow_name": "a"}, ("training_project",)),
    FlowSpecSensor: (
        {"flow_id": "f"},
        ("expected_digest", "required_blocks", "min_generation", "attributes", "unchanged_for"),
    ),
    RunStateSensor: (
        {"newest": True, "flow_id": "f", "training_project": "p"},
        ("flow_id", "training_project", "attributes", "states", "fail_on"),
    ),
}
REQUIRED: Final = CLEANUPS | {operator: required for operator, (required, _) in OTHERS.items()}
LIMITS: Final = [(operator, name) for operator, (_, names) in OTHERS.items() for name in names]


def rendered(operator: type[Any], *, native: bool = True, **arguments: Any) -> Any:
    with DAG("d", schedule=None, start_date=START, render_template_as_native_obj=native):
        task = operator(task_id="task", **arguments)
    task.render_template_fields({"missing": None})
    return task


def subclasses(base: type[Any]) -> set[type[Any]]:
    return {base}.union(*map(subclasses, base.__subclasses__()))


def test_every_operator_that_deletes_or_restores_is_tried() -> None:
    assert {cls for cls in subclasses(CleanupOperator) if not cls.__subclasses__()} <= CLEANUPS.keys()


@pytest.mark.parametrize(("operator", "field"), [*FIELDS, *LIMITS])
def test_limit_that_renders_to_none_fails_the_task(operator: type[Any], field: str) -> None:
    argument = field.removesuffix("_requested")
    with pytest.raises(AirflowFailException, match=f"^{argument}: the template or the earlier task returned None"):
        rendered(operator, **{**REQUIRED[operator], argument: "{{ missing }}"})


@pytest.mark.parametrize("operator", REQUIRED)
def test_limit_that_is_left_out_is_no_mistake(operator: type[Any]) -> None:
    rendered(operator, **REQUIRED[operator])


@pytest.mark.parametrize(("operator", "field"), LIMITS)
def test_literal_none_means_that_nothing_is_given(operator: type[Any], field: str) -> None:
    rendered(operator, **REQUIRED[operator] | {field: None})


def test_alternatives_may_render_to_none() -> None:
    """A DAG may have a parameter for each of them, of which one is given."""
    rendered(StartRunOperator, flow_id="{{ missing }}", flow="{{ missing }}")
    rendered(FlowExistsSensor, flow_id="{{ missing }}", flow_name="a")


def test_limit_of_an_earlier_task_that_returned_nothing_fails_the_task() -> None:
    """Airflow resolves the output of a task, like a parameter of the DAG, in every DAG."""
    with DAG("d", schedule=None, start_date=START) as dag:
        etag: Any = dag.param("etag")
        task = DeleteFlowOperator(task_id="task", flow_id="f", expected_etag=etag)
    with pytest.raises(AirflowFailException, match=r"^expected_etag: "):
        task.render_template_fields({"params": {"etag": None}})


@pytest.mark.parametrize("values", [{"expected_etag": ['"1"', None]}, {"dry_run": [None]}])
def test_limit_that_is_mapped_over_must_not_be_none(values: dict[str, Any]) -> None:
    with DAG("d", schedule=None, start_date=START):
        mapped = DeleteFlowOperator.partial(task_id="task", flow_id="f").expand(**values)
    name = next(iter(values))
    task: Any = mapped.unmap({name: None})
    with pytest.raises(AirflowFailException, match=f"^{name}: "):
        task.render_template_fields({})


def expanded(values: list[Any]) -> Any:
    """Return the task of a sweep whose value is ``None``, of an earlier task if ``values`` has no ``None``."""
    with DAG("d", schedule=None, start_date=START):
        mapped = StartRunOperator.partial(task_id="task", flow_id="f").expand(overrides=values)
    return mapped.unmap({"overrides": None})


def test_sweep_may_contain_the_flow_itself() -> None:
    task = expanded([None, {"settings": {"seed": 8}}])
    task.render_template_fields({})
    assert task.overrides is None


def test_sweep_over_tasks_must_not_lose_its_overrides() -> None:
    with pytest.raises(AirflowFailException, match=r"^overrides: "):
        expanded([{}, {"settings": {"seed": 8}}]).render_template_fields({})
