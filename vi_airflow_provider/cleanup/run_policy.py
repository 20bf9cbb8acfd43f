"""What the policy for runs has beyond the one for flows: it keeps the best and the last successful runs of each flow.

A run is never selected before it has ended. Metrics are read only where they decide: of flows of which a run would be
deleted otherwise, and of all their runs only if there are more than ``keep_best``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Self

from pydantic import BeforeValidator, NonNegativeInt

from vi_airflow_provider.api.models import Flow, Run, RunState
from vi_airflow_provider.cleanup.policy import Candidate, Kept, Measure, Measured, RetentionPolicy, first_ones
from vi_airflow_provider.cleanup.subject import Subject, flow_of, obstacle
from vi_airflow_provider.selection.best_metric import BestMetric
from vi_airflow_provider.selection.collection_arguments import ENDED, EndedStates
from vi_airflow_provider.selection.combinations import both_or_neither

if TYPE_CHECKING:
    from datetime import datetime

UNREADABLE: Final = "the metrics of its flow's runs could not be read"


class RunRetentionPolicy(RetentionPolicy):
    """Which runs may be deleted.

    :param states: scope: runs that have ended in one of these states
    :param keep_best: spares this number of the best runs in scope, per flow
    :param best_metric: by which metric the best ones are found
    :param keep_succeeded: spares this number of the most recent runs in scope that succeeded, per flow
    """

    PLACES: ClassVar[tuple[str, ...]] = ("keep_last", "keep_succeeded", "keep_best")
    GROUP: ClassVar[str] = "flow"
    NOUN: ClassVar[str] = "run"

    states: EndedStates = frozenset(map(RunState, ENDED))
    keep_best: NonNegativeInt | None = None
    best_metric: Annotated[BestMetric | None, BeforeValidator(BestMetric.build)] = None
    keep_succeeded: NonNegativeInt | None = None

    @classmethod
    def build(cls, **rules: Any) -> Self:
        """Build a policy as of the base class.

        :raises ViValidationError: also if only one of ``keep_best`` and ``best_metric`` is given
        """
        policy = super().build(**rules)
        both_or_neither(keep_best=policy.keep_best, best_metric=policy.best_metric)
        return policy

    def candidate(self, subject: Subject, now: datetime) -> Candidate | None:
        """Decide about a run as far as it can be decided without the others."""
        candidate = super().candidate(subject, now)
        if candidate is None or isinstance(subject, Flow):
            return None
        if obstacle(subject) is None and subject.state not in self.states:
            return None
        return candidate._replace(succeeded=subject.state is RunState.SUCCEEDED)

    def group(self, subject: Subject) -> Hashable:
        """Return what the runs of a flow have in common."""
        return flow_of(subject) if isinstance(subject, Run) else None

    def kept(self, candidates: Sequence[Candidate], measure: Measure) -> Kept:
        """Return which runs are spared for their place, with the first of the reasons."""
        succeeded = [candidate for candidate in candidates if candidate.succeeded]
        reason = f"kept by keep_succeeded={self.keep_succeeded} per {self.GROUP}"
        last = super().kept(candidates, measure).reasons
        reasons = {**first_ones(succeeded, self.keep_succeeded or 0, reason), **last}
        if not self.keep_best or self.best_metric is None:
            return Kept(reasons)
        contenders = list(_contenders(candidates, reasons, self.keep_best))
        measured = measure([c.decision.document_id for c in contenders]) if contenders else {}
        best = _best(contenders, measured, self.keep_best, self.best_metric)
        unmatched = [f"best_metric: {self.best_metric.name}"] if _is_unknown(measured) else []
        return Kept({**best, **reasons}, unmatched)


def _contenders(candidates: Sequence[Candidate], spared: Mapping[str, str], keep: int) -> Iterator[Candidate]:
    """Yield the runs whose metric matters: of flows of which one would be deleted if it is not among the best."""
    endangered = {c.decision.document_id for c in candidates if c.decision.selected} - spared.keys()
    flows = {c.group for c in candidates if c.decision.document_id in endangered}
    sizes = Counter(c.group for c in candidates if c.counts)
    for candidate in candidates:
        # If there are places for all, only the metric of the endangered ones themselves matters.
        matters = sizes[candidate.group] > keep or candidate.decision.document_id in endangered
        if candidate.counts and candidate.group in flows and matters:
            yield candidate


def _best(
    contenders: Sequence[Candidate], measured: Mapping[str, Measured], keep: int, metric: BestMetric
) -> dict[str, str]:
    """Return the best runs of each flow, and all of them if one cannot be read. Of equals, the later one is better."""
    sign = 1 if metric.goal == "max" else -1
    values = {c.decision.document_id: measured[c.decision.document_id] for c in contenders}
    unreadable = {c.group for c in contenders if not values[c.decision.document_id].readable}
    rated = [c for c in contenders if values[c.decision.document_id].value is not None]
    rated.sort(key=lambda c: -sign * (values[c.decision.document_id].value or 0.0))
    best = first_ones(rated, keep, f"kept by keep_best={keep} per flow, by {metric.name}")
    return best | {c.decision.document_id: UNREADABLE for c in contenders if c.group in unreadable}


def _is_unknown(measured: Mapping[str, Measured]) -> bool:
    """Return whether runs were read, and none has the metric: its name may be misspelled."""
    return bool(measured) and all(result == (None, True) for result in measured.values())
