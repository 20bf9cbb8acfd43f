"""The rules of the house, kept by reading the code and by looking at the classes.

STYLE.md lists them: operators that do nothing when a DAG is read, imports that go downhill, modules that cost
nothing to import, and words that we do not use.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import BaseOperator, BaseSensorOperator

import vi_airflow_provider

PACKAGE: Final = Path(vi_airflow_provider.__file__).parent
FILES: Final = sorted(PACKAGE.rglob("*.py"))
NAME: Final = "vi_airflow_provider"


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(), str(file))


def imports_of(file: Path) -> Iterator[str]:
    """The modules that a file imports, anywhere in it except as a script; relative ones resolved."""
    here = module_of(file).split(".")
    package = here if file.stem == "__init__" else here[:-1]
    branches = [node for node in tree_of(file).body if isinstance(node, ast.If)]
    scripts = [branch for branch in branches if "__main__" in ast.unparse(branch.test)]
    skipped = {id(node) for script in scripts for node in ast.walk(script)}
    for node in ast.walk(tree_of(file)):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


by_file: Final = pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))


def part_of(module: str) -> str:
    """The first name below the package."""
    return module.removeprefix(NAME).lstrip(".").partition(".")[0]


def test_the_api_works_without_airflow() -> None:
    names = [module_of(file) for file in FILES if part_of(module_of(file)) in ("api", "selection", "gates")]
    code = f"""
import importlib, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "airflow":
            raise ImportError(f"{{name}} is blocked")
sys.meta_path.insert(0, Blocked())
for name in {names}:
    importlib.import_module(name)
"""
    assert len(names) >= 9
    assert run(code) == ""


def test_the_tests_of_the_api_do_without_airflow() -> None:
    for file in (Path(__file__).parent / "api").glob("*.py"):
        assert "airflow" not in {module.partition(".")[0] for module in imports_of_tests(file)}, file


def imports_of_tests(file: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


# --- the price of an import ----------------------------------------------------------------------------------------


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(code: str, *, after: str = "") -> set[str]:
    """The top-level modules, and ours by their full names, that ``code`` loads in a fresh process."""
    written = run(f"""
import sys
{after}
before = set(sys.modules)
{code}
import json
print("\\n" + json.dumps(sorted(set(sys.modules) - before)))
""").splitlines()[-1]
    return {name if name.startswith(NAME) else name.partition(".")[0] for name in json.loads(written)}


def foreign(names: set[str]) -> set[str]:
    return {name for name in names if name not in sys.stdlib_module_names and not name.startswith(NAME)}


def test_importing_the_package_loads_nothing_but_its_description() -> None:
    loaded = loaded_by(f"import {NAME}")
    assert foreign(loaded) == set()
    assert {name for name in loaded if name.startswith(NAME)} == {NAME, f"{NAME}.provider_info"}


#: What every DAG file has loaded before it comes to us.
AIRFLOW: Final = """
from airflow.providers.common.compat.sdk import (
    DAG, AirflowFailException, AirflowSkipException, BaseOperator, BaseOperatorLink, BaseSensorOperator, XCom, conf)
