"""A plan that was made earlier: read from the report of a dry run, and compared with what there is now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from pydantic import BaseModel, Field, StrictInt, TypeAdapter, ValidationError

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.transport.loop_thread import until_stopped
from vi_airflow_provider.api.validation import checked_id, describe_errors
from vi_airflow_provider.cleanup.kind import FLOWS, Kind
from vi_airflow_provider.cleanup.outcome import DeleteOutcome, DeleteResult
from vi_airflow_provider.cleanup.policy import Decision, Plan
from vi_airflow_provider.cleanup.protection import Protections, UnmatchedRules
from vi_airflow_provider.cleanup.subject import obstacle
from vi_airflow_provider.selection.arguments import Text
from vi_airflow_provider.selection.collection_arguments import document_list

if TYPE_CHECKING:
    from collections.abc import Callable

    from vi_airflow_provider.api.client import ViClient


class _Planned(BaseModel):
    """A flow or a run of a given plan, as the report of a dry run lists it."""

    document_id: Text
    etag: str
    last_updated: StrictInt
    name: str = ""
    reason: str = "in the given plan"

    def decision(self, noun: str) -> Decision:
        document_id = checked_id(self.document_id, f"{noun} id")
        return Decision(document_id, self.name, self.etag, self.last_updated, True, self.reason)


class _PlannedFlow(_Planned):
    document_id: Text = Field(alias="flow_id")


class _PlannedRun(_Planned):
    document_id: Text = Field(alias="run_id")


_PLANNED: Final[Mapping[str, TypeAdapter[Any]]] = {
    "flow": TypeAdapter(list[_PlannedFlow]),
    "run": TypeAdapter(list[_PlannedRun]),
}


class Recheck(NamedTuple):
    """What is left of a given plan, and the results for what no longer is as planned."""

    plan: Plan
    settled: list[DeleteResult]


@dataclass(frozen=True)
class GivenPlan:
    """A plan that was made earlier.

    :param kind: what it is about
    :param decisions: what it selects
    :param protections: what is spared although the plan selects it
    :param total: how many flows or runs there were, if known
    :param organization_id: whose they are, if known: a list of outcomes does not contain it
    """

    kind: Kind
    decisions: list[Decision]
    protections: Protections
    total: int | None
    organization_id: str | None

    @classmethod
    def read(cls, plan: Any, protections: Mapping[str, Any], kind: Kind = FLOWS) -> Self:
        """Read the report of a dry run, or some of its ``outcomes``.

        :param protections: the arguments about what is never deleted, as a DAG author writes them
        :raises ViValidationError: it is not a plan, or not complete
        """
        document_list("plan", plan)
        report: Mapping[str, Any] = plan if isinstance(plan, Mapping) else {"outcomes": plan}
        if report.get("outcomes_omitted"):
            raise ViValidationError(f"plan: the report does not list {report['outcomes_omitted']} of its {kind.noun}s")
        try:
            planned: list[_Planned] = _PLANNED[kind.noun].validate_python(report.get("outcomes"))
        except ValidationError as error:
            reason = describe_errors(error, "plan")
        else:
            total, organization_id = report.get("total"), report.get("organization_id")
            return cls(
                kind,
                [each.decision(kind.noun) for each in planned],
                Protections.build(**protections),
                total if isinstance(total, int) else None,
                None if organization_id is None else str(organization_id),
            )
        raise ViValidationError(reason)

    def recheck(self, client: ViClient, stopped: Callable[[], bool]) -> Recheck:
        """Read what the plan selects, and keep what is unchanged, not protected, and can be deleted.

        :param stopped: whether the task was killed
        :raises StoppedError: it was
        :raises ViValidationError: the plan is about another organization than the client's
        """
        self._refuse_other_organization(client.settings.organization_id)
        decisions: list[Decision] = []
        settled: list[DeleteResult] = []
        for planned in until_stopped(self.decisions, stopped):
            found = self.kind.find(client, planned.document_id)
            if found is None:
                settled.append(DeleteResult.of(planned, DeleteOutcome.ALREADY_ABSENT))
            elif not planned.still_matches(found):
                settled.append(DeleteResult.of(planned, DeleteOutcome.CHANGED))
            elif spared := obstacle(found) or self.protections.protection(found):
                decisions.append(Decision.of(found, spared, selected=False))
            else:
                decisions.append(Decision.of(found, planned.reason, selected=True))
        return Recheck(Plan(decisions, self.total, self._unmatched(client, stopped)), settled)

    def _unmatched(self, client: ViClient, stopped: Callable[[], bool]) -> list[str]:
        """Return the protections that match nothing in the organization, for which the listing is read.

        The plan alone is not enough: it does not contain what was spared when it was made.
        """
        if not self.protections.model_fields_set:
            return []
        unmatched = UnmatchedRules(self.protections, ())
        for found in until_stopped(self.kind.list(client, None), stopped):
            unmatched.see(found)
        return unmatched.labels()

    def _refuse_other_organization(self, organization_id: str) -> None:
        if self.organization_id not in (None, organization_id):
            raise ViValidationError(
                f"plan: it is about the organization {self.organization_id!r:.80}, and the connection about "
                f"{organization_id!r:.80}"
            )
