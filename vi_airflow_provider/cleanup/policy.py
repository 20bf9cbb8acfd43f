"""Which flows to delete, and why: a pure function from flows, policy and time to a plan.

The plan does not depend on the order of the listing, a protected flow is never in it, and a policy with a longer
``older_than`` never selects more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.validation import describe_errors
from vi_airflow_provider.selection.arguments import Duration, Text
from vi_airflow_provider.selection.filter import FlowFilter
from vi_airflow_provider.selection.matching import latest_time, name_matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from vi_airflow_provider.api.models import Flow


class RetentionPolicy(BaseModel):
    """What may be deleted. A flow is selected when it is in scope, old enough, and nothing spares it.

    :param older_than: age that a flow must have at least
    :param age_of: what its age counts from, ``"last_updated"`` or ``"time_created"``
    :param name_pattern: scope: glob on the name, case-sensitive
    :param training_project: scope: id of the training project
    :param attributes: scope: attributes that the flow must have, with these values
    :param keep_last: spares the youngest of those in scope, so many of each training project
    :param protect_ids: spares these flows
    :param protect_names: spares flows whose name matches one of these globs
    :param protect_attributes: spares flows that have one of these attributes with its value
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    older_than: Duration | None = None
    age_of: Literal["last_updated", "time_created"] = "last_updated"
    name_pattern: Text | None = None
    training_project: Text | None = None
    attributes: dict[str, str] | None = None
    keep_last: NonNegativeInt | None = None
    protect_ids: frozenset[Text] = frozenset()
    protect_names: frozenset[Text] = frozenset()
    protect_attributes: dict[str, str] = {}

    @classmethod
    def build(cls, **rules: Any) -> RetentionPolicy:
        """Build a policy from what a user gives; what is ``None`` was not given.

        :raises ViValidationError: a value is unusable, or nothing limits what would be selected
        """
        try:
            policy = cls(**{name: value for name, value in rules.items() if value is not None})
        except ValidationError as error:
            reason = describe_errors(error)
        else:
            if policy.older_than is None and not policy.keep_last:
                raise ViValidationError("give older_than, keep_last or both: without them every flow would be deleted")
            return policy
        raise ViValidationError(reason)

    def protection(self, flow: Flow) -> str | None:
        """Return the rule that protects a flow, ``None`` if there is none."""
        if flow.flow_id in self.protect_ids:
            return "protected by its id"
        for pattern in sorted(self.protect_names):
            if name_matches(pattern, flow.spec.name):
                return f"protected by its name ({pattern})"
        for key, value in sorted(self.protect_attributes.items()):
            if flow.metadata.attributes.get(key) == value:
                return f"protected by its attribute {key}={value}"
        return None


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

    def still_matches(self, flow: Flow) -> bool:
        """Return whether the flow is unchanged since this was decided."""
        return (flow.etag, flow.metadata.last_updated) == (self.etag, self.last_updated)


class Plan(NamedTuple):
    """The decisions about all flows in scope, oldest first, and the number of flows that there were, if known."""

    decisions: Sequence[Decision]
    total: int | None

    @property
    def selected(self) -> list[Decision]:
        """The flows to delete."""
        return [decision for decision in self.decisions if decision.selected]

    @property
    def spared(self) -> list[Decision]:
        """The flows that are old enough and spared by a rule."""
        return [decision for decision in self.decisions if not decision.selected and decision.reason != YOUNG]


YOUNG = "not old enough"


class Candidate(NamedTuple):
    """What planning needs to know of a flow: little enough to hold for 100,000 of them."""

    flow_id: str
    name: str
    etag: str
    last_updated: int
    born: int
    training_project: str | None
    #: Why it is not selected, independent of all other flows; ``None`` if it may be.
    spared: str | None
    document: bytes

    @classmethod
    def of(cls, flow: Flow, policy: RetentionPolicy, limit: int | None) -> Candidate:
        """Reduce a flow to what matters for the policy; ``limit`` is the latest time of birth to be old enough."""
        metadata = flow.metadata
        born = metadata.time_created if policy.age_of == "time_created" else metadata.last_updated
        spared = YOUNG if limit is not None and born > limit else policy.protection(flow)
        return cls(
            flow_id=flow.flow_id,
            name=flow.spec.name,
            etag=flow.etag,
            last_updated=metadata.last_updated,
            born=born,
            training_project=flow.spec.training_project,
            spared=spared,
            document=b"" if spared else canonical_json(flow.to_wire()),
        )


def plan_retention(flows: Iterable[Flow], policy: RetentionPolicy, now: datetime) -> Plan:
    """Decide about each flow in scope. All flows must be given: ``keep_last`` compares them."""
    scope = FlowFilter(
        name_pattern=policy.name_pattern, training_project=policy.training_project, attributes=policy.attributes
    )
    limit = None if policy.older_than is None else latest_time(now, policy.older_than)
    # By id: a listing that changes while it is read may hold a flow twice, which must not use up two places of
    # keep_last. The later version counts.
    versions: dict[str, tuple[int, str]] = {}
    candidates: dict[str, Candidate] = {}
    for flow in flows:
        version = (flow.metadata.last_updated, flow.etag)
        if version <= versions.get(flow.flow_id, (-1, "")):
            continue
        versions[flow.flow_id] = version
        candidates.pop(flow.flow_id, None)
        if scope.matches(flow, now):
            candidates[flow.flow_id] = Candidate.of(flow, policy, limit)
    ordered = sorted(candidates.values(), key=lambda candidate: (candidate.born, candidate.flow_id))
    newest = _newest(ordered, policy.keep_last or 0)
    return Plan([_decide(candidate, newest, policy) for candidate in ordered], len(versions))


def _decide(candidate: Candidate, newest: frozenset[str], policy: RetentionPolicy) -> Decision:
    spared = candidate.spared
    if spared is None and candidate.flow_id in newest:
        spared = f"among the last {policy.keep_last} of its training project"
    if spared is not None:
        return Decision(*candidate[:4], selected=False, reason=spared)
    age = str(policy.older_than).removesuffix(", 0:00:00")
    why = "beyond keep_last" if policy.older_than is None else f"{policy.age_of} longer ago than {age}"
    return Decision(*candidate[:4], selected=True, reason=why, document=candidate.document)


def _newest(candidates: list[Candidate], keep: int) -> frozenset[str]:
    kept: dict[str | None, int] = {}
    newest = set()
    for candidate in reversed(candidates):
        if kept.get(candidate.training_project, 0) < keep:
            kept[candidate.training_project] = kept.get(candidate.training_project, 0) + 1
            newest.add(candidate.flow_id)
    return frozenset(newest)
