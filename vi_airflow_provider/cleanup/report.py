"""The report of a cleanup: its counts and outcomes, as an XCom, as a file next to the archive, and as a log table."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vi_airflow_provider.api.errors import one_line
from vi_airflow_provider.api.models import format_time
from vi_airflow_provider.cleanup.archive import files_of
from vi_airflow_provider.cleanup.outcome import DeleteOutcome, DeleteResult
from vi_airflow_provider.storage.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vi_airflow_provider.cleanup.policy import Decision, Plan

T = TypeVar("T")

#: Outcomes, and spared flows or runs, that an XCom and the log list at most; the file has all.
MAX_LISTED: Final = 1000

_COUNTED: Final = ("deleted", "changed", "busy", "already_absent", "failed")


class PruneError(Exception):
    """Some flows or runs could not be deleted; the message names them, and ``report`` is the whole report."""

    def __init__(self, message: str, report: dict[str, Any]) -> None:
        super().__init__(message)
        self.report = report


@dataclass(frozen=True)
class Report:
    """What a cleanup did, or would do.

    :param organization_id: whose they are
    :param plan: the decisions about them
    :param results: the outcomes, one for each that was selected
    :param dry_run: whether nothing was to be deleted
    :param guard: why a guard refuses the plan
    :param archive: URL of the archive of what was selected
    :param earlier_archives: URLs of the archives that earlier tries of the task wrote
    :param noun: what is cleaned up, ``"flow"`` or ``"run"``
    """

    organization_id: str
    plan: Plan
    results: Sequence[DeleteResult]
    dry_run: bool
    guard: str | None
    archive: str | None = None
    earlier_archives: Sequence[str] = ()
    noun: str = "flow"

    def as_json(self, uri: str | None, *, whole: bool = False) -> dict[str, Any]:
        """Return the report as JSON data.

        :param uri: URL of the report file
        :param whole: list all outcomes, and all that was spared, however many
        """
        counts = Counter(result.outcome.value for result in self.results)
        outcomes = [result.as_json(self.noun) for result in _listed(self.results, whole)]
        spared = self.plan.spared
        listed = [_spared_as_json(decision, self.noun) for decision in _listed(spared, whole)]
        return {
            "organization_id": self.organization_id,
            "dry_run": self.dry_run,
            "total": self.plan.total,
            "selected": len(self.results),
            **{name: counts[name] for name in _COUNTED},
            "spared": len(spared),
            "unmatched": list(self.plan.unmatched),
            "guard": self.guard,
            "archive": self.archive,
            "earlier_archives": list(self.earlier_archives),
            "report": uri,
            "outcomes": outcomes,
            "outcomes_omitted": len(self.results) - len(outcomes),
            f"spared_{self.noun}s": listed,
            "spared_omitted": len(spared) - len(listed),
        }

    def write(self) -> str | None:
        """Write the whole report next to the archive, if there is one, and return its URL.

        :raises Exception: whatever the file system or its driver raises
        """
        if self.archive is None:
            return None
        path = files_of(self.archive).report
        write_atomically(path, json.dumps(self.as_json(str(path), whole=True), indent=2).encode())
        return str(path)

    def failure(self) -> str | None:
        """Return which ones could not be deleted, ``None`` if none failed."""
        failed = [result for result in self.results if result.outcome is DeleteOutcome.FAILED]
        if not failed:
            return None
        shown = "; ".join(one_line(f"{result.document_id}: {result.reason}") for result in failed[:5])
        more = f"; and {len(failed) - 5} more" if len(failed) > 5 else ""
        return f"{len(failed)} {self.noun}s could not be deleted: {shown}{more}"


def summary(noun: str, plan: Plan, settled: int | None, *, dry_run: bool) -> str:
    """Return one sentence with all numbers of a plan, for the first line of the log.

    :param noun: what is cleaned up, ``"flow"`` or ``"run"``
    :param settled: for a given plan, how many no longer are as planned
    """
    spared = plan.spared
    counts = [f"{len(plan.selected)} selected", f"{len(spared)} spared{_by_reason(spared)}"]
    if settled is not None:
        what = "Given plan"
        counts.append(f"{settled} changed or absent since it was made")
    else:
        what = f"{plan.total} {noun}s"
        counts += [f"{plan.young} not old enough", f"{(plan.total or 0) - len(plan.decisions)} out of scope"]
    return f"{'Dry run: nothing is deleted. ' if dry_run else ''}{what}: {', '.join(counts)}."


def results_table(results: Sequence[DeleteResult]) -> str:
    """Return the outcomes for the log, one line each, in the order of the plan; the reason comes before the name."""
    return "\n".join(
        f"{result.outcome.value:<14} {format_time(result.last_updated):<23} {one_line(result.document_id)}  "
        f"{one_line(result.reason)}  {one_line(result.name, 60)}"
        for result in results[:MAX_LISTED]
    )


def spared_table(spared: Sequence[Decision]) -> str:
    """Return what was spared for the log, one line each, with the rule before the name."""
    return "\n".join(
        f"{'spared':<14} {format_time(decision.last_updated):<23} {one_line(decision.document_id)}  "
        f"{one_line(decision.reason)}  {one_line(decision.name, 60)}"
        for decision in spared[:MAX_LISTED]
    )


def _by_reason(spared: Sequence[Decision]) -> str:
    reasons = Counter(one_line(decision.reason, 100) for decision in spared)
    listed = [f"{count} {reason}" for reason, count in reasons.most_common(10)]
    return f" ({'; '.join(listed)})" if listed else ""


def _listed(items: Sequence[T], whole: bool) -> Sequence[T]:
    return items if whole else items[:MAX_LISTED]


def _spared_as_json(decision: Decision, noun: str) -> dict[str, Any]:
    return {f"{noun}_id": decision.document_id, "name": decision.name, "reason": decision.reason}
