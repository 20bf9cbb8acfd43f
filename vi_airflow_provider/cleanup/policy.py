"""Which flows or runs to delete, and why: a pure function from a listing, a policy and the time to a plan.

The plan does not depend on the order of the listing, a protected flow is never in it, and a policy with a longer
``older_than`` never selects more. A flow whose age is not known is not old. All of it holds for runs, too; what their
policy has beyond that is in ``run_policy``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Self

from pydantic import NonNegativeInt

from vi_airflow_provider.cleanup.protection import Protections, Rule, UnmatchedRules
from vi_airflow_provider.cleanup.subject import Subject, document_of, id_of, name_of, obstacle
from vi_airflow_provider.selection.arguments import Duration, Text
from vi_airflow_provider.selection.collection_arguments import Attributes
from vi_airflow_provider.selection.combinations import some_limit
from vi_airflow_provider.selection.matching import age_is_known, attributes_match, latest_time, name_matches

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

YOUNG = "not old enough"
UNKNOWN_AGE = "age unknown: its times are missing or contradict each other"


class Measured(NamedTuple):
    """The best value of a metric that a run has reached, ``None`` without any, or that it could not be read."""

    value: float | None
    readable: bool = True


#: Reads the metric of runs, by their ids.
Measure = Callable[[Collection[str]], Mapping[str, Measured]]


class Decision(NamedTuple):
    """What becomes of a flow or a run in scope, and why."""

    document_id: str
    name: str
    #: These two identify the version that the decision is about.
    etag: str
    last_updated: int
    selected: bool
    reason: str
    #: The flow as it was when this was decided, as canonical JSON; empty if it is not selected, and for a run.
    document: bytes = b""

    @classmethod
    def of(cls, subject: Subject, reason: str, *, selected: bool) -> Self:
        """Decide about this version of a flow or a run."""
        document = document_of(subject) if selected else b""
        version = subject.etag, subject.metadata.last_updated
        return cls(id_of(subject), name_of(subject), *version, selected, reason, document)

    def spared(self, reason: str) -> Self:
        """Return the decision to spare it after all."""
        return self._replace(selected=False, reason=reason, document=b"")

    def still_matches(self, subject: Subject) -> bool:
        """Return whether the flow or run is unchanged since this was decided."""
        return (subject.etag, subject.metadata.last_updated) == (self.etag, self.last_updated)


class Candidate(NamedTuple):
    """What planning needs to know of a flow or a run in scope: little enough to hold for 100,000 of them."""

    #: What becomes of it if no place among the last or the best spares it.
    decision: Decision
    born: int
    #: Among which others it has its place.
    group: Hashable
    #: Whether it takes a place: one of unknown age does not, and neither does a run that goes on.
    counts: bool
    succeeded: bool = False


class Kept(NamedTuple):
    """What is spared for its place: the reasons by the ids, and the rules that match nothing."""

    reasons: Mapping[str, str]
    unmatched: Sequence[str] = ()


class RetentionPolicy(Protections):
    """What may be deleted. A flow is selected when it is in scope, old enough, and no rule spares it.

    :param older_than: minimum age of a flow
    :param age_of: what its age counts from, ``"last_updated"`` or ``"time_created"``
    :param name_pattern: scope: glob on the name, case-sensitive
    :param training_project: scope: id of the training project
    :param attributes: scope: attributes that the flow must have, with these values
    :param keep_last: spares this number of the most recent flows in scope, per training project
    """

    #: The arguments that are numbers of places. Each of them limits what is selected.
    PLACES: ClassVar[tuple[str, ...]] = ("keep_last",)
    #: Among which others a flow has its place, in words.
    GROUP: ClassVar[str] = "training project"
    NOUN: ClassVar[str] = "flow"

    older_than: Duration | None = None
    age_of: Literal["last_updated", "time_created"] = "last_updated"
    name_pattern: Text | None = None
    training_project: Text | None = None
    attributes: Attributes | None = None
    keep_last: NonNegativeInt | None = None

    @classmethod
    def build(cls, **rules: Any) -> Self:
        """Build a policy from what a DAG author writes; ``None`` means not given.

        :raises ViValidationError: a value is unusable, or nothing limits what would be selected
        """
        policy = super().build(**rules)
        places = {name: getattr(policy, name) for name in cls.PLACES}
        some_limit(cls.NOUN, older_than=policy.older_than, **places)
        return policy

    @property
    def places(self) -> list[str]:
        """The arguments that spare some for their place."""
        return [name for name in self.PLACES if getattr(self, name)]

    @property
    def reason(self) -> str:
        """Why a flow is selected."""
        if self.older_than is None:
            return f"beyond {', '.join(self.places)}"
        age = str(self.older_than).removesuffix(", 0:00:00")
        return f"{self.age_of} at least {age} ago"

    def scope(self) -> Iterator[Rule]:
        """Yield the conditions that a flow in scope meets."""
        if self.name_pattern is not None:
            yield Rule(f"name_pattern: {self.name_pattern}", partial(_name_matches, self.name_pattern))
        if self.training_project is not None:
            yield Rule(f"training_project: {self.training_project}", partial(_is_in_project, self.training_project))
        for key, value in sorted((self.attributes or {}).items()):
            yield Rule(f"attributes: {key}={value}", partial(_has_attribute, key, value))

    def candidate(self, subject: Subject, now: datetime) -> Candidate | None:
        """Decide about a flow that meets the conditions, as far as it can be decided without the others.

        ``None`` means that it is out of scope all the same.
        """
        born = subject.metadata.time_created if self.age_of == "time_created" else subject.metadata.last_updated
        known, blocked = age_is_known(subject, now), obstacle(subject)
        if not known:
            reason: str | None = UNKNOWN_AGE
        elif self.older_than is not None and born > latest_time(now, self.older_than):
            reason = YOUNG
        else:
            reason = blocked or self.protection(subject)
        decision = Decision.of(subject, reason or self.reason, selected=reason is None)
        return Candidate(decision, born, self.group(subject), counts=known and blocked is None)

    def group(self, subject: Subject) -> Hashable:
        """Return what a flow shares with those among which it has its place."""
        return subject.spec.training_project

    def kept(self, candidates: Sequence[Candidate], measure: Measure) -> Kept:
        """Return which candidates are spared for their place.

        :param candidates: the most recent one first
        :param measure: reads the metric of runs
        """
        return Kept(first_ones(candidates, self.keep_last or 0, f"kept by keep_last={self.keep_last} per {self.GROUP}"))


class Plan(NamedTuple):
    """What to delete, and what not."""

    #: One for each flow or run in scope, oldest first.
    decisions: Sequence[Decision]
    #: How many there are, in scope or not, if known.
    total: int | None
    #: The rules that match nothing.
    unmatched: Sequence[str] = ()

    @property
    def selected(self) -> list[Decision]:
        """What to delete."""
        return [decision for decision in self.decisions if decision.selected]

    @property
    def spared(self) -> list[Decision]:
        """What stays, apart from the young: a rule spares it, its age is unknown, or it is a run that has not ended."""
        return [decision for decision in self.decisions if not decision.selected and decision.reason != YOUNG]

    @property
    def young(self) -> int:
        """The number of those that are not old enough."""
        return sum(decision.reason == YOUNG for decision in self.decisions)


def unmeasured(ids: Collection[str]) -> Mapping[str, Measured]:
    """Return that no metric can be read."""
    return dict.fromkeys(ids, Measured(None, readable=False))


def plan_retention(
    listing: Iterable[Subject], policy: RetentionPolicy, now: datetime, measure: Measure = unmeasured
) -> Plan:
    """Decide about each flow or run in scope. The whole listing must be given: ``keep_last`` compares its items."""
    scope = list(policy.scope())
    unmatched = UnmatchedRules(policy, scope)
    # By id: a listing that changes while it is read may hold a flow twice, which must not use up two places of
    # keep_last. The later version counts.
    versions: dict[str, tuple[int, str]] = {}
    candidates: dict[str, Candidate] = {}
    for subject in listing:
        unmatched.see(subject)
        document_id, version = id_of(subject), (subject.metadata.last_updated, subject.etag)
        if document_id in versions and version <= versions[document_id]:
            continue
        versions[document_id] = version
        candidates.pop(document_id, None)
        if all(rule.matches(subject) for rule in scope) and (candidate := policy.candidate(subject, now)):
            candidates[document_id] = candidate
    ordered = sorted(candidates.values(), key=lambda candidate: (candidate.born, candidate.decision.document_id))
    kept = policy.kept(ordered[::-1], measure)
    return Plan(list(_decisions(ordered, kept)), len(versions), [*unmatched.labels(), *kept.unmatched])


def first_ones(candidates: Iterable[Candidate], keep: int, reason: str) -> dict[str, str]:
    """Return the first ones of each group by their ids, with the reason why they are spared."""
    taken: Counter[Hashable] = Counter()
    first = {}
    for candidate in candidates:
        if candidate.counts and taken[candidate.group] < keep:
            taken[candidate.group] += 1
            first[candidate.decision.document_id] = reason
    return first


def _decisions(candidates: Iterable[Candidate], kept: Kept) -> Iterator[Decision]:
    for decision, *_ in candidates:
        reason = kept.reasons.get(decision.document_id)
        yield decision if reason is None or not decision.selected else decision.spared(reason)


def _name_matches(pattern: str, subject: Subject) -> bool:
    return name_matches(pattern, name_of(subject))


def _is_in_project(training_project: str, subject: Subject) -> bool:
    return subject.spec.training_project == training_project


def _has_attribute(key: str, value: str, subject: Subject) -> bool:
    return attributes_match({key: value}, subject.metadata.attributes)
