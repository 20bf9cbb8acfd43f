"""The expected outcome of each operation with each fault, and the table of ``docs/fault_matrix.md``.

``test_fault_matrix`` runs every cell with each client: with a fault that occurs once, and with one that persists.
``python -m tests.reliability.matrix`` writes the table into the page; a test fails if the page differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.reliability.faults import FAULTS, GROUPS, Fault, Retried
from tests.reliability.operations import CALLS, FLOW_CALLS, OK, RUN_CALLS, TWICE, WAITS, Operation
from tests.reliability.run_operations import RUN_TASKS
from tests.reliability.task_operations import FLOW_TASKS

PAGE: Final = Path(__file__).parents[2] / "docs" / "fault_matrix.md"
BEGIN: Final = "<!-- fault matrix: begin -->\n"
END: Final = "<!-- fault matrix: end -->\n"

TASKS: Final = (*FLOW_TASKS, *RUN_TASKS)
OPERATIONS: Final = (*CALLS, *TASKS)
TITLES: Final = {
    "Calls for flows": FLOW_CALLS,
    "Calls for runs": RUN_CALLS,
    "Tasks and gates": FLOW_TASKS,
    "Training": RUN_TASKS,
}


@dataclass(frozen=True)
class Verdict:
    """The result of an operation: ``OK``, ``TWICE``, ``WAITS`` or the name of an error; and the number of changes."""

    outcome: str
    changes: int


def not_applicable(operation: Operation, fault: Fault) -> str | None:
    """Return why the combination does not apply; ``None`` if it does."""
    if fault.listing_only and not operation.lists:
        return "it reads no listing"
    if fault.name == "200, empty" and operation.method == "DELETE":
        return "an empty response is the regular response to a DELETE"
    return None


def expected(operation: Operation, fault: Fault, *, once: bool) -> Verdict:
    """Return the expected result."""
    success = Verdict(OK, operation.changes)
    if fault.name == "the same item on two pages" and operation in CALLS:
        return Verdict(TWICE, 0)
    if fault.error is None or is_done(operation, fault) or fault.name in operation.accepts:
        return success
    if operation.endless and not once:
        return Verdict(WAITS, 0)
    if operation.confirms and fault.applied:
        return success
    if once and (is_retried(operation, fault) or operation.polls):
        return success
    if operation.rereads and fault.applied and is_retried(operation, fault):  # the read shows that the change is made
        return success
    failed = operation.changes if operation.continues and not once else 1
    attempted = operation.changes if operation.continues else failed
    writes = operation.method != "GET"
    made = attempted - failed + (failed if fault.applied else 0) if writes else 0
    return Verdict(fault.error.__name__, made)


def is_done(operation: Operation, fault: Fault) -> bool:
    """Does the status line of a DELETE arrive, which decides?"""
    return fault.status_arrives and operation.method == "DELETE"


def is_retried(operation: Operation, fault: Fault) -> bool:
    """Is the same request retried, maybe after a read?"""
    repeatable = operation.method != "PATCH" or operation.rereads
    return fault.retried is Retried.ALL or (fault.retried is Retried.IDEMPOTENT and repeatable)


def durations(operation: Operation, fault: Fault) -> tuple[bool, ...]:
    """Return the values of ``once`` for which a cell runs; only ``False`` if the first occurrence is decisive."""
    continues = is_retried(operation, fault) or operation.polls or (operation.continues and fault.effect is not None)
    return (True, False) if continues and fault.error is not None else (False,)


# --- the page ------------------------------------------------------------------------------------------------------


def table() -> str:
    """Return the Markdown between the two markers."""
    cells = [(o, f) for o in OPERATIONS for f in FAULTS if not_applicable(o, f) is None]
    runs = sum(len(operation.clients) * len(durations(operation, fault)) for operation, fault in cells)
    parts = [f"{len(FAULTS)} faults, {len(OPERATIONS)} operations, {len(cells)} cells, {runs:,} runs."]
    for title, operations in TITLES.items():
        for group, faults in GROUPS.items():
            rows = [fault for fault in faults if any(not_applicable(o, fault) is None for o in operations)]
            heading = f"**{title}. {group}**"
            columns = f"| | {' | '.join(operation.name for operation in operations)} |"
            lines = [f"| {f.name} | {' | '.join(cell(o, f) for o in operations)} |" for f in rows]
            parts.append("\n".join([heading, "", columns, "|---" * (len(operations) + 1) + "|", *lines]))
    return "\n\n".join(parts) + "\n"


def cell(operation: Operation, fault: Fault) -> str:
    """Return a cell: the outcome of a fault that occurs once, and of one that persists."""
    if not_applicable(operation, fault):
        return "n/a"
    shown = [_shown(operation, expected(operation, fault, once=once)) for once in durations(operation, fault)]
    return " / ".join(dict.fromkeys(shown))


def _shown(operation: Operation, verdict: Verdict) -> str:
    outcome = {OK: "✓"}.get(verdict.outcome, verdict.outcome.removeprefix("Vi").removesuffix("Error"))
    if verdict.outcome in (OK, TWICE, WAITS) or not verdict.changes:
        return outcome
    return f"{outcome} †" if verdict.changes == operation.changes else f"{outcome} ‡"


def page_with(content: str, page: str) -> str:
    """Return the page with new content between the markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{content}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page_with(table(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
