"""Every guarantee of SECURITY.md has a test, and every test that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = (ROOT / "SECURITY.md").read_text()
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
