"""The tables of the documentation agree with the code: tasks, arguments, methods, fields and errors."""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import conf
from pydantic import BaseModel

from tests.public_tasks import TASKS
from tests.unit.docs.pages import DOCS, README, SITE, first_table, rows, section, text_of
from vi_airflow_provider.api import errors, models
from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.api.protocol.messages import Failure, FailureKind, Request, Response
from vi_airflow_provider.api.protocol.outcomes import error_class
from vi_airflow_provider.api.protocol.retry import may_retry
from vi_airflow_provider.hooks.vi import ViHook


def page_of(cls: type) -> str:
    if cls is ViHook:
        return "hook.md"
    folder = "sensors" if cls.__name__.endswith("Sensor") else "operators"
    name = re.sub(r"(Operator|Sensor)$", "", cls.__name__)
    return f"{folder}/{re.sub(r'(?<!^)(?=[A-Z])', '_', name).lower()}.md"


def own_arguments(cls: type) -> dict[str, inspect.Parameter]:
    """Return the arguments that this provider adds to those of Airflow."""
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if base.__module__.startswith("vi_airflow_provider") and "__init__" in vars(base):
            found = dict(inspect.signature(vars(base)["__init__"]).parameters) | found
    return {n: p for n, p in found.items() if n != "self" and p.kind is not inspect.Parameter.VAR_KEYWORD}


CLASSES: Final = [*TASKS, ViHook]
by_class: Final = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
by_task: Final = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)


@by_task
def test_readme_and_index_have_a_row_for_every_operator_and_sensor(task: type) -> None:
    name, page = task.__name__, page_of(task)
    assert f"[`{name}`]({SITE}{page.removesuffix('.md')}.html)" in {row[0] for row in rows(text_of(README))}
    assert f"[{name}]({page})" in {row[0] for row in rows(text_of("index.md"))}


@by_class
def test_arguments_table_matches_the_signature(cls: type) -> None:
    page = page_of(cls)
    assert (DOCS / page).exists(), f"{cls.__name__} has no page docs/{page}"
    table = {row[0]: row for row in first_table(page, "Arguments")}
    arguments = own_arguments(cls)
    assert set(table) == set(arguments)
    for name, parameter in arguments.items():
        default = table[name][2]
        if default == "required":
            assert parameter.default is inspect.Parameter.empty, name
        elif default == "configuration":
            assert parameter.default is conf.getboolean("operators", "default_deferrable"), name
        else:
            assert parameter.default == ast.literal_eval(default), name


@by_task
def test_arguments_table_marks_template_fields(task: Any) -> None:
    stored_as = {"dry_run": "dry_run_requested"}  # BaseOperator has a method `dry_run`
    for name, _, _, templated, *_ in first_table(page_of(task), "Arguments"):
        assert templated == ("yes" if stored_as.get(name, name) in task.template_fields else "no"), name


@by_class
def test_page_has_the_standard_sections(cls: type) -> None:
    text = text_of(page_of(cls))
    for heading in ("Arguments", "Errors", "Example", *(() if cls is ViHook else ("XCom", "Notes"))):
        assert f"\n## {heading}\n" in text


def test_hook_page_lists_every_method_signature() -> None:
    documented = {row[0] for row in rows(section("hook.md", "Methods"))}
    form_of_airflow_2 = {"get_ui_field_behaviour", "get_connection_form_widgets"}
    for name, member in inspect.getmembers(ViHook, inspect.isfunction):
        if name[0] == "_" or name in form_of_airflow_2 or not member.__module__.startswith("vi_airflow_provider"):
            continue
        signature = inspect.signature(member)
        parameters = [p.replace(annotation=p.empty) for p in list(signature.parameters.values())[1:]]
        plain = signature.replace(parameters=parameters, return_annotation=signature.empty)
        assert f"{name}{plain}" in documented


@pytest.mark.parametrize(
    "model",
    [
        models.Flow,
        models.FlowSpec,
        models.FlowBlock,
        models.ResourceMetadata,
        models.FlowPage,
        models.SimpleFlow,
        models.DeletedFlow,
        models.GuardedWrite,
        models.Run,
        models.RunSpec,
        models.RunStatus,
        models.RunCondition,
        models.RunOutput,
        models.TrainingProject,
    ],
)
def test_documents_page_lists_every_field(model: Any) -> None:
    table = re.search(rf"^`{model.__name__}`.*\n\n((?:\|.*\n)+)", text_of("documents.md"), re.MULTILINE)
    assert table
    fields = model.model_fields if issubclass(model, BaseModel) else model._fields  # a NamedTuple
    assert [row[0] for row in rows(table[1])] == list(fields)


def test_errors_page_lists_the_whole_family() -> None:
    table = {row[0]: row for row in rows(section("errors.md", "The family"))}
    family = {name: cls for name, cls in vars(errors).items() if inspect.isclass(cls) and issubclass(cls, ViError)}
    assert set(table) == set(family)
    for name, (_, _, retries, advice) in table.items():
        if name != "ViError":
            assert retries == ("used" if family[name].retryable else "not used"), name
            assert not family[name].advice or family[name].advice == advice, name


def test_errors_page_shows_which_requests_are_retried() -> None:
    table = rows(section("errors.md", "What is retried"))
    assert {row[0] for row in table} >= {kind.value for kind in FailureKind}
    for situation, error, idempotent, patch in table:
        outcome = Response(int(situation)) if situation.isdecimal() else Failure(FailureKind(situation))
        assert error_class(outcome).__name__ == error, situation
        for methods, shown in ((("GET", "PUT", "DELETE"), idempotent), (("PATCH",), patch)):
            for method in methods:
                assert ("yes" if may_retry(Request(method, "", "", {}), outcome) else "no") == shown, situation
