"""House rules, checked on the source and on the classes.

Operators do nothing when a DAG file is parsed, importing them loads nothing heavy, all arguments are described, and
the source holds no unfinished work and none of the words that this project avoids.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
import types
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
    """The modules that a file imports, anywhere but in its ``__main__`` block; relative imports are resolved."""
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
    """The name of a module's room, the first one below the package."""
    return module.removeprefix(NAME).lstrip(".").partition(".")[0]


def test_api_selection_and_gates_import_without_airflow() -> None:
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


def test_the_tests_of_the_api_import_no_airflow() -> None:
    for file in (Path(__file__).parent / "api").glob("*.py"):
        assert "airflow" not in {module.partition(".")[0] for module in imports_of_tests(file)}, file


def imports_of_tests(file: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


# --- what an import loads --------------------------------------------------------------------------------------------


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(code: str, *, after: str = "") -> set[str]:
    """The modules that ``code`` loads in a fresh process: foreign ones by top-level name, ours by full name."""
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


#: What every DAG file has imported before it imports this package.
AIRFLOW: Final = """
from airflow.providers.common.compat.sdk import (
    DAG, AirflowFailException, AirflowSkipException, BaseOperator, BaseOperatorLink, BaseSensorOperator, XCom, conf)
"""


#: Libraries that are loaded in any process that parses DAG files, on every supported Airflow.
FREE: Final = {"airflow", "pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"}
#: Our modules below the operators that load no library and cost next to nothing.
LIGHT: Final = {
    f"{NAME}.{name}"
    for name in (
        "api.errors",
        "api.failed_polls",
        "api.run_state",
        "api.validation",
        "selection.arguments",
        "selection.best_metric",
        "selection.collection_arguments",
        "selection.combinations",
        "selection.literals",
        "selection.overrides",
        "selection.xcom",
        "storage.places",
        "storage.url_secrets",
        "gates.outcome",
        "gates.pacing",
    )
}


@pytest.mark.parametrize("modules", [("operators.flows", "sensors.flows")], ids=", ".join)
def test_importing_operators_and_sensors_loads_only_light_modules(modules: tuple[str, ...]) -> None:
    loaded = loaded_by("; ".join(f"import {NAME}.{module}" for module in modules), after=AIRFLOW)
    assert foreign(loaded) - FREE == set()
    rooms = {
        name
        for name in loaded
        if re.match(rf"{NAME}\.(api|hooks|emulator|selection|storage|cleanup|gates|audit)\.", name)
    }
    assert rooms <= LIGHT


# --- operators and sensors -------------------------------------------------------------------------------------------


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


def test_operators_and_sensors_are_found() -> None:
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
    """``self.x = y``, where y is a name or a constant: nothing is called, compared or read."""
    if not isinstance(statement, ast.Assign):
        return False
    (target,) = statement.targets
    value = ast.unparse(statement.value)
    return ast.unparse(target).startswith("self.") and (
        isinstance(statement.value, ast.Name | ast.Constant) or value == "math.inf"
    )


@by_class
def test_an_initializer_only_stores_its_arguments(task: type[BaseOperator]) -> None:
    """Its last step refuses literals that can never be right, by one function without I/O."""
    initializer = initializer_of(task)
    statements = [*initializer.body] if initializer else []
    if statements and ast.unparse(statements[-1]) == "self.refuse_literals()":
        statements.pop()
    for statement in statements:
        assert is_call_of_super(statement) or is_plain_assignment(statement), ast.unparse(statement)


def arguments_of(task: type[BaseOperator]) -> dict[str, inspect.Parameter]:
    """The arguments that our classes add to those of Airflow."""
    found: dict[str, inspect.Parameter] = {}
    for base in reversed([cls for cls in task.__mro__ if cls.__module__.startswith(NAME)]):
        if "__init__" in vars(base):
            found |= inspect.signature(inspect.unwrap(vars(base)["__init__"])).parameters
    return {name: value for name, value in found.items() if name not in ("self", "kwargs")}


@by_class
def test_every_connection_id_is_a_template_field(task: type[BaseOperator]) -> None:
    ids = {name for name in arguments_of(task) if name.endswith("conn_id")}
    assert "vi_conn_id" in ids
    assert ids <= set(task.template_fields)


def built(task: type[BaseOperator]) -> Any:
    abstract = getattr(task, "__abstractmethods__", ())
    if abstract:  # a base class: what its subclasses define does not matter here
        task = types.new_class(task.__name__, (task,), exec_body=lambda body: body.update(dict.fromkeys(abstract)))
    required: dict[str, Any] = {
        name: name for name, value in arguments_of(task).items() if value.default is value.empty
    }
    return task(task_id="task", **required)


@by_class
def test_template_fields_are_attributes_and_unique(task: type[BaseOperator]) -> None:
    instance = built(task)
    assert [field for field in task.template_fields if not hasattr(instance, field)] == []
    assert len(set(task.template_fields)) == len(task.template_fields)


@by_class
def test_arguments_are_keyword_only_and_documented(task: type[BaseOperator]) -> None:
    documents = " ".join(cls.__doc__ or "" for cls in task.__mro__ if cls.__module__.startswith(NAME))
    for name, value in arguments_of(task).items():
        assert value.kind is value.KEYWORD_ONLY
        assert f":param {name}:" in documents, name


@by_class
def test_deferrable_defaults_to_the_configuration(task: type[BaseOperator]) -> None:
    initializer = initializer_of(task)
    defaults = dict(zip(initializer.args.kwonlyargs, initializer.args.kw_defaults, strict=True)) if initializer else {}
    for argument, default in defaults.items():
        if argument.arg == "deferrable":
            assert default is not None
            assert ast.unparse(default) == "conf.getboolean('operators', 'default_deferrable', fallback=False)"


@by_class
def test_every_task_has_the_link_to_vi(task: type[BaseOperator]) -> None:
    assert [link.name for link in built(task).operator_extra_links] in (["Open in Vi"], ["Open run in Vi"])


def test_only_the_classes_in_sensors_are_sensors() -> None:
    for task in TASKS:
        assert issubclass(task, BaseSensorOperator) is (part_of(task.__module__) == "sensors")


# --- source ----------------------------------------------------------------------------------------------------------


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
def test_source_has_no_unfinished_work_and_no_unwelcome_words(file: Path) -> None:
    text = file.read_text()
    assert UNFINISHED.findall(text) == []
    assert UNWELCOME.findall(text) == []


@by_file
def test_the_first_line_of_a_file_states_its_purpose(file: Path) -> None:
    document = ast.get_docstring(tree_of(file))
    assert document
    assert document.splitlines()[0].endswith((".", ":"))


TESTS: Final = [file for room in ("tests", "demo") for file in sorted((PACKAGE.parent / room).rglob("*.py"))]


@pytest.mark.parametrize("file", TESTS, ids=lambda file: str(file.relative_to(PACKAGE.parent)))
def test_threads_and_forks_of_tests_cannot_hang(file: Path) -> None:
    for call in (node for node in ast.walk(tree_of(file)) if isinstance(node, ast.Call)):
        given = {keyword.arg for keyword in call.keywords}
        function = ast.unparse(call.func)
        where = f"{file.name}:{call.lineno}"
        if function in ("Thread", "threading.Thread"):
            assert "daemon" in given, f"{where}: pytest does not end while this thread waits; see tests/background.py"
        assert "preexec_fn" not in given, f"{where}: unsafe in a process with threads"
        assert function not in ("os.fork", "pty.fork"), f"{where}: unsafe in a process with threads"