"""


#: Libraries that the process that parses DAG files has loaded, on every supported version.
FREE: Final = {"airflow", "pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"}
#: Our modules below the operators that cost next to nothing.
LIGHT: Final = {f"{NAME}.{name}" for name in ("api.errors", "selection.arguments", "gates.outcome", "gates.pacing")}


@pytest.mark.parametrize("modules", [("operators.flows", "sensors.flows")], ids=", ".join)
def test_importing_operators_and_sensors_loads_no_library_that_airflow_has_not(modules: tuple[str, ...]) -> None:
    loaded = loaded_by("; ".join(f"import {NAME}.{module}" for module in modules), after=AIRFLOW)
    assert foreign(loaded) - FREE == set()
    rooms = {
        name
        for name in loaded
        if re.match(rf"{NAME}\.(api|hooks|emulator|selection|storage|cleanup|gates|audit)\.", name)
    }
    assert rooms <= LIGHT


# --- operators and sensors -----------------------------------------------------------------------------------------


def task_classes() -> list[type[BaseOperator]]:
    found = []
    for kind in ("operators", "sensors"):
        for file in sorted((PACKAGE / kind).glob("*.py")):
            for value in vars(importlib.import_module(module_of(file))).values():
                if isinstance(value, type) and issubclass(value, BaseOperator) and value.__module__ == module_of(file):
                    found.append(value)
    return found


TASKS: Final = task_classes()
by_class: Final = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)


def test_the_classes_are_found() -> None:
    names = {task.__name__ for task in TASKS}
    assert {"ListFlowsOperator", "DeleteFlowOperator", "FlowExistsSensor"} <= names


def initializer_of(task: type) -> ast.FunctionDef | None:
    """The definition of ``__init__`` in the class itself."""
    tree = tree_of(Path(inspect.getsourcefile(task) or ""))
    (found,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == task.__name__]
    return next((n for n in found.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)


def is_call_of_super(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and ast.unparse(statement) == "super().__init__(**kwargs)"


def is_plain_assignment(statement: ast.stmt) -> bool:
    """``self.x = y``, with y a name or a constant: nothing is called, compared or read."""
    if not isinstance(statement, ast.Assign):
        return False
    (target,) = statement.targets
    value = ast.unparse(statement.value)
    return ast.unparse(target).startswith("self.") and (
        isinstance(statement.value, ast.Name | ast.Constant) or value == "math.inf"
    )


@by_class
def test_making_a_task_does_nothing_but_keep_its_arguments(task: type[BaseOperator]) -> None:
    initializer = initializer_of(task)
    for statement in initializer.body if initializer else ():
        assert is_call_of_super(statement) or is_plain_assignment(statement), ast.unparse(statement)


def arguments_of(task: type[BaseOperator]) -> dict[str, inspect.Parameter]:
    """The arguments that our own classes add to those of Airflow."""
    found: dict[str, inspect.Parameter] = {}
    for base in reversed([cls for cls in task.__mro__ if cls.__module__.startswith(NAME)]):
        if "__init__" in vars(base):
            found |= inspect.signature(inspect.unwrap(vars(base)["__init__"])).parameters
    return {name: value for name, value in found.items() if name not in ("self", "kwargs")}


@by_class
def test_every_connection_id_is_a_template(task: type[BaseOperator]) -> None:
    ids = {name for name in arguments_of(task) if name.endswith("conn_id")}
    assert "vi_conn_id" in ids
    assert ids <= set(task.template_fields)


def made(task: type[BaseOperator]) -> Any:
    required = {name: name for name, value in arguments_of(task).items() if value.default is value.empty}
    return task(task_id="task", **required)


@by_class
def test_every_template_field_is_an_attribute_and_named_once(task: type[BaseOperator]) -> None:
    instance = made(task)
    assert [field for field in task.template_fields if not hasattr(instance, field)] == []
    assert len(set(task.template_fields)) == len(task.template_fields)


@by_class
def test_every_argument_is_described_and_keyword_only(task: type[BaseOperator]) -> None:
    documents = " ".join(cls.__doc__ or "" for cls in task.__mro__ if cls.__module__.startswith(NAME))
    for name, value in arguments_of(task).items():
        assert value.kind is value.KEYWORD_ONLY
        assert f":param {name}:" in documents, name


@by_class
def test_an_argument_that_is_deferrable_follows_the_configuration(task: type[BaseOperator]) -> None:
    initializer = initializer_of(task)
    defaults = dict(zip(initializer.args.kwonlyargs, initializer.args.kw_defaults, strict=True)) if initializer else {}
    for argument, default in defaults.items():
        if argument.arg == "deferrable":
            assert default is not None
            assert ast.unparse(default) == "conf.getboolean('operators', 'default_deferrable', fallback=False)"


@by_class
def test_every_task_has_the_link_to_vi(task: type[BaseOperator]) -> None:
    assert [link.name for link in made(task).operator_extra_links] == ["Open in Vi"]


def test_sensors_are_sensors_and_operators_are_not() -> None:
    for task in TASKS:
        assert issubclass(task, BaseSensorOperator) is (part_of(task.__module__) == "sensors")


# --- errors and words ----------------------------------------------------------------------------------------------


@by_file
def test_no_bare_airflow_exception_is_raised(file: Path) -> None:
    raised = {
        ast.unparse(node.exc.func if isinstance(node.exc, ast.Call) else node.exc)
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Raise) and node.exc is not None
    }
    assert raised.isdisjoint({"AirflowException", "Exception", "BaseException"})


UNFINISHED: Final = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|type: ignore(?!\[)|noqa(?!: [A-Z])")
UNWELCOME: Final = re.compile(r"\b(black-?list|white-?list|master|slave|sanity)", re.IGNORECASE)


@by_file
def test_nothing_is_left_unfinished_and_no_word_is_unwelcome(file: Path) -> None:
    text = file.read_text()
    assert UNFINISHED.findall(text) == []
    assert UNWELCOME.findall(text) == []


@by_file
def test_a_file_says_in_its_first_line_what_it_is_for(file: Path) -> None:
    document = ast.get_docstring(tree_of(file))
    assert document
    assert document.splitlines()[0].endswith((".", ":"))
