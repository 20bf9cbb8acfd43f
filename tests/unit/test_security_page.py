"""Every guarantee of SECURITY.md has a test that exists, and the search for secrets runs every operator and sensor."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

import pytest

from tests.public_tasks import TASKS

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = (ROOT / "SECURITY.md").read_text()
SCENARIO: Final = ROOT / "tests/security/dags/everything.py"
PROOFS: Final = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


def guarantees() -> list[str]:
    """Return the rows of the tables of guarantees, without their headings."""
    (section,) = re.findall(r"^## Guarantees\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)
    return [row for row in re.findall(r"^\| .*$", section, re.MULTILINE) if not row.startswith("| guarantee")]


@pytest.mark.parametrize(("file", "test"), PROOFS, ids=[test for _, test in PROOFS])
def test_named_test_exists(file: str, test: str) -> None:
    tree = ast.parse((ROOT / file).read_text())
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert test in functions


@pytest.mark.parametrize("guarantee", guarantees(), ids=lambda row: row.split("|")[1].strip())
def test_every_guarantee_names_a_test(guarantee: str) -> None:
    assert re.search(r"`tests/[\w/]+\.py::test_\w+`", guarantee.split("|")[2])


def test_scenario_has_a_task_of_every_operator_and_sensor() -> None:
    """For each kind of connection: ``everything`` is called with each of them."""
    functions = [node for node in ast.parse(SCENARIO.read_text()).body if isinstance(node, ast.FunctionDef)]
    (everything,) = [function for function in functions if function.name == "everything"]
    created = {ast.unparse(node.func) for node in ast.walk(everything) if isinstance(node, ast.Call)}
    assert {task.__name__ for task in TASKS} - created == set()
