"""Publish the result: docs/matrix.json, and the table of docs/compatibility.md that is rendered from it.

python -m tests.matrix.table        # after a change of the format
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from typing import Any, Final

from tests.matrix.cells import LOWEST, PYTHONS, ROOT, Cell
from tests.matrix.outcomes import Commit, Outcome

RESULT: Final = ROOT / "docs" / "matrix.json"
PAGE: Final = ROOT / "docs" / "compatibility.md"
BETWEEN: Final = re.compile(r"(?<=<!-- make matrix -->\n).*?(?=<!-- end of make matrix -->)", re.DOTALL)


def as_document(outcomes: Mapping[Cell, Outcome | str], commit: Commit, day: date) -> dict[str, Any]:
    """Return the result as JSON: the outcome of each cell, or why it was not run."""
    cells = [
        {"airflow": cell.airflow, "lowest": cell.pins == LOWEST, "python": cell.python}
        | (asdict(outcome) if isinstance(outcome, Outcome) else {"not_run": outcome})
        for cell, outcome in outcomes.items()
    ]
    return {"date": day.isoformat(), "commit": commit.id, "cells": cells}


def as_markdown(document: Mapping[str, Any]) -> str:
    """Render the table with its caption."""
    rows: dict[str, dict[str, str]] = {}
    for cell in document["cells"]:
        name = f"{cell['airflow']}, lowest versions of all libraries" if cell["lowest"] else cell["airflow"]
        outcome = {key: value for key, value in cell.items() if key not in ("airflow", "lowest", "python")}
        rows.setdefault(name, {})[cell["python"]] = outcome.get("not_run") or in_words(Outcome(**outcome))
    lines = [
        f"`make matrix` of {document['date']}, commit `{document['commit']}`:",
        "",
        "| Airflow | " + " | ".join(f"Python {python}" for python in PYTHONS) + " |",
        "|---" * (1 + len(PYTHONS)) + "|",
        *(
            f"| {name} | " + " | ".join(row.get(python, "not run") for python in PYTHONS) + " |"
            for name, row in rows.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def in_words(outcome: Outcome) -> str:
    """Format an outcome for a cell of the table."""
    counts = {"passed": outcome.passed, "failed": outcome.failed, "skipped": outcome.skipped}
    minutes, seconds = divmod(outcome.seconds, 60)
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) + f", {minutes} min {seconds:02} s"


def publish(document: Mapping[str, Any]) -> None:
    """Write the result and the table of the page."""
    RESULT.write_text(json.dumps(document, indent=2) + "\n")
    table = as_markdown(document)
    PAGE.write_text(BETWEEN.sub(lambda _: table, PAGE.read_text()))


if __name__ == "__main__":
    publish(json.loads(RESULT.read_text()))
