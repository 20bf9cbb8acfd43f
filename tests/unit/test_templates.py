"""Templates are what the author of a DAG writes; what an XCom brings is data, and so is a text without a template."""

from __future__ import annotations

from typing import Any, Final

import pendulum
import pytest
from airflow.providers.common.compat.sdk import DAG, TaskGroup

from vi_airflow_provider import task as task_module
from vi_airflow_provider.operators.flows import DeleteFlowOperator, ExportFlowsOperator, ListFlowsOperator

HOSTILE: Final = "{{ 7 * 7 }}"


class TaskInstance:
    map_index = 0


def rendered(
    kwargs: Any, *, brought: Any = None, of_dag: Any = None, of_group: Any = None, strict: bool = True, **partial: Any
) -> Any:
    """A mapped task as a worker executes it, with its templates rendered.

    :param kwargs: what the author passes to ``expand_kwargs``; ``None`` for an XCom, whose value is ``brought``
    """
    with DAG("d", schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), default_args=of_dag or {}):
        listed = ListFlowsOperator(task_id="listed")
        given = listed.output.map(lambda flow: flow) if kwargs is None else kwargs
        with TaskGroup("group", default_args=of_group or {}):
            mapped = DeleteFlowOperator.partial(task_id="delete", **partial).expand_kwargs(given, strict=strict)
    task = mapped.unmap((brought or {"flow_id": HOSTILE}) if kwargs is None else kwargs[0])
    context: Any = {"ti": TaskInstance(), "task": task}
    task._do_render_template_fields(task, task.template_fields, context, task.get_template_env(), set())
    return task


def test_values_from_an_xcom_are_not_rendered() -> None:
    assert rendered(None).flow_id == HOSTILE


def test_arguments_of_partial_are_rendered() -> None:
    task = rendered(None, archive_to="s3://archive/{{ 6 * 7 }}", dry_run="{{ 1 == 1 }}")
    assert (task.flow_id, task.archive_to, task.dry_run_requested) == (HOSTILE, "s3://archive/42", "True")


@pytest.mark.parametrize("where", ["of_dag", "of_group"])
def test_default_args_are_rendered(where: str) -> None:
    authored: Any = {where: {"archive_to": "s3://archive/{{ 6 * 7 }}", "dry_run": "{{ 1 == 1 }}"}}
    task = rendered(None, **authored)
    assert (task.flow_id, task.archive_to, task.dry_run_requested) == (HOSTILE, "s3://archive/42", "True")


@pytest.mark.parametrize("where", ["partial", "of_dag", "of_group"])
def test_an_xcom_that_overrides_authored_values_is_not_rendered(where: str) -> None:
    authored = {"archive_to": "s3://archive/{{ 6 * 7 }}", "dry_run": "{{ 1 == 1 }}", "if_changed": "{{ 'skip' }}"}
    brought = {"flow_id": HOSTILE, "archive_to": HOSTILE, "dry_run": HOSTILE}
    given: Any = authored if where == "partial" else {where: authored}
    task = rendered(None, brought=brought, strict=False, **given)
    assert (task.flow_id, task.archive_to, task.dry_run_requested, task.if_changed) == (
        HOSTILE,
        HOSTILE,
        HOSTILE,
        "skip",
    )


def test_authored_kwargs_are_rendered() -> None:
    assert rendered([{"flow_id": HOSTILE}]).flow_id == "49"


@pytest.mark.parametrize("mapped", [False, True])
def test_the_secret_in_a_rendered_url_is_masked(mapped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    masked: list[str] = []
    monkeypatch.setattr(task_module, "mask_secret", masked.append)
    if mapped:
        rendered([{"flow_id": "a"}], archive_to="sftp://me:{{ 'hunter2' }}@x.example/")
    else:
        task = ExportFlowsOperator(task_id="t", destination="sftp://me:{{ 'hunter2' }}@x.example/a")
        task.render_template_fields({})
    assert masked == ["hunter2"]
