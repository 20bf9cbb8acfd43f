"""SECURITY.md promises nothing without a test: those that it names are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = (ROOT / "SECURITY.md").read_text()
PROOFS: Final = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


def promises() -> list[str]:
    """The rows of the tables under "What is promised", without their headings."""
    (section,) = re.findall(r"^## What is promised\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)
    return [row for row in re.findall(r"^\| .*$", section, re.MULTILINE) if not row.startswith("| promise")]


@pytest.mark.parametrize(("file", "test"), PROOFS, ids="::".join)
def test_a_proof_is_a_test_that_is_there(file: str, test: str) -> None:
    tree = ast.parse((ROOT / file).read_text())
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert test in functions


@pytest.mark.parametrize("promise", promises(), ids=lambda row: row.split("|")[1].strip())
def test_every_promise_has_a_proof(promise: str) -> None:
    assert re.search(r"`tests/[\w/]+\.py::test_\w+`", promise.split("|")[2])
