"""Operators in a DAG: templates, mapping, and that nothing is checked when the DAG is parsed."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG
from requests_mock import Mocker

from tests.documents import FLOW_ID, wire_flow
from tests.unit.operators.support import FLOW, NOW, SPEC, run
from vi_airflow_provider.operators.base import ViBaseOperator
from vi_airflow_provider.operators.flows import (
    CreateFlowOperator,
    DeleteFlowOperator,
    GetFlowOperator,
    ListFlowsOperator,
    UpdateFlowOperator,
)


def dag() -> DAG:
    return DAG("dag", schedule=None, start_date=NOW)


def listing(**arguments: Any) -> ListFlowsOperator:
    """As an author writes it whose editor does not check that templates are of the argument's type."""
    return ListFlowsOperator(task_id="list", **arguments)


def test_values_may_be_templates() -> None:
    with dag() as around:
        task: Any = listing(
            vi_conn_id="{{ conn }}",
            name_pattern="{{ pattern }}*",
            attributes={"team": "{{ team }}"},
            older_than="P{{ days }}D",
            updated_before="{{ when }}",
            limit="{{ limit }}",
            page_size="{{ limit }}",
            result="{{ result }}",
        )
    assert task.dag is around
    values = {"conn": "c", "pattern": "weld", "team": "a", "days": 9, "when": NOW, "limit": 5, "result": "ids"}
    task.render_template_fields(values)
    assert (task.vi_conn_id, task.name_pattern, task.attributes) == ("c", "weld*", {"team": "a"})
    assert (task.older_than, task.updated_before) == ("P9D", "2026-07-01 12:00:00+00:00")
    assert (task.limit, task.page_size, task.result) == ("5", "5", "ids")


@pytest.mark.parametrize(("text", "deletes"), [("{{ false }}", True), ("{{ true }}", False)])
def test_a_dry_run_may_be_a_template(text: str, deletes: bool, requests_mock: Mocker) -> None:
    requests_mock.get(FLOW, json=wire_flow())
    requests_mock.delete(FLOW, status_code=204)
    with dag():
        task = DeleteFlowOperator(task_id="delete", flow_id=FLOW_ID, dry_run=text)
    task.render_template_fields({})
    assert run(task)["outcome"] == ("deleted" if deletes else "would_delete")


@pytest.mark.parametrize(
    ("operator", "partial", "expand"),
    [
        (ListFlowsOperator, {"result": "ids"}, {"training_project": ["a", "b"]}),
        (GetFlowOperator, {}, {"flow_id": ["a", "b"]}),
        (DeleteFlowOperator, {"dry_run": True}, {"flow_id": ["a", "b"]}),
        (DeleteFlowOperator, {"flow_id": "a"}, {"dry_run": [True, False]}),
        (CreateFlowOperator, {"attributes": {"a": "b"}}, {"spec": [SPEC, SPEC]}),
        (UpdateFlowOperator, {"spec": {"name": "n"}}, {"flow_id": ["a", "b"]}),
    ],
)
def test_every_operator_can_be_mapped(
    operator: type[ViBaseOperator], partial: dict[str, Any], expand: dict[str, list[Any]]
) -> None:
    with dag() as around:
        mapped = operator.partial(task_id="mapped", **partial).expand(**expand)
    assert around.get_task("mapped") is mapped
    assert mapped.operator_class is operator


def test_arguments_are_not_checked_when_the_dag_is_parsed() -> None:
    nonsense: Any = object()
    ListFlowsOperator(task_id="list", limit=nonsense, older_than=nonsense, result=nonsense, page_size=nonsense)
    GetFlowOperator(task_id="get", flow_id=nonsense, if_missing=nonsense)
    DeleteFlowOperator(task_id="delete", flow_id=nonsense, if_missing=nonsense, dry_run=nonsense)
    CreateFlowOperator(task_id="create", spec=nonsense, attributes=nonsense, flow_id=nonsense, if_exists=nonsense)
    UpdateFlowOperator(task_id="update", flow_id=nonsense, spec=nonsense, attributes=nonsense)
