"""Words that the house style rejects (CONTRIBUTING.md), in code, tests, messages and documentation."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

import pytest

from tests.layers import ROOT

#: What to write instead is in the table of CONTRIBUTING.md.
REJECTED: Final = (
    r"so many",
    r"none of ours",
    r"(?<!there )is none",
    r"anew",
    r"shall",
    r"vouch\w*",
    r"whoever",
    r"who is cancelled",
    r"that which",
    r"lest",
)
#: They quote rejected words, or code in which letters were changed.
EXEMPT: Final = {"CONTRIBUTING.md", "docs/mutants.md", "tests/unit/test_language.py"}
FOLDERS: Final = ("vi_airflow_provider", "benchmarks", "dags_examples", "demo", "docs", "requirements", "tests")
SUFFIXES: Final = {".py", ".md", ".in", ".html", ".js", ".css"}
LONGEST_TEST_NAME: Final = 75  # 70 after the prefix

# ``is None`` is code, so case matters; a word at the start of a sentence has a capital.
_WORDS: Final = (*REJECTED, *(word.capitalize() for word in REJECTED if word[0].isalpha()))
_PATTERN: Final = re.compile(rf"\b({'|'.join(_WORDS)})\b")


def files() -> list[Path]:
    """Return the files that people write."""
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    return sorted([*found, *ROOT.glob("*.md"), ROOT / "Makefile", ROOT / "setup.cfg", ROOT / "pyproject.toml"])


def rejected(text: str) -> list[str]:
    """Return the rejected words in a text, in which identifiers count as words."""
    return [match.group() for match in _PATTERN.finditer(text.replace("_", " "))]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_file_contains_no_rejected_words(path: Path) -> None:
    if name_of(path) not in EXEMPT:
        lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        assert {number: words for number, line in lines if (words := rejected(line))} == {}


@pytest.mark.parametrize("path", [path for path in files() if path.name.startswith("test_")], ids=name_of)
def test_name_of_a_test_is_short(path: Path) -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    names = [node.name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, functions)]
    assert [name for name in names if name.startswith("test_") and len(name) > LONGEST_TEST_NAME] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Up to so many flows.", ["so many"]),
        ("def test_who_is_cancelled_is_not_missed", ["who is cancelled"]),
        ("it vouches for it", ["vouches"]),
        ("shallow voucher of a leaf", ["voucher"]),
        ("a response", []),
    ],
)
def test_rejected_words_are_found_as_whole_words(text: str, words: list[str]) -> None:
    assert rejected(text) == words
