"""Every make target that a page, the workflow or the hooks name exists, and every listed target is declared phony."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.layers import ROOT

MAKEFILE: Final = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS: Final = set(re.findall(r"^([a-z][a-z0-9-]*):", MAKEFILE, re.MULTILINE))
#: The source archive has no workflow.
NAMING: Final = [
    path
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/**/*.yml"), *ROOT.glob(".ci/*"))
    if path.is_file()
]


@pytest.mark.parametrize("path", NAMING, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_target_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    commands = re.findall(r"(?:^|`|run: |exec )make ([a-z][a-z0-9-]*)(?![a-z0-9-]*=)", text, re.MULTILINE)
    assert set(commands) <= TARGETS


def test_targets_are_phony() -> None:
    (phony,) = re.findall(r"^\.PHONY: ((?:.*\\\n)*.*)", MAKEFILE, re.MULTILINE)
    assert set(phony.replace("\\\n", " ").split()) == TARGETS
