"""The preview of a cleanup: the planner of the operators over a listing of the page, and its report as JSON.

The planner requests metrics when ``keep_best`` needs them. They are read from Vi on the event loop, between two passes
of the planner in a thread: the first one finds out which runs matter, the second one decides.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.cleanup.kind import FLOWS, Kind
from vi_airflow_provider.cleanup.outcome import DeleteOutcome, DeleteResult
from vi_airflow_provider.cleanup.policy import Measure, Measured, Plan, RetentionPolicy, plan_retention, unmeasured
from vi_airflow_provider.cleanup.prune import PruneRequest
from vi_airflow_provider.cleanup.report import Report
from vi_airflow_provider.cleanup.run_kind import RunKind
from vi_airflow_provider.cleanup.subject import Subject
from vi_airflow_provider.training.summary import describe
from vi_airflow_provider.ui.documents import listing

#: The guards, with the defaults of the operators.
LIMITS: Final[Mapping[str, Any]] = {
    "max_delete": 50,
    "max_delete_fraction": 0.5,
    "protect_unmatched": "warn",
}


#: What is cleaned up. Nothing is archived here, so the summary of a run has no address.
_KINDS: Final[Mapping[str, Kind]] = {"flows": FLOWS, "runs": RunKind(partial(describe, best_metric=None, url=""))}


def request_of(policy: Mapping[str, Any], subjects: str) -> PruneRequest:
    """Check a policy as the operator does; names other than the operator's are refused.

    :param subjects: ``"flows"`` or ``"runs"``
    :raises ViValidationError: a value is unusable; the message names the argument
    """
    kind = _KINDS[subjects]
    rules = dict.fromkeys(kind.policy.model_fields)
    if unknown := sorted(policy.keys() - rules.keys() - LIMITS.keys()):
        raise ViValidationError(f"{unknown[0]!r:.80}: not an argument that decides which {subjects} a cleanup deletes")
    rules |= {name: policy[name] for name in rules.keys() & policy.keys()}
    limits = {name: default if policy.get(name) is None else policy[name] for name, default in LIMITS.items()}
    limits |= {"archive_to": None, "concurrency": 1, "page_size": None}
    return PruneRequest.build(rules, None, limits, dry_run=True, kind=kind)


def count_rules(request: PruneRequest) -> int:
    """Return how many rules of a policy each flow or run is compared with."""
    policy = _policy(request)
    return sum(1 for rules in (policy.rules(), policy.scope()) for _ in rules)


def until(expires: float, subjects: Iterable[Subject]) -> Iterator[Subject]:
    """Yield flows or runs up to a time of the monotonic clock: the thread that plans them cannot be ended from outside.

    :raises TimeoutError: the time has come
    """
    for subject in subjects:
        if time.monotonic() > expires:
            raise TimeoutError
        yield subject


def runs_to_measure(runs: Iterable[Subject], request: PruneRequest, now: datetime) -> frozenset[str]:
    """Return the ids of the runs whose metrics the plan depends on."""
    needed: set[str] = set()

    def note(ids: Collection[str]) -> Mapping[str, Measured]:
        needed.update(ids)
        return unmeasured(ids)

    plan_retention(runs, _policy(request), now, note)
    return frozenset(needed)


def plan_document(
    subjects: Iterable[Subject],
    request: PruneRequest,
    organization_id: str,
    now: datetime,
    measure: Measure = unmeasured,
) -> bytes:
    """Return what a cleanup would do, as compressed JSON: the report of a dry run, and counts by reason.

    :param measure: returns the metrics of runs, which have been read
    """
    noun = request.kind.noun
    plan = plan_retention(subjects, _policy(request), now, measure)
    refusal = request.guards.refusal(len(plan.selected), plan.total, plan.unmatched, noun)
    results = [DeleteResult.of(decision, DeleteOutcome.WOULD_DELETE) for decision in plan.selected]
    report = Report(organization_id, plan, results, True, refusal, noun=noun).as_json(None)
    outcomes = report.pop("outcomes")
    return listing("outcomes", outcomes, {**report, **_reasons(plan), "noun": noun, "planned_at": _ms(now)})


def _policy(request: PruneRequest) -> RetentionPolicy:
    if not isinstance(request.source, RetentionPolicy):
        raise TypeError("a preview needs a policy")
    return request.source


def _reasons(plan: Plan) -> dict[str, Any]:
    kept = Counter(decision.reason for decision in plan.decisions if not decision.selected)
    return {
        "young": plan.young,
        "out_of_scope": (plan.total or 0) - len(plan.decisions),
        "kept_by_reason": [{"reason": reason, "count": count} for reason, count in kept.most_common()],
    }


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
