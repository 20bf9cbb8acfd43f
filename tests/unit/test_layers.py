"""Imports go downhill: the layers of the package, its cycles, and the modules that may know Airflow.

Function-level imports, ``TYPE_CHECKING`` blocks and ``__main__`` blocks count like any other import. An import of
``package.name`` counts as one of the submodule ``package.name`` if there is one.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
NAME: Final = "vi_airflow_provider"

#: The rooms from the bottom up. Rooms of one layer do not import each other.
LAYERS: Final[tuple[frozenset[str], ...]] = tuple(
    map(
        frozenset,
        (
            {"api"},
            {"selection"},
            {"storage"},
            {"cleanup", "gates", "audit", "training"},
            {"hooks", "links", "assets"},
            {"task"},
            {"triggers"},
            {"operators", "sensors"},
            {"ui", "cli"},
        ),
    )
)
#: What every module may import: the version, and what Airflow is told about the provider.
EVERYWHERE: Final = {"", "provider_info"}
#: What may lie at the root of the package.
AT_ROOT: Final = {"__init__.py", "provider_info.py", "py.typed", "assets.py", "task.py"}
#: Rooms without Airflow, and rooms that may import one name of it.
WITHOUT_AIRFLOW: Final = {"api", "selection", "gates", "emulator"}
STORAGE_ONLY: Final = {"storage", "cleanup", "audit", "training"}
#: Modules that are called by Airflow or by a library of its ecosystem, and import what that hands them.
EXEMPT: Final = {"audit/lineage.py", "emulator/pytest_plugin.py"}

#: Import paths that DAGs, databases and scripts of users hold.
PUBLIC: Final = {
    "operators.flows": "ListFlowsOperator GetFlowOperator DeleteFlowOperator CreateFlowOperator UpdateFlowOperator "
    "PruneFlowsOperator RestoreFlowsOperator ExportFlowsOperator",
    "operators.prune": "PruneFlowsOperator",
    "operators.export": "ExportFlowsOperator",
    "operators.restore": "RestoreFlowsOperator",
    "sensors.flows": "FlowExistsSensor FlowSpecSensor",
    "hooks.vi": "ViHook",
    "triggers.flows": "FlowTrigger",
    "triggers.events": "FlowEventTrigger",
    "links.flows": "ViFlowLink",
    "api.models": "Flow FlowBlock FlowSpec FlowPage SimpleFlow DeletedFlow ResourceMetadata",
    "api.errors": "ViError ViConfigurationError ViValidationError ViAuthenticationError ViPermissionError "
    "ViNotFoundError ViConflictError ViRateLimitError ViServerError ViTimeoutError "
    "ViNetworkError ViCertificateError ViResponseError",
    "api.settings": "ViSettings",
    "api.client": "ViClient",
    "api.async_client": "AsyncViClient",
    "audit": "Diff diff_exports",
    "assets": "create_asset sanitize_uri convert_asset_to_openlineage",
    "emulator": "Emulator Fault",
    "emulator.pytest_plugin": "vi_emulator",
    "": "__version__ get_provider_info",
}


def files_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    return module.removeprefix(NAME).lstrip(".").partition(".")[0]


@cache
def imports_of(file: Path) -> frozenset[str]:
    """The modules that a file imports anywhere in it, relative ones resolved; submodules by their own name."""
    return frozenset(_imports(file))


def _imports(file: Path) -> Iterator[str]:
    here = module_of(file).split(".")
    package = here if file.stem == "__init__" else here[:-1]
    for node in ast.walk(ast.parse(file.read_text(), str(file))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names = {f"{base}.{alias.name}" for alias in node.names}
            submodules = {name for name in names if is_module(name)}
            yield from submodules
            if names - submodules:
                yield base
            if base == "airflow" or base.startswith("airflow."):
                yield from names


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


PACKAGE_FILES: Final = files_of(NAME)
by_file: Final = pytest.mark.parametrize("file", PACKAGE_FILES, ids=lambda file: str(file.relative_to(ROOT / NAME)))


@by_file
def test_imports_go_downhill(file: Path) -> None:
    own = room_of(module_of(file))
    if own in EVERYWHERE:
        allowed = set(EVERYWHERE)
    elif own == "emulator":
        allowed = EVERYWHERE | {own}
    else:
        floor = next(number for number, layer in enumerate(LAYERS) if own in layer)
        allowed = EVERYWHERE.union({own}, *LAYERS[:floor])
    used = {room_of(module) for module in imports_of(file) if module.partition(".")[0] == NAME}
    assert used <= allowed


@pytest.mark.parametrize("package", [NAME, "benchmarks"])
def test_no_files_import_each_other_in_a_circle(package: str) -> None:
    files = {module_of(file): file for file in files_of(package)}
    graph = {name: {used for used in imports_of(file) if used in files} - {name} for name, file in files.items()}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@by_file
def test_airflow_is_imported_only_where_it_is_known(file: Path) -> None:
    room = room_of(module_of(file))
    used = {module for module in imports_of(file) if module.partition(".")[0] == "airflow"}
    if str(file.relative_to(ROOT / NAME)) in EXEMPT:
        return
    if room in WITHOUT_AIRFLOW:
        assert used == set()
    elif room in STORAGE_ONLY:
        sdk = "airflow.providers.common.compat.sdk"
        assert used <= {sdk, f"{sdk}.ObjectStoragePath"}


def test_the_root_of_the_package_holds_no_loose_modules() -> None:
    assert {path.name for path in (ROOT / NAME).iterdir() if path.is_file()} == AT_ROOT


@by_file
def test_a_file_has_at_most_400_lines(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 400


def test_imports_inside_functions_are_rare() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in PACKAGE_FILES
        for function in ast.walk(ast.parse(file.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(NAME)
    ]
    assert len(set(found)) <= 30, "\n".join(sorted(set(found)))


def test_an_operator_executes_in_at_most_20_lines() -> None:
    long = {}
    for file in files_of(f"{NAME}/operators"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name == "execute":
                long[f"{file.stem}:{node.lineno}"] = (node.end_lineno or 0) - node.lineno + 1
    assert {place: lines for place, lines in long.items() if lines > 20} == {}


def test_public_import_paths_are_stable() -> None:
    code = f"""
import importlib, json
found = {{}}
for module, names in {PUBLIC!r}.items():
    loaded = importlib.import_module(".".join(filter(None, ({NAME!r}, module))))
    found[module] = [name for name in names.split() if not hasattr(loaded, name)]
print(json.dumps({{module: names for module, names in found.items() if names}}))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)  # noqa: S603 - ourselves
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {}
