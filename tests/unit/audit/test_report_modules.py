"""The modules of the report: the order in which its script has them, and what the shared ones must not reach."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Final

import pytest

from vi_airflow_provider.audit.report import resources

FOLDER: Final = Path(str(files("vi_airflow_provider.audit.report")))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.js")), ids=lambda path: path.name)
def test_module_is_in_the_script_behind_what_it_imports(path: Path) -> None:
    imported = re.findall(r'^import .* from "\./(.*)";$', path.read_text("utf-8"), re.MULTILINE)
    script = resources.script()
    start = script.index(f"const {path.stem}_js = ")
    assert all(script.index(f"const {name.replace('.', '_')} = ") < start for name in imported)
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)


@pytest.mark.parametrize("name", ["dom.js", "table.js", "flows.js"])
def test_shared_module_leaves_the_document_to_its_caller(name: str) -> None:
    text = (FOLDER / name).read_text("utf-8")
    for reach in ("getElementById", "document.querySelector", "location", "history", "data-theme", "dataset.theme"):
        assert reach not in text
