"""Which flows to delete, and why: a pure function from flows, policy and time to a plan.

The plan does not depend on the order of the listing, a protected flow is never in it, and a policy with a longer
``older_than`` never selects more. A flow whose age is not known is not old.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from pydantic import NonNegativeInt

from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.cleanup.protection import Protections, Rule, UnmatchedRules
from vi_airflow_provider.selection.arguments import Duration, Text
from vi_airflow_provider.selection.filter import FlowFilter
from vi_airflow_provider.selection.matching import age_is_known, latest_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from vi_airflow_provider.api.models import Flow

YOUNG = "not old enough"
UNKNOWN_AGE = "age unknown: its times are missing or contradict each other"


class RetentionPolicy(Protections):
    """What may be deleted. A flow is selected when it is in scope, old enough, and no rule spares it.

    :param older_than: minimum age of a flow
    :param age_of: what its age counts from, ``"last_updated"`` or ``"time_created"``
    :param name_pattern: scope: glob on the name, case-sensitive
    :param training_project: scope: id of the training project
    :param attributes: scope: attributes that the flow must have, with these values
    :param keep_last: spares this number of the most recent flows in scope, per training project
    """

    older_than: Duration | None = None
    age_of: Literal["last_updated", "time_created"] = "last_updated"
    name_pattern: Text | None = None
    training_project: Text | None = None
    attributes: dict[str, str] | None = None
    keep_last: NonNegativeInt | None = None

    @classmethod
    def build(cls, **rules: Any) -> Self:
        """Build a policy from what a DAG author writes; ``None`` means not given.

        :raises ViValidationError: a value is unusable, or nothing limits what would be selected
        """
        policy = super().build(**rules)
        if policy.older_than is None and not policy.keep_last:
            raise ViValidationError("give older_than, keep_last or both: without them every flow would be deleted")
        return policy

    @property
    def reason(self) -> str:
        """Why a flow is selected."""
        if self.older_than is None:
            return "beyond keep_last"
        age = str(self.older_than).removesuffix(", 0:00:00")
        return f"{self.age_of} longer ago than {age}"

    def scope(self, now: datetime) -> Iterator[Rule]:
        """Yield the conditions that a flow in scope meets."""
        for argument in ("name_pattern", "training_project"):
            if (value := getattr(self, argument)) is not None:
                yield Rule(f"{argument}: {value}", partial(FlowFilter(**{argument: value}).matches, now=now))
        for key, value in sorted((self.attributes or {}).items()):
            yield Rule(f"attributes: {key}={value}", partial(FlowFilter(attributes={key: value}).matches, now=now))


class Decision(NamedTuple):
    """What becomes of a flow in scope, and why."""

    flow_id: str
    name: str
    #: These two identify the version of the flow that the decision is about.
    etag: str
    last_updated: int
    selected: bool
    reason: str
    #: The flow as it was when this was decided, as canonical JSON; empty if it is not selected.
    document: bytes = b""

    @classmethod
    def of(cls, flow: Flow, reason: str, *, selected: bool) -> Self:
        """Decide about this version of a flow."""
        document = canonical_json(flow.to_wire()) if selected else b""
        return cls(flow.flow_id, flow.spec.name, flow.etag, flow.metadata.last_updated, selected, reason, document)

    def still_matches(self, flow: Flow) -> bool:
        """Return whether the flow is unchanged since this was decided."""
        return (flow.etag, flow.metadata.last_updated) == (self.etag, self.last_updated)


class Plan(NamedTuple):
    """What to delete, and what not."""

    #: One for each flow in scope, oldest first.
    decisions: Sequence[Decision]
    #: How many flows there are, in scope or not, if known.
    total: int | None
    #: The rules that match no flow.
    unmatched: Sequence[str] = ()

    @property
    def selected(self) -> list[Decision]:
        """The flows to delete."""
        return [decision for decision in self.decisions if decision.selected]

    @property
    def spared(self) -> list[Decision]:
        """The flows that are not young, and spared by a rule."""
        return [decision for decision in self.decisions if not decision.selected and decision.reason != YOUNG]

    @property
    def young(self) -> int:
        """The number of flows that are not old enough."""
        return sum(decision.reason == YOUNG for decision in self.decisions)


class _Candidate(NamedTuple):
    """What planning needs to know of a flow in scope: little enough to hold for 100,000 of them."""

    #: What becomes of the flow if ``keep_last`` does not spare it.
    decision: Decision
    born: int
    training_project: str | None


def plan_retention(flows: Iterable[Flow], policy: RetentionPolicy, now: datetime) -> Plan:
    """Decide about each flow in scope. All flows must be given: ``keep_last`` compares them."""
    scope = list(policy.scope(now))
    unmatched = UnmatchedRules(policy, scope)
    # By id: a listing that changes while it is read may hold a flow twice, which must not use up two places of
    # keep_last. The later version counts.
    versions: dict[str, tuple[int, str]] = {}
    candidates: dict[str, _Candidate] = {}
    for flow in flows:
        unmatched.see(flow)
        version = (flow.metadata.last_updated, flow.etag)
        if flow.flow_id in versions and version <= versions[flow.flow_id]:
            continue
        versions[flow.flow_id] = version
        candidates.pop(flow.flow_id, None)
        if all(rule.matches(flow) for rule in scope):
            candidates[flow.flow_id] = _candidate(flow, policy, now)
    ordered = sorted(candidates.values(), key=lambda candidate: (candidate.born, candidate.decision.flow_id))
    return Plan(_spare_newest(ordered, policy.keep_last or 0), len(versions), unmatched.labels())


def _candidate(flow: Flow, policy: RetentionPolicy, now: datetime) -> _Candidate:
    metadata = flow.metadata
    born = metadata.time_created if policy.age_of == "time_created" else metadata.last_updated
    if not age_is_known(flow, now):
        decision = Decision.of(flow, UNKNOWN_AGE, selected=False)
    elif policy.older_than is not None and born > latest_time(now, policy.older_than):
        decision = Decision.of(flow, YOUNG, selected=False)
    elif protection := policy.protection(flow):
        decision = Decision.of(flow, protection, selected=False)
    else:
        decision = Decision.of(flow, policy.reason, selected=True)
    return _Candidate(decision, born, flow.spec.training_project)


def _spare_newest(ordered: Sequence[_Candidate], keep: int) -> list[Decision]:
    """Spare the last ones of each training project. A flow of unknown age takes the place of no other."""
    kept: Counter[str | None] = Counter()
    decisions = []
    for decision, _, project in reversed(ordered):
        if kept[project] < keep and decision.reason != UNKNOWN_AGE:
            kept[project] += 1
            if decision.selected:
                reason = f"among the last {keep} of its training project"
                decision = decision._replace(selected=False, reason=reason, document=b"")
        decisions.append(decision)
    return decisions[::-1]
