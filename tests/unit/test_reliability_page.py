"""The reliability page shows the stored figures, and the fault matrix covers every operator and sensor."""

from __future__ import annotations

import ast
import inspect
from typing import Final

from tests.public_tasks import TASKS
from tests.reliability import matrix, run_operations, task_operations
from tests.reliability import page as reliability

#: Tasks without an operation of their own, and the operation that makes the same requests.
COVERED_BY: Final = {
    "ListFlowsOperator": "list",
    "GetFlowOperator": "get",
    "DeleteFlowOperator": "prune, deleting",
    "CreateFlowOperator": "restore, writing",
    "UpdateFlowOperator": "update",
    "GetRunOperator": "get run",
    "ListRunsOperator": "list runs",
    "KillRunOperator": "kill overdue, killing",
    "StartRunOperator": "start task",
    "FlowExistsSensor": "gate",
    "FlowSpecSensor": "gate",
}


def test_page_contains_the_figures_of_the_latest_runs() -> None:
    page = reliability.PAGE.read_text()
    assert reliability.render(page) == page, "run `python -m tests.reliability.page`"


def test_fault_matrix_covers_every_operator_and_sensor() -> None:
    own = {name for module in (task_operations, run_operations) for name in _imported(inspect.getsource(module))}
    names = {task.__name__ for task in TASKS}
    assert names - own == COVERED_BY.keys()
    assert set(COVERED_BY.values()) <= {operation.name for operation in matrix.OPERATIONS}


def _imported(source: str) -> set[str]:
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    return {alias.name for node in imports for alias in node.names}
