"""Reads the pages of ``docs/``: code blocks, sections, tables and links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[3]
DOCS: Final = ROOT / "docs"
#: Paths of all pages, relative to ``docs/``.
PAGES: Final = sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))
README: Final = "../README.md"
CHANGELOG: Final = "../CHANGELOG.md"
#: Where the documentation is published, as in the metadata of the package.
SITE: Final = "https://vi-airflow-provider.readthedocs.io/en/latest/"

_FENCED: Final = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced code block of a page."""

    page: str
    line: int
    section: str
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def prose_of(page: str) -> str:
    """Return the text of a page without its fenced code blocks."""
    return _FENCED.sub("", text_of(page))


def blocks(page: str, language: str, section: str | None = None) -> list[Block]:
    """Return the code blocks of a page in one language, of all sections or of one."""
    found: list[Block] = []
    heading, fence, start = "", "", 0
    lines: list[str] = []
    for number, line in enumerate(text_of(page).splitlines(), 1):
        if line.startswith("```") and not fence:
            fence, start, lines = line, number, []
        elif line == "```":
            found.append(Block(page, start, heading, fence[3:], "\n".join(lines)))
            fence = ""
        elif fence:
            lines.append(line)
        elif line.startswith("#"):
            heading = line.lstrip("# ")
    assert not fence, f"{page}:{start}: the code block is not closed"
    return [block for block in found if block.language == language and section in (None, block.section)]


def section(page: str, heading: str) -> str:
    """Return the text below a heading, up to the next heading of the same or a higher level."""
    text = text_of(page)
    start = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert start, f"{page} has no section {heading!r}"
    rest = text[start.end() :]
    end = re.search(rf"^#{{1,{len(start[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(text: str) -> list[list[str]]:
    """Return the body rows of all tables in a text, without the backticks around cells."""
    found = []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        is_head = number + 1 < len(lines) and lines[number + 1].startswith("|---")
        if line.startswith("|") and not line.startswith("|---") and not is_head:
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            found.append([cell.strip().strip("`").replace("\\|", "|") for cell in cells])
    return found


def first_table(page: str, heading: str) -> list[list[str]]:
    table = re.search(r"(^\|.*\n)+", section(page, heading), re.MULTILINE)
    assert table, f"{page}, section {heading!r}: no table"
    return rows(table[0])


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)


def slug(heading: str) -> str:
    """Return the anchor that GitHub generates for a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
