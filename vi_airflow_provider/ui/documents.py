"""What the API answers: flows, runs, checkpoints and the preview of a cleanup as JSON; pure functions.

Numbers that JavaScript would round or refuse become text (``embedded_json``). A document of thousands of flows is
encoded flow by flow: one call for all of them would hold the interpreter, and with it the event loop, for too long.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.models import Flow, Run, RunOutput
from vi_airflow_provider.api.settings import ViSettings
from vi_airflow_provider.audit.report import embedded_json
from vi_airflow_provider.cleanup.outcome import DeleteOutcome, DeleteResult
from vi_airflow_provider.cleanup.policy import Plan, RetentionPolicy, plan_retention
from vi_airflow_provider.cleanup.prune import Order
from vi_airflow_provider.cleanup.report import Report
from vi_airflow_provider.training.identity import FLOW_ID, TASK
from vi_airflow_provider.training.overdue import lease_end
from vi_airflow_provider.training.summary import describe_output, summarize_listed

#: Arguments of ``PruneFlowsOperator`` that decide what is deleted, with the operator's defaults.
POLICY: Final[Mapping[str, Any]] = {
    "older_than": None,
    "age_of": "last_updated",
    "name_pattern": None,
    "training_project": None,
    "attributes": None,
    "keep_last": None,
    "protect_ids": None,
    "protect_names": None,
    "protect_attributes": None,
}
LIMITS: Final[Mapping[str, Any]] = {
    "max_delete": 50,
    "max_delete_fraction": 0.5,
    "protect_unmatched": "warn",
}
#: How fast a listing is compressed: level 5 is within a few percent of 9, in a third of the time.
_GZIP_LEVEL: Final = 5


def listing(name: str, items: Iterable[dict[str, Any]], facts: Mapping[str, Any]) -> bytes:
    """Return ``{…facts, name: [items]}`` as compressed JSON."""
    encoded = ",\n".join(embedded_json(item) for item in items)
    head = embedded_json(dict(facts)).removesuffix("}")
    separator = "," if facts else ""
    return gzip.compress(f'{head}{separator}"{name}":[{encoded}]}}'.encode("ascii"), _GZIP_LEVEL, mtime=0)


def document(value: dict[str, Any]) -> bytes:
    """Return one value as compressed JSON."""
    return gzip.compress(embedded_json(value).encode("ascii"), _GZIP_LEVEL, mtime=0)


def flow_row(flow: Flow, settings: ViSettings) -> dict[str, Any]:
    """Return what the table shows of a flow; its spec is read when its row is opened."""
    # Not `flow.spec.blocks`, which would keep the decoded blocks of every flow in memory.
    wire = flow.to_wire()
    spec, metadata = wire["spec"], wire["metadata"]
    return {
        "id": flow.flow_id,
        "name": spec["name"],
        "project": spec.get("trainingProject") or "",
        "blocks": len(spec["blocks"]),
        "generation": metadata["generation"],
        "created": metadata["timeCreated"],
        "updated": metadata["lastUpdated"],
        "attributes": metadata["attributes"],
        "url": settings.ui_url(flow.flow_id),
    }


def flow_document(flow: Flow, settings: ViSettings) -> bytes:
    """Return a flow with its spec, as compressed JSON."""
    row = flow_row(flow, settings)
    return document({**row, "spec": flow.spec.canonical(), "digest": flow.digest})


def run_row(run: Run, settings: ViSettings, now_ms: float) -> dict[str, Any]:
    """Return what the listing reports of a run, with its task, and whether its lease has expired."""
    attributes = run.metadata.attributes
    lease = lease_end(run)
    return {
        **summarize_listed(run, url=settings.ui_url(attributes.get(FLOW_ID, ""), run.run_id)),
        "task": attributes.get(TASK) or None,
        "deadline": lease,
        "overdue": lease is not None and lease <= now_ms and not run.state.is_ended,
    }


def output_row(output: RunOutput) -> dict[str, Any]:
    """Return a checkpoint with its metrics; what is not finite is ``null``."""
    return {**(describe_output(output) or {}), "created": output.metadata.time_created}


def order_of(policy: Mapping[str, Any]) -> Order:
    """Check a policy as the operator does; names other than the operator's are refused.

    :raises ViValidationError: a value is unusable; the message names the argument
    """
    if unknown := sorted(policy.keys() - POLICY.keys() - LIMITS.keys()):
        raise ViValidationError(f"{unknown[0]}: not an argument that decides what a cleanup deletes")
    given = {name: value for name, value in policy.items() if value is not None}
    rules = {name: given.get(name, default) for name, default in POLICY.items()}
    limits = {name: given.get(name, default) for name, default in LIMITS.items()}
    return Order.build(rules, None, {**limits, "archive_to": None, "concurrency": 1, "page_size": None}, dry_run=True)


def plan_document(flows: Sequence[Flow], order: Order, organization_id: str, now: datetime) -> bytes:
    """Return what a cleanup would do, as compressed JSON: the report of a dry run, and counts by reason."""
    if not isinstance(order.source, RetentionPolicy):
        raise TypeError("a preview needs a policy")
    plan = plan_retention(flows, order.source, now)
    refusal = order.guards.refusal(len(plan.selected), plan.total, plan.unmatched)
    results = [DeleteResult.of(decision, DeleteOutcome.WOULD_DELETE) for decision in plan.selected]
    report = Report(organization_id, plan, results, True, refusal).as_json(None)
    outcomes = report.pop("outcomes")
    return listing("outcomes", outcomes, {**report, **_reasons(plan), "planned_at": _ms(now)})


def _reasons(plan: Plan) -> dict[str, Any]:
    kept = Counter(decision.reason for decision in plan.decisions if not decision.selected)
    return {
        "young": plan.young,
        "out_of_scope": (plan.total or 0) - len(plan.decisions),
        "kept_by_reason": [{"reason": reason, "count": count} for reason, count in kept.most_common()],
    }


def _ms(time: datetime) -> int:
    return round(time.timestamp() * 1000)
