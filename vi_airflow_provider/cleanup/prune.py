"""A cleanup from end to end: plan, guard, archive, delete what is unchanged, report."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.cleanup.deletion import DeleteOutcome, DeleteResult, delete_unchanged
from vi_airflow_provider.cleanup.destination import Attempt, Destination
from vi_airflow_provider.cleanup.given_plan import Recheck, read_plan, recheck
from vi_airflow_provider.cleanup.guards import GuardError, Guards
from vi_airflow_provider.cleanup.policy import Plan, RetentionPolicy, plan_retention
from vi_airflow_provider.cleanup.report import PruneError, Report
from vi_airflow_provider.selection.arguments import boolean, optional_count

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from vi_airflow_provider.api.async_client import AsyncViClient
    from vi_airflow_provider.api.client import ViClient

log = logging.getLogger(__name__)

__all__ = ["Attempt", "Cleanup", "GuardError", "Order", "PruneError"]


@dataclass(frozen=True)
class Order:
    """What a cleanup is to do: the arguments of ``PruneFlowsOperator``, checked.

    :param rules: the arguments of the policy, as they were given
    :param source: the policy, or a plan that was made earlier
    """

    rules: Mapping[str, Any]
    source: RetentionPolicy | Plan
    dry_run: bool
    guards: Guards
    archive_to: str | None
    concurrency: int
    page_size: int | None

    @classmethod
    def build(cls, rules: Mapping[str, Any], plan: Any, **arguments: Any) -> Self:
        """Check the arguments of the operator.

        :param rules: the arguments of the policy
        :param plan: the plan to use instead, ``None`` for the policy
        :param arguments: all others
        :raises ViValidationError: a value is unusable; the message names the argument
        """
        dry_run = boolean("dry_run", arguments["dry_run"])
        archive_to = arguments["archive_to"]
        if not dry_run and not archive_to and arguments["allow_unarchived"] is not True:
            raise ViValidationError(
                "archive_to: give a folder for what is deleted, or allow_unarchived=True to delete without an archive"
            )
        concurrency = optional_count("concurrency", arguments["concurrency"])
        if not concurrency:
            raise ViValidationError(
                f"concurrency: {arguments['concurrency']!r:.80} is not a whole number of at least 1"
            )
        rules = {**rules, "keep_last": optional_count("keep_last", rules["keep_last"])}
        return cls(
            rules={"plan": True} if plan is not None else rules,
            source=RetentionPolicy.build(**rules) if plan is None else read_plan(plan),
            dry_run=dry_run,
            guards=Guards.build(arguments["max_delete"], arguments["max_delete_fraction"]),
            archive_to=archive_to or None,
            concurrency=concurrency,
            page_size=optional_count("page_size", arguments["page_size"]),
        )


@dataclass(frozen=True)
class Cleanup:
    """Carries out an order.

    :param client: reads the flows
    :param connect: opens the client that deletes them
    """

    client: ViClient
    connect: Callable[[], Awaitable[AsyncViClient]]

    def run(self, order: Order, attempt: Attempt) -> dict[str, Any]:
        """Plan, and unless it is a dry run, guard, archive and delete; return the report.

        :param attempt: the try of the task that runs
        :raises GuardError: there is more to delete than the guards allow; nothing was deleted
        :raises ArchiveError: the archive could not be written or verified; nothing was deleted
        :raises PruneError: some flows could not be deleted; the others were
        """
        plan, results = self._plan(order)
        refusal = order.guards.refusal(len(plan.selected), plan.total)
        archive, earlier = None, []
        if order.dry_run:
            results += [DeleteResult.of(decision, DeleteOutcome.WOULD_DELETE) for decision in plan.selected]
        elif refusal:
            raise GuardError(f"{refusal} Nothing was deleted.")
        else:
            if order.archive_to:
                destination = Destination.of(order.archive_to, attempt)
                earlier = destination.earlier_archives()
                archive = self._archive(plan, destination, order.rules)
            if plan.selected:
                results += delete_unchanged(self.connect, plan.selected, order.concurrency)
        organization_id = self.client.settings.organization_id
        return self._report(Report(organization_id, plan, results, order.dry_run, refusal, archive, earlier))

    def _plan(self, order: Order) -> Recheck:
        if isinstance(order.source, Plan):
            return recheck(self.client, order.source)
        flows = self.client.list_flows(page_size=order.page_size)
        return Recheck(plan_retention(flows, order.source, datetime.now(UTC)), [])

    def _archive(self, plan: Plan, destination: Destination, rules: Mapping[str, Any]) -> str | None:
        if not plan.selected:
            return None
        flows = {decision.flow_id: decision.document for decision in plan.selected}
        details = {"policy": json.loads(json.dumps(rules, default=str))}
        archive = destination.write(flows, self.client.settings.organization_id, details)
        log.info("%d flows are archived and verified: %s", len(flows), archive)
        return archive

    def _report(self, report: Report) -> dict[str, Any]:
        log.info("%d flows were selected:\n%s", len(report.results), report.table())
        uri = None
        try:
            uri = report.write()
        except Exception as error:  # whatever the file system or its driver raises
            # The deletes are done, and the log and the XCom have the report: another try would add nothing.
            log.warning("The report cannot be written beside %s: %s: %s", report.archive, type(error).__name__, error)
        content = report.as_json(uri)
        if failure := report.failure():
            raise PruneError(failure, content)
        return content
