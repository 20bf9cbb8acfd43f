"""Write the measured sections of `docs/reliability.md`: `python -m tests.reliability.page`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
PAGE: Final = DOCS / "reliability.md"

_SECONDS: Final = {
    "setup": "install and migrate the databases and the broker",
    "healthy": "start, until all components are healthy",
    "cleanup": "cleanup, from start to last task",
    "recovery": "thereof recovery, from the kill of the worker until its tasks are done",
    "gate": "gate, from the creation of its flow until it opens",
}


def render(page: str) -> str:
    """Return the page with the figures of the latest runs between its markers."""
    for name, section in (("soak", _soak), ("distributed", _distributed)):
        file = DOCS / "measured" / f"{name}.json"
        text = section(json.loads(file.read_text())) if file.exists() else "Not run yet."
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        written = f"{begin}\n{text}\n{end}"
        if page.count(begin) != 1 or page.count(end) != 1:
            raise ValueError(f"{PAGE.name} must contain the markers of {name} exactly once")
        head, _, rest = page.partition(begin)
        page = f"{head}{written}{rest.partition(end)[2]}"
    return page


def _soak(figures: Mapping[str, Any]) -> str:
    rows = [
        f"| {'&nbsp;&nbsp;' if name.startswith(' ') else ''}{name.strip()} | {value} | {note} |"
        for name, value, note in figures["rows"]
    ]
    what = f"{figures['seconds']:.0f} seconds, `--seed {figures['seed']}`"
    return "\n".join([_context(figures, what), "", "| | | |", "|---|---|---|", *rows])


def _distributed(figures: Mapping[str, Any]) -> str:
    batch, outcomes = figures["killed_batch"], figures["outcomes"]
    facts = {
        "flows; stale flows": f"{figures['flows']}, {figures['stale']}",
        "workers; concurrent tasks per worker": f"{figures['workers']}, {figures['worker_tasks']}",
        "deletes before the worker was killed": figures["deletes_before_the_kill"],
        "deleted flows of its current batch": f"{batch['deleted']} of {batch['flows']}",
        "tasks of the cleanup; retried tasks": f"{figures['tasks']}, {figures['tasks_tried_again']}",
        "reported as deleted; as already absent": f"{outcomes.get('deleted', 0)}, {outcomes.get('already_absent', 0)}",
        "archives, all verified": figures["archives"],
        "flows restored unchanged": figures["restored"],
        "training runs, each started once": figures["training_runs"],
        "training tasks of the killed worker; retried training tasks": (
            f"{figures['training_tasks_lost']}, {figures['training_tasks_tried_again']}"
        ),
    }
    seconds = {what: f"{figures['seconds'][name]:,.0f} s" for name, what in _SECONDS.items()}
    memory = {f"`{name}`": f"{mib:,} MiB" for name, mib in figures["peak_mib"].items()}
    memory["total"] = f"{figures['peak_mib_total']:,} MiB"
    parts = [("result", facts), ("time", seconds), ("peak memory (PSS)", memory)]
    tables = [
        "\n".join([f"| {head} | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])
        for head, rows in parts
    ]
    return "\n\n".join([_context(figures, f"server latency {figures['latency_ms']} ms"), *tables])


def _context(figures: Mapping[str, Any], what: str) -> str:
    return f"{figures['date']}, {figures['cores']} cores, {figures['memory_gib']} GiB of memory, {what}:"


def main() -> int:
    """Write the page."""
    PAGE.write_text(render(PAGE.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
