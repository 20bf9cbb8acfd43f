"""A plan that was made earlier: read from the report of a dry run, and compared with the flows as they are now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from pydantic import BaseModel, StrictInt, TypeAdapter, ValidationError

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.transport.loop_thread import until_stopped
from vi_airflow_provider.api.validation import checked_id, describe_errors
from vi_airflow_provider.cleanup.deletion import DeleteOutcome, DeleteResult
from vi_airflow_provider.cleanup.policy import Decision, Plan
from vi_airflow_provider.cleanup.protection import Protections, UnmatchedRules
from vi_airflow_provider.selection.arguments import Text

if TYPE_CHECKING:
    from collections.abc import Callable

    from vi_airflow_provider.api.client import ViClient


class _Planned(BaseModel):
    """A flow of a given plan, as the report of a dry run lists it."""

    flow_id: Text
    etag: str
    last_updated: StrictInt
    name: str = ""
    reason: str = "in the given plan"

    def decision(self) -> Decision:
        return Decision(checked_id(self.flow_id), self.name, self.etag, self.last_updated, True, self.reason)


class Recheck(NamedTuple):
    """What is left of a given plan, and the results for its flows that no longer are as planned."""

    plan: Plan
    settled: list[DeleteResult]


@dataclass(frozen=True)
class GivenPlan:
    """A plan that was made earlier.

    :param decisions: the flows that it selects
    :param protections: what is spared although the plan selects it
    :param total: how many flows there were, if known
    :param organization_id: whose flows they are, if known: a list of outcomes does not contain it
    """

    decisions: list[Decision]
    protections: Protections
    total: int | None
    organization_id: str | None

    @classmethod
    def read(cls, plan: Any, protections: Mapping[str, Any]) -> Self:
        """Read the report of a dry run, or some of its ``outcomes``.

        :param protections: the arguments about what is never deleted, as a DAG author writes them
        :raises ViValidationError: it is not a plan, or not complete
        """
        report: Mapping[str, Any] = plan if isinstance(plan, Mapping) else {"outcomes": plan}
        if report.get("outcomes_omitted"):
            raise ViValidationError(f"plan: the report does not list {report['outcomes_omitted']} of its flows")
        try:
            flows = TypeAdapter(list[_Planned]).validate_python(report.get("outcomes"))
        except ValidationError as error:
            reason = describe_errors(error, "plan")
        else:
            total, organization_id = report.get("total"), report.get("organization_id")
            return cls(
                [flow.decision() for flow in flows],
                Protections.build(**protections),
                total if isinstance(total, int) else None,
                None if organization_id is None else str(organization_id),
            )
        raise ViValidationError(reason)

    def recheck(self, client: ViClient, stopped: Callable[[], bool]) -> Recheck:
        """Read each flow of the plan, and keep those that are unchanged and not protected.

        :param stopped: whether the task was killed
        :raises StoppedError: it was
        :raises ViValidationError: the plan is about another organization than the client's
        """
        self._refuse_other_organization(client.settings.organization_id)
        decisions: list[Decision] = []
        settled: list[DeleteResult] = []
        for planned in until_stopped(self.decisions, stopped):
            flow = client.find_flow(flow_id=planned.flow_id)
            if flow is None:
                settled.append(DeleteResult.of(planned, DeleteOutcome.ALREADY_ABSENT))
            elif not planned.still_matches(flow):
                settled.append(DeleteResult.of(planned, DeleteOutcome.CHANGED))
            elif protection := self.protections.protection(flow):
                decisions.append(Decision.of(flow, protection, selected=False))
            else:
                decisions.append(Decision.of(flow, planned.reason, selected=True))
        return Recheck(Plan(decisions, self.total, self._unmatched(client, stopped)), settled)

    def _unmatched(self, client: ViClient, stopped: Callable[[], bool]) -> list[str]:
        """Return the protections that match no flow of the organization, for which the listing is read.

        The plan alone does not tell: it does not contain the flows that were spared when it was made.
        """
        if not self.protections.model_fields_set:
            return []
        unmatched = UnmatchedRules(self.protections, ())
        for flow in until_stopped(client.list_flows(), stopped):
            unmatched.see(flow)
        return unmatched.labels()

    def _refuse_other_organization(self, organization_id: str) -> None:
        if self.organization_id not in (None, organization_id):
            raise ViValidationError(
                f"plan: it is about the organization {self.organization_id!r:.80}, and the connection about "
                f"{organization_id!r:.80}"
            )
