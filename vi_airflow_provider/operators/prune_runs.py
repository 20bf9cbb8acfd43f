"""``PruneRunsOperator`` and ``KillOverdueRunsOperator``: the unattended cleanup of training runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow.providers.common.compat.sdk import AirflowFailException

from vi_airflow_provider.operators.cleanup import RULES, CleanupOperator, PruneBaseOperator
from vi_airflow_provider.selection.collection_arguments import EndedStates, check_of
from vi_airflow_provider.selection.combinations import Combination, both_or_neither, limits_of_runs
from vi_airflow_provider.task import LazyModule

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context

    from vi_airflow_provider.api.models import Run, RunOutput
    from vi_airflow_provider.cleanup import run_kind
    from vi_airflow_provider.cleanup.kind import Kind
    from vi_airflow_provider.training import summary
else:
    run_kind = LazyModule("vi_airflow_provider.cleanup.run_kind")
    summary = LazyModule("vi_airflow_provider.training.summary")

_PLACES: Final = ("keep_last", "keep_succeeded", "keep_best")
_OWN_RULES: Final = ("states", "keep_best", "best_metric", "keep_succeeded")


class PruneRunsOperator(PruneBaseOperator):
    """Delete the ended runs that a policy selects: list, plan, guard, archive, read again, delete.

    By default, it deletes nothing (``dry_run=True``). A run that has not ended is never deleted. Before a run is
    deleted with its logs, metrics and checkpoints, its summary, conditions, metrics and log are archived; the
    checkpoints themselves are not, and a deleted run cannot be restored. It can be retried or cleared at any point.

    The other arguments are those of :class:`~vi_airflow_provider.operators.cleanup.PruneBaseOperator`. ``keep_last``
    spares the most recent runs of each flow: the runs with the same stamp ``vi_airflow.flow_id``, or without one, with
    the same name of their flow.

    :param states: only runs that have ended in one of these states
    :param keep_best: spare this number of the best runs, per flow
    :param best_metric: name of a metric and ``"max"`` or ``"min"``: by it, the best runs are found
    :param keep_succeeded: spare this number of the most recent runs that succeeded, per flow
    :return: the report, as of ``PruneFlowsOperator``, with ``run_id`` and ``spared_runs``
    """

    template_fields = (*PruneBaseOperator.template_fields, *_OWN_RULES)
    rules = (*RULES, *_OWN_RULES)
    checks: ClassVar = {**PruneBaseOperator.checks, "states": check_of(EndedStates)}
    required: ClassVar = (("older_than", *_PLACES, "plan"),)
    combinations: ClassVar = (
        Combination(("older_than", *_PLACES, "plan"), limits_of_runs),
        Combination(("keep_best", "best_metric"), both_or_neither),
        *PruneBaseOperator.combinations[1:],
    )

    def __init__(
        self,
        *,
        states: Sequence[str] | str = ("succeeded", "failed", "killed"),
        keep_best: int | None = None,
        best_metric: Sequence[str] | None = None,
        keep_succeeded: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.states = states
        self.keep_best = keep_best
        self.best_metric = best_metric
        self.keep_succeeded = keep_succeeded
        self.refuse_literals()

    def _kind(self) -> Kind:
        def summarize(run: Run, outputs: Sequence[RunOutput]) -> dict[str, Any]:
            return summary.describe(run, outputs, self.best_metric, self.hook.settings.run_url(run))

        return run_kind.RunKind(summarize)


class KillOverdueRunsOperator(CleanupOperator):
    """Kill the active runs whose lease has expired: their task has died or was removed, and they still cost credits.

    ``StartRunOperator`` stamps a lease on each run that it starts with limits: ``timeout``, or ``max_queue_time`` and
    ``max_duration``. A run without a lease, or of another namespace, is never touched. By default, nothing is killed
    (``dry_run=True``). Each run is read again right before each attempt to kill it, so the task can be retried.

    :param grace: time after the lease in which the task of the run may still act (seconds, timedelta or ISO 8601
        duration); ``0`` is allowed
    :param namespace: only runs of this namespace; by default, the one of the connection
    :param dry_run: report; kill nothing
    :param max_kill: if more runs are overdue, the task fails before the first kill
    :param page_size: runs per request of the listing; the connection's setting by default
    :return: the report: the number of ``active`` runs, counts by outcome, and ``outcomes``
    """

    template_fields = (
        *CleanupOperator.template_fields,
        *("grace", "namespace", "dry_run_requested", "max_kill", "page_size"),
    )
    ui_color = "#fbe4e4"

    def __init__(
        self,
        *,
        grace: timedelta | float | str = 900,
        namespace: str | None = None,
        dry_run: bool | str = True,
        max_kill: int = 50,
        page_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.grace = grace
        self.namespace = namespace
        # Not `dry_run`, which is a method of every operator.
        self.dry_run_requested = dry_run
        self.max_kill = max_kill
        self.page_size = page_size
        self.refuse_literals()

    def execute(self, context: Context) -> dict[str, Any]:
        """Find the overdue runs, and unless it is a dry run, kill them."""
        from vi_airflow_provider.training import overdue

        with self.session(context) as hook:
            namespace = hook.settings.namespace if self.namespace is None else self.namespace
            limits = {"grace": self.grace, "max_kill": self.max_kill, "page_size": self.page_size}
            request = overdue.KillRequest.build(namespace, **limits, dry_run=self.dry_run_requested)
            try:
                return overdue.Reaper(hook.get_conn(), self.killed).run(request)
            except overdue.KillGuardError as error:
                raise AirflowFailException(str(error)) from error
            except overdue.OverdueError as error:
                context["ti"].xcom_push(key="report", value=error.report)
                raise
