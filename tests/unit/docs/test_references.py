"""Links, module paths, files and sections that the documentation mentions exist."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.unit.docs.pages import (
    CHANGELOG,
    DOCS,
    PAGES,
    README,
    ROOT,
    SITE,
    Block,
    blocks,
    headings,
    prose_of,
    slug,
    text_of,
)
from tests.unit.test_layers import PUBLIC

PACKAGE: Final = "vi_airflow_provider"
TEXTS: Final = [README, CHANGELOG, *PAGES]
SAMPLES: Final = [block for page in TEXTS for block in blocks(page, "python")]


def names_imported_by(code: str) -> Iterator[str]:
    """Yield the dotted names that a sample imports."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def resolves(dotted: str) -> bool:
    """Tell whether a dotted name is a module, or an attribute of an object in one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            if not hasattr(found, attribute):
                return False
            found = getattr(found, attribute)
        return True
    return False


@pytest.mark.parametrize("block", SAMPLES, ids=str)
def test_sample_imports_only_what_exists(block: Block) -> None:
    assert [name for name in names_imported_by(block.code) if not resolves(name)] == []


#: Generated records of an earlier commit name functions as they were then.
CURRENT: Final = [page for page in TEXTS if page != "mutants.md"]


@pytest.mark.parametrize("page", CURRENT)
def test_every_module_path_in_the_text_exists(page: str) -> None:
    paths = re.findall(rf"\b{PACKAGE}(?:\.\w+)+", text_of(page))
    assert [path for path in paths if not resolves(path)] == []


@pytest.mark.parametrize("page", TEXTS)
def test_every_repository_path_in_the_text_exists(page: str) -> None:
    paths = re.findall(r"(?<![/\w])(?:tests|docs|demo|benchmarks|dags_examples|requirements)/[\w./-]*\w", text_of(page))
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", TEXTS)
def test_every_relative_link_has_a_target(page: str) -> None:
    source = (DOCS / page).resolve()
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose_of(page))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (source.parent / path).resolve() if path else source
        assert linked.exists(), target
        if anchor and linked.suffix == ".md":
            assert anchor in {slug(heading) for heading in headings(linked)}, target


def test_links_of_the_readme_lead_to_pages_of_the_site() -> None:
    """Package indexes show the README without the repository around it."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose_of(README))
    assert [target for target in targets if not target.startswith("https://")] == []
    linked = [target.removeprefix(SITE) for target in targets if target.startswith(SITE)]
    assert len(linked) > 20
    for target in linked:
        path, _, anchor = target.partition("#")
        page = DOCS / f"{path.removesuffix('.html')}.md"
        assert page.exists(), target
        assert not anchor or anchor in {slug(heading) for heading in headings(page)}, target


def test_the_index_lists_every_page() -> None:
    index, toctrees = text_of("index.md"), {"index.md", "operators/index.md", "sensors/index.md"}
    assert [page for page in PAGES if page not in toctrees and f"]({page})" not in index] == []


def test_sections_of_the_api_contract_cited_in_code_exist() -> None:
    sections = set(re.findall(r"^## (\d+)\. ", text_of("VI_API.md"), re.MULTILINE))
    sources = [source.read_text(encoding="utf-8") for source in Path(ROOT, PACKAGE).rglob("*.py")]
    cited = {number for source in sources for number in re.findall(r"VI_API\.md,? section (\d+)", source)}
    assert cited
    assert cited <= sections


#: Called by Airflow or pytest, imported from elsewhere by users, or described on a page of their own.
NOT_IN_THE_API: Final = {
    "audit",
    "operators.prune",
    "operators.export",
    "operators.restore",
    "emulator.pytest_plugin",
    "",
}


def test_every_public_module_is_in_the_reference() -> None:
    generated = set(re.findall(rf"automodule:: {PACKAGE}\.(\S+)", text_of("python_api.md")))
    assert PUBLIC.keys() - NOT_IN_THE_API == generated
