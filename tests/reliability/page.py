"""Writes the measured sections of `docs/reliability.md`: `python -m tests.reliability.page`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
PAGE: Final = DOCS / "reliability.md"

_SECONDS: Final = {
    "setup": "databases and broker installed and migrated",
    "healthy": "until all components are healthy",
    "cleanup": "the cleanup, from its start to its last task",
    "recovery": "of it, from the kill of the worker until all that it had is done",
    "gate": "from the creation of its flow until the gate is open",
}


def render(page: str) -> str:
    """Return the page with the figures of the last runs between its markers."""
    for name, section in (("soak", _soak), ("distributed", _distributed)):
        file = DOCS / "measured" / f"{name}.json"
        text = section(json.loads(file.read_text())) if file.exists() else "Nobody has run it yet."
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        written = f"{begin}\n{text}\n{end}"
        page, count = re.subn(f"{begin}.*?{end}", lambda _, text=written: text, page, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"{PAGE.name} must have the markers of {name} once")
    return page


def _soak(figures: Mapping[str, Any]) -> str:
    rows = [
        f"| {'&nbsp;&nbsp;' if name.startswith(' ') else ''}{name.strip()} | {value} | {note} |"
        for name, value, note in figures["rows"]
    ]
    what = f"{figures['seconds']:.0f} seconds, `--seed {figures['seed']}`"
    return "\n".join([_circumstances(figures, what), "", "| | | |", "|---|---|---|", *rows])


def _distributed(figures: Mapping[str, Any]) -> str:
    batch, outcomes = figures["killed_batch"], figures["outcomes"]
    facts = {
        "flows, and stale ones among them": f"{figures['flows']}, {figures['stale']}",
        "workers, and tasks at a time on each": f"{figures['workers']}, {figures['worker_tasks']}",
        "deletes before the kill of a worker": figures["deletes_before_the_kill"],
        "of the batch that it was at, deleted": f"{batch['deleted']} of {batch['flows']}",
        "tasks of the cleanup, and tried again": f"{figures['tasks']}, {figures['tasks_tried_again']}",
        "reported as deleted, as absent already": f"{outcomes.get('deleted', 0)}, {outcomes.get('already_absent', 0)}",
        "archives, all verified": figures["archives"],
        "flows restored from them, as they were": figures["restored"],
    }
    seconds = {what: f"{figures['seconds'][name]:,.0f} s" for name, what in _SECONDS.items()}
    memory = {f"`{name}`": f"{mib:,} MiB" for name, mib in figures["peak_mib"].items()}
    memory["all together"] = f"{figures['peak_mib_total']:,} MiB"
    parts = [("what", facts), ("time", seconds), ("memory (PSS) at its peak", memory)]
    tables = [
        "\n".join([f"| {head} | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])
        for head, rows in parts
    ]
    return "\n\n".join([_circumstances(figures, f"each answer of Vi takes {figures['latency_ms']} ms"), *tables])


def _circumstances(figures: Mapping[str, Any], what: str) -> str:
    return f"{figures['date']}, {figures['cores']} cores, {figures['memory_gib']} GiB of memory, {what}:"


def main() -> int:
    """Write the page."""
    PAGE.write_text(render(PAGE.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
