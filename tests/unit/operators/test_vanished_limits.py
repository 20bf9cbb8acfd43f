"""An argument that limits what a task does must not vanish when it is rendered.

``None`` means that an argument is not given. A template of a DAG that renders native objects, or an earlier task that
returned nothing, would open the scope of a cleanup, delete whatever version there is, or omit the archive.
"""

from __future__ import annotations

from typing import Any, Final

import pendulum
import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from vi_airflow_provider.operators.cleanup import CleanupOperator
from vi_airflow_provider.operators.flows import (
    DeleteFlowOperator,
    PruneFlowsOperator,
    RestoreFlowsOperator,
)
from vi_airflow_provider.operators.runs import KillOverdueRunsOperator, PruneRunsOperator, StartRunOperator

START: Final = pendulum.datetime(2026, 1, 1, tz="UTC")
CLEANUPS: Final[dict[type[Any], dict[str, Any]]] = {
    PruneFlowsOperator: {"older_than": "P90D"},
    PruneRunsOperator: {"older_than": "P90D"},
    DeleteFlowOperator: {"flow_id": "f"},
    RestoreFlowsOperator: {"archive": "file:///archive.jsonl"},
    KillOverdueRunsOperator: {},
}
FIELDS: Final = [(operator, field) for operator in CLEANUPS for field in operator.template_fields]
LIMITS: Final = [(StartRunOperator, name) for name in ("timeout", "max_queue_time", "max_duration")]


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
    required = CLEANUPS.get(operator, {"flow_id": "f"})
    with pytest.raises(AirflowFailException, match=f"^{argument}: the template or the earlier task returned None"):
        rendered(operator, **{**required, argument: "{{ missing }}"})


@pytest.mark.parametrize("operator", CLEANUPS)
def test_limit_that_is_left_out_is_no_mistake(operator: type[Any]) -> None:
    rendered(operator, **CLEANUPS[operator])
    rendered(StartRunOperator, flow_id="f", timeout=None)


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
    task = mapped.unmap({name: None})
    with pytest.raises(AirflowFailException, match=f"^{name}: "):
        task.render_template_fields({})
