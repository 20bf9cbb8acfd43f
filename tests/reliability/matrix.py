"""What each operation must make of each fault: the rules, and the table that ``docs/reliability.md`` shows.

``test_fault_matrix`` runs every cell with each client: with a fault that strikes once, and with one that stays.
``python -m tests.reliability.matrix`` writes the table into the page; a test fails when the page is another.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.reliability.faults import FAULTS, GROUPS, Again, Fault
from tests.reliability.operations import CALLS, OK, OPERATIONS, TASKS, TWICE, Operation

PAGE: Final = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN: Final = "<!-- fault matrix: begin -->\n"
END: Final = "<!-- fault matrix: end -->\n"


@dataclass(frozen=True)
class Verdict:
    """What came of an operation: ``OK`` or the name of an error, and how many of its changes were made."""

    said: str
    done: int


def senseless(operation: Operation, fault: Fault) -> str | None:
    """Return why there is no such cell, ``None`` if there is one."""
    if fault.of_listing and not operation.lists:
        return "it reads no listing"
    if fault.name == "200, empty" and operation.method == "DELETE":
        return "an empty answer is how a DELETE is answered when all went well"
    return None


def expected(operation: Operation, fault: Fault, *, once: bool) -> Verdict:
    """Return what must come of it."""
    well = Verdict(OK, operation.steps)
    if fault.name == "the same item on two pages" and operation.name == "list":
        return Verdict(TWICE, 0)
    if fault.error is None or (fault.status_arrives and operation.method == "DELETE"):
        return well
    if once and (tries_again(operation, fault) or operation.looks_again):
        return well
    failed = operation.steps if operation.each and not once else 1
    begun = operation.steps if operation.each else failed
    writes = operation.method != "GET"
    done = begun - failed + (failed if fault.applied else 0) if writes else 0
    return Verdict(fault.error.__name__, done)


def tries_again(operation: Operation, fault: Fault) -> bool:
    """Is the same request sent once more?"""
    return fault.again is Again.ALL or (fault.again is Again.IDEMPOTENT and operation.method != "PATCH")


def strikes(operation: Operation, fault: Fault) -> tuple[bool, ...]:
    """Return with which values of ``once`` a cell is run: where all ends at the first strike, both are the same."""
    goes_on = tries_again(operation, fault) or operation.looks_again or (operation.each and fault.strike is not None)
    return (True, False) if goes_on and fault.error is not None else (False,)


# --- the page ------------------------------------------------------------------------------------------------------


def table() -> str:
    """Return the Markdown between the two markers."""
    cells = [(o, f) for o in OPERATIONS for f in FAULTS if senseless(o, f) is None]
    runs = sum(len(operation.ways) * len(strikes(operation, fault)) for operation, fault in cells)
    parts = [f"{len(FAULTS)} faults, {len(OPERATIONS)} operations, {len(cells)} cells, {runs:,} runs."]
    for title, operations in (("Calls", CALLS), ("Tasks and gates", TASKS)):
        for group, faults in GROUPS.items():
            rows = [fault for fault in faults if any(senseless(o, fault) is None for o in operations)]
            heading = f"**{title}. {group}**"
            columns = f"| | {' | '.join(operation.name for operation in operations)} |"
            lines = [f"| {f.name} | {' | '.join(cell(o, f) for o in operations)} |" for f in rows]
            parts.append("\n".join([heading, "", columns, "|---" * (len(operations) + 1) + "|", *lines]))
    return "\n\n".join(parts) + "\n"


def cell(operation: Operation, fault: Fault) -> str:
    """Return a cell: what comes of a fault that strikes once, and of one that stays."""
    if senseless(operation, fault):
        return "n/a"
    shown = [_shown(operation, expected(operation, fault, once=once)) for once in strikes(operation, fault)]
    return " / ".join(dict.fromkeys(shown))


def _shown(operation: Operation, verdict: Verdict) -> str:
    said = {OK: "✓", TWICE: "twice"}.get(verdict.said, verdict.said.removeprefix("Vi").removesuffix("Error"))
    if verdict.said in (OK, TWICE) or not verdict.done:
        return said
    return f"{said} †" if verdict.done == operation.steps else f"{said} ‡"


def page_with(content: str, page: str) -> str:
    """Return the page with this between the markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{content}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page_with(table(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
