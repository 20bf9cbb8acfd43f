"""Every example DAG can be triggered from its form with the values that the form shows first.

Airflow's form sends null for a field that is empty, and refuses null where the type of the parameter does not allow it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from jinja2 import meta

from demo import local_airflow
from tests.versions import AIRFLOW
from vi_airflow_provider.emulator import Emulator


def as_the_form_sends(dag: Any) -> dict[str, Any]:
    """Return the parameters of a DAG that is triggered without touching its form."""
    return {name: None if value == "" else value for name, value in dag.params.dump().items()}


def test_form_accepts_the_default_of_every_parameter(examples: dict[str, Any]) -> None:
    for dag in examples.values():
        for name, value in as_the_form_sends(dag).items():
            param = dag.params.get_param(name)
            kinds = param.schema["type"]
            assert value is not None or "null" in kinds, f"{dag.dag_id}: the form requires a value for {name}"
            param.resolve(value)


def test_empty_text_is_null_for_every_optional_parameter(examples: dict[str, Any]) -> None:
    for dag in examples.values():
        for name, value in dag.params.dump().items():
            assert value != "", f"{dag.dag_id}: the form sends null for {name}, not an empty text"


def templates_of(value: Any) -> Iterator[str]:
    """Yield the templates in an argument of an operator."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from templates_of([*value, *value.values()])
    elif isinstance(value, list | tuple | set):
        for each in value:
            yield from templates_of(each)


def test_templates_need_no_logical_date(examples: dict[str, Any]) -> None:
    # Airflow 3 triggers a DAG with partitions, and any DAG through its API, without one.
    dag_run = SimpleNamespace(partition_key=None, run_after=datetime(2026, 7, 1, tzinfo=UTC))
    names, rendered = set(), set()
    for dag in examples.values():
        environment = dag.get_template_env()
        context = {"params": dag.params.dump(), "dag_run": dag_run, "task": SimpleNamespace(vi_conn_id="vi_default")}
        for task in dag.tasks:
            arguments = getattr(task, "partial_kwargs", None) or vars(task)
            for template in templates_of([arguments.get(name) for name in task.template_fields]):
                used = meta.find_undeclared_variables(environment.parse(template))
                names |= used
                if "logical_date" in used:
                    rendered.add(environment.from_string(template).render(context))
    assert names <= {"params", "dag_run", "task", "ti", "logical_date"}
    assert rendered
    assert all("2026-07-01" in text for text in rendered)


@pytest.mark.vi_emulator(flows=20)
@pytest.mark.parametrize("dag_id", ["prune_stale_flows", "cleanup_stale_flows", "approve_cleanup", "cleanup_runs"])
def test_cleanup_triggered_from_its_form_deletes_nothing(
    dag_id: str, examples: dict[str, Any], vi_emulator: Emulator
) -> None:
    if AIRFLOW < (3, 1) and dag_id == "approve_cleanup":
        pytest.skip("needs the human approval of Airflow 3.1")
    before = vi_emulator.store.flow_ids(), vi_emulator.store.run_ids()
    run = local_airflow.run(examples[dag_id], as_the_form_sends(examples[dag_id]))
    assert str(getattr(run.state, "value", run.state)) == "success"
    assert (vi_emulator.store.flow_ids(), vi_emulator.store.run_ids()) == before
