"""Templates are what the author of a DAG writes; what an XCom brings is data."""

from __future__ import annotations

from typing import Any, Final

import pendulum
import pytest
from airflow.providers.common.compat.sdk import DAG

from vi_airflow_provider.operators import base
from vi_airflow_provider.operators.flows import DeleteFlowOperator, ExportFlowsOperator, ListFlowsOperator

HOSTILE: Final = "{{ 7 * 7 }}"


class TaskInstance:
    map_index = 0


def rendered(kwargs: Any, **partial: Any) -> Any:
    """The task of a mapped operator as a worker has it, with its templates filled in."""
    with DAG("d", schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC")):
        listed = ListFlowsOperator(task_id="listed")
        given = listed.output.map(lambda flow: flow) if kwargs is None else kwargs
        mapped = DeleteFlowOperator.partial(task_id="delete", **partial).expand_kwargs(given)
    task = mapped.unmap({"flow_id": HOSTILE} if kwargs is None else kwargs[0])
    context: Any = {"ti": TaskInstance(), "task": task}
    task._do_render_template_fields(task, task.template_fields, context, task.get_template_env(), set())
    return task


def test_what_expand_kwargs_takes_from_an_xcom_is_no_template() -> None:
    assert rendered(None).flow_id == HOSTILE


def test_what_the_author_has_written_beside_it_is_one() -> None:
    task = rendered(None, archive_to="s3://archive/{{ 6 * 7 }}", dry_run="{{ 1 == 1 }}")
    assert (task.flow_id, task.archive_to, task.look_only) == (HOSTILE, "s3://archive/42", "True")


def test_kwargs_that_the_author_has_written_are_templates() -> None:
    assert rendered([{"flow_id": HOSTILE}]).flow_id == "49"


@pytest.mark.parametrize("mapped", [False, True])
def test_the_secret_in_a_rendered_url_is_masked(mapped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    masked: list[str] = []
    monkeypatch.setattr(base, "mask_secret", masked.append)
    if mapped:
        rendered([{"flow_id": "a"}], archive_to="sftp://me:{{ 'hunter2' }}@x.example/")
    else:
        task = ExportFlowsOperator(task_id="t", destination="sftp://me:{{ 'hunter2' }}@x.example/a")
        task.render_template_fields({})
    assert masked == ["hunter2"]
