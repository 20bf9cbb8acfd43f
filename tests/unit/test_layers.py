"""Imports go downhill: the layers of the package, its cycles, and the modules that may import Airflow."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

from tests.layers import (
    BESIDE,
    EVERYWHERE,
    LAYERS,
    MAY_START_THE_EMULATOR,
    NAME,
    ROOT,
    STORAGE_ONLY,
    WITHOUT_AIRFLOW,
    files_of,
    imports_of,
    module_of,
    room_of,
    rooms_used_by,
)
from tests.public_tasks import TASKS

#: The files at the root of the package.
AT_ROOT: Final = {"__init__.py", "provider_info.py", "py.typed", "assets.py", "task.py"}
#: Modules that Airflow or pytest call with their own objects, and that import the types of these.
EXEMPT: Final = {"audit/lineage.py", "training/lineage.py", "training/model_lineage.py", "emulator/pytest_plugin.py"}

#: The suffixes of files that hold code.
CODE: Final = {".py", ".js", ".css", ".html"}

#: Import paths in DAGs, databases and scripts of users.
PUBLIC: Final = {
    "operators.flows": "ListFlowsOperator GetFlowOperator DeleteFlowOperator CreateFlowOperator UpdateFlowOperator "
    "PruneFlowsOperator RestoreFlowsOperator ExportFlowsOperator",
    "operators.prune": "PruneFlowsOperator",
    "operators.export": "ExportFlowsOperator",
    "operators.restore": "RestoreFlowsOperator",
    "operators.runs": "StartRunOperator KillRunOperator GetRunOperator ListRunsOperator GetRunOutputsOperator "
    "ExportModelOperator ExportRunLogsOperator ExportRunsOperator PruneRunsOperator KillOverdueRunsOperator",
    "sensors.flows": "FlowExistsSensor FlowSpecSensor",
    "sensors.runs": "RunStateSensor",
    "hooks.vi": "ViHook",
    "triggers.flows": "FlowTrigger",
    "triggers.runs": "RunTrigger",
    "triggers.run_states": "RunStateTrigger",
    "triggers.events": "FlowEventTrigger RunEventTrigger",
    "links.flows": "ViFlowLink",
    "links.runs": "ViRunLink",
    "notifications.webhook": "ViReportNotifier",
    "policies.retry": "ViRetryPolicy",
    "api.models": "Flow FlowBlock FlowSpec FlowPage SimpleFlow DeletedFlow ResourceMetadata Run RunSpec RunStatus "
    "RunCondition RunState RunOutput TrainingProject",
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


PACKAGE_FILES: Final = files_of(NAME)
by_file: Final = pytest.mark.parametrize("file", PACKAGE_FILES, ids=lambda file: str(file.relative_to(ROOT / NAME)))


@by_file
def test_imports_go_downhill(file: Path) -> None:
    own = room_of(module_of(file))
    if own in EVERYWHERE:
        allowed = set(EVERYWHERE)
    elif own == BESIDE:
        allowed = EVERYWHERE | {own}
    else:
        floor = next(number for number, layer in enumerate(LAYERS) if own in layer)
        allowed = EVERYWHERE.union({own}, *LAYERS[:floor])
    if own == MAY_START_THE_EMULATOR:
        allowed |= {BESIDE}
    assert rooms_used_by(file) <= allowed


@pytest.mark.parametrize("package", [NAME, "benchmarks"])
def test_there_is_no_import_cycle_among_files(package: str) -> None:
    files = {module_of(file): file for file in files_of(package)}
    graph = {name: {used for used in imports_of(file) if used in files} - {name} for name, file in files.items()}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@by_file
def test_airflow_is_imported_only_where_it_is_allowed(file: Path) -> None:
    room = room_of(module_of(file))
    used = {module for module in imports_of(file) if module.partition(".")[0] == "airflow"}
    if str(file.relative_to(ROOT / NAME)) in EXEMPT:
        return
    if room in WITHOUT_AIRFLOW:
        assert used == set()
    elif room in STORAGE_ONLY:
        sdk = "airflow.providers.common.compat.sdk"
        assert used <= {sdk, f"{sdk}.ObjectStoragePath"}


def test_root_of_the_package_has_no_loose_modules() -> None:
    assert {path.name for path in (ROOT / NAME).iterdir() if path.is_file()} == AT_ROOT


def test_no_file_has_more_than_400_lines() -> None:
    """Of code: of the package and its page, the tests, the benchmarks, the demo, the examples and the documentation."""
    folders = (NAME, "benchmarks", "dags_examples", "demo", "docs", "tests")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*") if file.suffix in CODE]
    lines = {str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    assert len(lines) > 500
    assert {file: count for file, count in lines.items() if count > 400} == {}


def test_function_level_imports_are_rare() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in PACKAGE_FILES
        for function in ast.walk(ast.parse(file.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(NAME)
    ]
    assert len(set(found)) <= 30, "\n".join(sorted(set(found)))


def test_execute_of_an_operator_has_at_most_20_lines() -> None:
    long = {}
    for file in files_of(f"{NAME}/operators"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name == "execute":
                long[f"{file.stem}:{node.lineno}"] = (node.end_lineno or 0) - node.lineno + 1
    assert {place: lines for place, lines in long.items() if lines > 20} == {}


def test_import_path_of_every_operator_and_sensor_is_pinned() -> None:
    pinned = {
        name for module in PUBLIC if module.startswith(("operators.", "sensors.")) for name in PUBLIC[module].split()
    }
    assert {task.__name__ for task in TASKS} - pinned == set()


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
