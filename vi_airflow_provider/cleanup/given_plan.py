"""A plan that was made earlier: read from the report of a dry run, and compared with the flows as they are now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, StrictInt, TypeAdapter, ValidationError

from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.validation import checked_id, describe_errors
from vi_airflow_provider.cleanup.deletion import DeleteOutcome, DeleteResult
from vi_airflow_provider.cleanup.policy import Decision, Plan
from vi_airflow_provider.selection.arguments import Text

if TYPE_CHECKING:
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


def read_plan(plan: Any) -> Plan:
    """Read the report of a dry run, or some of its ``outcomes``.

    :raises ViValidationError: it is not a plan, or not complete
    """
    total = None
    if isinstance(plan, Mapping):
        if plan.get("outcomes_omitted"):
            raise ViValidationError(f"plan: the report does not list {plan['outcomes_omitted']} of its flows")
        total = plan.get("total")
        plan = plan.get("outcomes")
    try:
        flows = TypeAdapter(list[_Planned]).validate_python(plan)
    except ValidationError as error:
        reason = describe_errors(error, "plan")
    else:
        return Plan([flow.decision() for flow in flows], total if isinstance(total, int) else None)
    raise ViValidationError(reason)


def recheck(client: ViClient, plan: Plan) -> Recheck:
    """Read each flow of a plan, and keep those that are unchanged, with their current documents."""
    kept: list[Decision] = []
    settled: list[DeleteResult] = []
    for decision in plan.decisions:
        flow = client.find_flow(flow_id=decision.flow_id)
        if flow is None:
            settled.append(DeleteResult.of(decision, DeleteOutcome.ALREADY_ABSENT))
        elif not decision.still_matches(flow):
            settled.append(DeleteResult.of(decision, DeleteOutcome.CHANGED))
        else:
            kept.append(decision._replace(name=flow.spec.name, document=canonical_json(flow.to_wire())))
    return Recheck(Plan(kept, plan.total), settled)
