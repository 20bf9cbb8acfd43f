"""A cleanup from end to end: plan, guard, archive, delete what is unchanged, report.

Theory of operation. Nothing is changed on the server before step 4. Between tries, no state is kept but the flows or
runs themselves and the archives. Killed during a step, a cleanup leaves this:

==========  ==================================================  ====================================================
step        left behind                                         the next try
==========  ==================================================  ====================================================
1. plan     nothing                                             plans again
2. guard    nothing                                             plans again
3. archive  no archive, or a file without a manifest, which     plans again, and archives under a new name
            every reader ignores
4. delete   a complete archive, of which a part is deleted      plans, archives and deletes what is left, and reports
                                                                the earlier archive, too
5. report   a complete archive, of which all is deleted, but    usually selects nothing, and reports the earlier
            what was changed, busy or failed                    archive
==========  ==================================================  ====================================================

Invariants:

- What is deleted is in an archive that was read back and has a manifest, unless the author allows otherwise.
- The version that is deleted is the one that was selected: each is read again before each attempt to delete it, and
  left alone if it has changed. So an edit after the archive is not lost, unless it falls between read and delete.
- A plan is never carried over to another try. A given plan (``GivenPlan``) is compared with what exists, in each try:
  what an earlier try has deleted is already absent.

What breaks if you change it: with deletes before the manifest, a kill leaves flows deleted without a usable copy. With
one archive name for all tries, the second try would have to overwrite the only copy of what the first one deleted. The
guards count what one try selects, so all tries together may delete more than ``max_delete``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

from vi_airflow_provider.api.errors import one_line
from vi_airflow_provider.api.transport.loop_thread import raise_if, until_stopped
from vi_airflow_provider.cleanup.deletion import delete_unchanged
from vi_airflow_provider.cleanup.destination import Attempt, Destination
from vi_airflow_provider.cleanup.given_plan import GivenPlan, Recheck
from vi_airflow_provider.cleanup.guards import GuardError, Guards
from vi_airflow_provider.cleanup.kind import FLOWS, Archived, Execution, Kind
from vi_airflow_provider.cleanup.outcome import DeleteOutcome, DeleteResult
from vi_airflow_provider.cleanup.policy import Measured, Plan, RetentionPolicy, plan_retention
from vi_airflow_provider.cleanup.protection import Protections
from vi_airflow_provider.cleanup.report import PruneError, Report, results_table, spared_table, summary
from vi_airflow_provider.cleanup.run_kind import RunKind
from vi_airflow_provider.selection.arguments import boolean, count, optional_count
from vi_airflow_provider.selection.combinations import archive_or_consent
from vi_airflow_provider.storage.places import written_folder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from vi_airflow_provider.api.async_client import AsyncViClient
    from vi_airflow_provider.api.client import ViClient

__all__ = ["FLOWS", "Attempt", "Cleanup", "GuardError", "PruneError", "PruneRequest", "RunKind"]

log = logging.getLogger(__name__)

#: The rules that hold for a given plan, too.
_PROTECTIONS: Final = tuple(Protections.model_fields)


@dataclass(frozen=True)
class PruneRequest:
    """What a cleanup is to do: the arguments of ``PruneFlowsOperator`` or ``PruneRunsOperator``, checked.

    :param kind: what is cleaned up
    :param rules: the arguments of the policy, as they were given
    :param source: the policy, or a plan that was made earlier
    """

    kind: Kind
    rules: Mapping[str, Any]
    source: RetentionPolicy | GivenPlan
    dry_run: bool
    guards: Guards
    archive_to: str | None
    concurrency: int
    page_size: int | None

    @classmethod
    def build(
        cls, rules: Mapping[str, Any], plan: Any, limits: Mapping[str, Any], dry_run: Any, kind: Kind = FLOWS
    ) -> Self:
        """Check the arguments of the operator.

        :param rules: the arguments of the policy
        :param plan: the plan to use instead, ``None`` for the policy
        :param limits: the arguments about how it is carried out
        :param kind: what is cleaned up
        :raises ViValidationError: a value is unusable; the message names the argument
        """
        rules = {**rules, **{name: optional_count(name, rules[name]) for name in kind.policy.PLACES}}
        protections = {name: rules[name] for name in _PROTECTIONS}
        dry_run = boolean("dry_run", dry_run)
        archive_to = limits.get("archive_to")
        consent = limits.get("allow_unarchived", False)
        archive_or_consent(dry_run=dry_run, archive_to=archive_to, allow_unarchived=consent)
        return cls(
            kind=kind,
            rules=rules if plan is None else {"plan": True, **protections},
            source=kind.policy.build(**rules) if plan is None else GivenPlan.read(plan, protections, kind),
            dry_run=dry_run,
            guards=Guards.build(limits["max_delete"], limits["max_delete_fraction"], limits["protect_unmatched"]),
            archive_to=None if dry_run else written_folder("archive_to", archive_to),
            concurrency=count("concurrency", limits["concurrency"], 1),
            page_size=optional_count("page_size", limits["page_size"], 1),
        )

    def for_reviewed(self, report: Report) -> Self:
        """Return a request to delete exactly what a review selects, as far as it is unchanged by then."""
        if isinstance(self.source, GivenPlan):
            protections = self.source.protections
        else:
            protections = Protections.build(**{name: self.rules[name] for name in _PROTECTIONS})
        plan = report.plan
        return replace(
            self, source=GivenPlan(self.kind, plan.selected, protections, plan.total, report.organization_id)
        )


@dataclass(frozen=True)
class Cleanup:
    """Carries out a request.

    :param client: reads what there is
    :param connect: opens the client that deletes
    :param stopped: whether the task was killed
    """

    client: ViClient
    connect: Callable[[], Awaitable[AsyncViClient]]
    stopped: Callable[[], bool]

    def run(self, request: PruneRequest, attempt: Attempt) -> dict[str, Any]:
        """Plan, and unless it is a dry run, guard, archive and delete; return the report.

        :param attempt: the try of the task that runs
        :raises GuardError: a guard refuses the plan; nothing was deleted
        :raises ArchiveError: the archive could not be written or verified; nothing was deleted
        :raises PruneError: some could not be deleted; the others were
        :raises StoppedError: the task was killed
        """
        if request.dry_run:
            return _finish(self.review(request))
        plan, settled, refusal = self._guarded_plan(request)
        if refusal:
            raise GuardError(f"{refusal} Nothing was deleted.")
        archived, earlier = self._archive(request, plan, attempt)
        settled += archived.settled
        if archived.decisions:
            settled += delete_unchanged(request.kind, archived.decisions, self._execution(request))
        return _finish(
            Report(self._organization, plan, settled, False, None, archived.uri, earlier, noun=request.kind.noun)
        )

    def review(self, request: PruneRequest) -> Report:
        """Return what would be deleted; delete nothing."""
        plan, settled, refusal = self._guarded_plan(request, dry_run=True)
        results = [DeleteResult.of(decision, DeleteOutcome.WOULD_DELETE) for decision in plan.selected]
        return Report(self._organization, plan, settled + results, True, refusal, noun=request.kind.noun)

    @property
    def _organization(self) -> str:
        return self.client.settings.organization_id

    def _guarded_plan(
        self, request: PruneRequest, *, dry_run: bool = False
    ) -> tuple[Plan, list[DeleteResult], str | None]:
        """Return the plan, the results for what is no longer as a given plan has it, and why a guard refuses."""
        plan, settled = self._plan(request)
        noun = request.kind.noun
        refusal = request.guards.refusal(len(plan.selected), plan.total, plan.unmatched, noun)
        given = isinstance(request.source, GivenPlan)
        _log_plan(noun, plan, len(settled) if given else None, refusal, dry_run=dry_run)
        return plan, settled, refusal

    def _execution(self, request: PruneRequest) -> Execution:
        return Execution(self.connect, request.concurrency, self.stopped)

    def _plan(self, request: PruneRequest) -> Recheck:
        if isinstance(request.source, GivenPlan):
            return request.source.recheck(self.client, self.stopped)
        policy = request.source

        def measure(ids: Collection[str]) -> Mapping[str, Measured]:
            return request.kind.measure(policy, ids, self._execution(request))

        listing = until_stopped(request.kind.list(self.client, request.page_size), self.stopped)
        return Recheck(plan_retention(listing, policy, datetime.now(UTC), measure), [])

    def _archive(self, request: PruneRequest, plan: Plan, attempt: Attempt) -> tuple[Archived, list[str]]:
        """Archive what is selected; return what was archived, and the archives of earlier tries."""
        raise_if(self.stopped)
        if request.archive_to is None:
            return Archived(None, plan.selected), []
        destination = Destination.of(request.archive_to, attempt)
        earlier = destination.earlier_archives()
        if not plan.selected:
            return Archived(None, []), earlier
        details = {"policy": json.loads(json.dumps(request.rules, default=str))}
        archived = request.kind.archive(
            plan.selected, destination, self._organization, details, self._execution(request)
        )
        if archived.uri is not None:
            log.info("%d %ss are archived and verified: %s", len(archived.decisions), request.kind.noun, archived.uri)
        return archived, earlier


def _log_plan(noun: str, plan: Plan, settled: int | None, refusal: str | None, *, dry_run: bool) -> None:
    log.info("%s", summary(noun, plan, settled, dry_run=dry_run))
    for rule in plan.unmatched:
        log.warning("No %s matches %s. If the rule is to spare %ss, check its spelling.", noun, one_line(rule), noun)
    if refusal and dry_run:
        log.warning("Without dry_run, a guard would refuse this: %s", refusal)
    if plan.spared:
        log.info("%d %ss are spared:\n%s", len(plan.spared), noun, spared_table(plan.spared))


def _finish(report: Report) -> dict[str, Any]:
    """Log the results, write the report next to the archive, and return it."""
    if report.results:
        log.info("%d %ss were selected:\n%s", len(report.results), report.noun, results_table(report.results))
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
