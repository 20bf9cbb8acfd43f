"""Templates are what the author of a DAG writes; what an XCom brings is data, and so is a text without a template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pendulum
import pytest
from airflow.providers.common.compat.sdk import DAG, TaskGroup, literal

from tests.documents import wire_flow, wire_spec
from vi_airflow_provider import task as task_module
from vi_airflow_provider.api.models import Flow, FlowSpec
from vi_airflow_provider.operators.flows import (
    CreateFlowOperator,
    DeleteFlowOperator,
    ExportFlowsOperator,
    ListFlowsOperator,
    UpdateFlowOperator,
)

START: Final = pendulum.datetime(2026, 1, 1, tz="UTC")
HOSTILE: Final = "{{ 7 * 7 }}"


class TaskInstance:
    map_index = 0


def rendered(
    kwargs: Any, *, brought: Any = None, of_dag: Any = None, of_group: Any = None, strict: bool = True, **partial: Any
) -> Any:
    """A mapped task as a worker executes it, with its templates rendered.

    :param kwargs: what the author passes to ``expand_kwargs``; ``None`` for an XCom, whose value is ``brought``
    """
    group_args: Any = of_group or {}
    with DAG("d", schedule=None, start_date=START, default_args=of_dag or {}):
        listed = ListFlowsOperator(task_id="listed")
        given = listed.output.map(lambda flow: flow) if kwargs is None else kwargs
        with TaskGroup("group", default_args=group_args):
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


# --- texts without a template ----------------------------------------------------------------------------------------

#: Texts that Jinja or native rendering would change.
PLAIN: Final = [
    *("1e-5", "1.10", "42", "007", "0x10", "True", "None", "[1, 2]", "{'a': 1}", "1_000", "'quoted'", "(1,)"),
    *("Find defects.\n", "one\r\ntwo\r\n", "\n", " padded ", "{# a note #} text", "a {# b #} c\n"),
    *("}}", "%}", "{ {x} }", "{'a': {'b': 1}}", "# line", "## line", "größe\n", ""),
]
DELIMITERS: Final = {"variable_start_string": "[[", "variable_end_string": "]]", "line_statement_prefix": "##"}


AGE: Final = pendulum.duration(days=90)


@dataclass
class Param:
    """Stands for a parameter of the DAG, before there is a DAG."""

    name: str


def in_dag(
    operator: type[Any],
    *,
    native: bool,
    jinja: dict[str, Any] | None = None,
    params: dict[str, Any] | None = None,
    **arguments: Any,
) -> Any:
    """A task of a DAG with its templates rendered."""
    options: Any = {"render_template_as_native_obj": native, "jinja_environment_kwargs": jinja}
    with DAG("d", schedule=None, start_date=START, **options) as dag:
        # An argument that Airflow resolves when the task runs, as it does the output of another task.
        given = {
            name: dag.param(value.name) if isinstance(value, Param) else value for name, value in arguments.items()
        }
        task = operator(task_id="task", **given)
    context = {"number": 42, "text": "x", "when": START, "age": AGE, "params": params or {}}
    task.render_template_fields(context)
    return task


@pytest.mark.parametrize("native", [False, True], ids=["text", "native"])
@pytest.mark.parametrize("text", PLAIN, ids=repr)
def test_a_text_without_a_template_is_passed_on_byte_for_byte(text: str, native: bool) -> None:
    spec = {"name": text, "blocks": [{"block": "b", "settings": {"systemPrompt": text, "deep": [[text]]}}]}
    created = in_dag(CreateFlowOperator, native=native, spec=spec, attributes={"a": text})
    assert (created.spec, created.attributes) == (spec, {"a": text})
    updated = in_dag(UpdateFlowOperator, native=native, spec=spec, attributes={"a": text}, flow_id="f")
    assert (updated.spec, updated.attributes) == (spec, {"a": text})
    deleted = in_dag(DeleteFlowOperator, native=native, flow_id="f", expected_etag=f"etag {text}")
    assert deleted.expected_etag == f"etag {text}"


@pytest.mark.parametrize(
    ("template", "as_text", "as_native"),
    [
        ("{{ number }}", "42", 42),
        ("'{{ number }}'", "'42'", "42"),
        ("id-{{ number }}", "id-42", "id-42"),
        ("{% if true %}yes{% endif %}", "yes", "yes"),
        ("{{ text }}{# note #}", "x", "x"),
    ],
)
def test_a_text_with_a_template_is_rendered(template: str, as_text: str, as_native: Any) -> None:
    for native, expected in ((False, as_text), (True, as_native)):
        task = in_dag(CreateFlowOperator, native=native, spec={"name": template}, flow_id="f")
        assert task.spec == {"name": expected}


def test_a_dag_may_choose_its_own_delimiters() -> None:
    spec = {"name": "[[ number ]]", "prompt": "{{ number }}\n", "line": "a\n## if true\nb\n## endif\n"}
    task = in_dag(CreateFlowOperator, native=False, jinja=DELIMITERS, spec=spec, flow_id="f")
    assert task.spec == {"name": "42", "prompt": "{{ number }}\n", "line": "a\nb\n"}


def test_a_literal_is_not_rendered() -> None:
    task = in_dag(CreateFlowOperator, native=True, spec={"name": literal("{{ number }}\n")}, flow_id="f")
    assert task.spec == {"name": "{{ number }}\n"}


def test_a_document_is_not_rendered_whatever_fields_it_has() -> None:
    spec = FlowSpec.model_validate(wire_spec(name=HOSTILE, template_fields=["name"], resolve="x"))
    task = in_dag(CreateFlowOperator, native=False, spec={"nested": [spec]}, flow_id="f")
    assert task.spec["nested"][0] is spec
    assert spec.name == HOSTILE


@pytest.mark.parametrize("native", [False, True], ids=["text", "native"])
def test_the_value_of_a_param_is_not_rendered(native: bool) -> None:
    params = {"spec": {"name": f"{HOSTILE}\n"}}
    task = in_dag(CreateFlowOperator, native=native, params=params, spec=Param("spec"), flow_id="f")
    assert task.spec == params["spec"]


@pytest.mark.parametrize(
    ("native", "arguments"),
    [
        (False, {"updated_before": "{{ when }}", "limit": "{{ number }}", "older_than": "PT{{ number }}H"}),
        (True, {"updated_before": "{{ when }}", "limit": "{{ number }}", "older_than": "{{ age }}"}),
        (True, {"updated_before": "2026-01-01T00:00:00Z", "limit": "42", "older_than": "P90D"}),
        (False, {"updated_before": Param("when"), "limit": Param("number"), "older_than": Param("age")}),
    ],
    ids=["text", "native", "literals in a native DAG", "resolved"],
)
def test_rendered_arguments_select_flows(native: bool, arguments: dict[str, Any]) -> None:
    class Hook:
        def list_flows(self, **_options: Any) -> Any:
            old = pendulum.datetime(2025, 1, 1).int_timestamp * 1000
            return [Flow.model_validate(wire_flow(metadata__lastUpdated=old, metadata__timeCreated=old))]

    hook: Any = Hook()
    params = {"when": START, "number": 42, "age": AGE}
    task = in_dag(ListFlowsOperator, native=native, params=params, **arguments)
    assert len(list(task.selected(hook))) == 1
