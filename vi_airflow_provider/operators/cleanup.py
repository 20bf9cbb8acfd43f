"""Base classes of the operators that delete or restore flows and runs."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from airflow.providers.common.compat.sdk import AirflowFailException

from vi_airflow_provider.operators.base import ViBaseOperator
from vi_airflow_provider.selection.combinations import Combination, archive_or_consent, limits_of_flows
from vi_airflow_provider.storage.places import written_folder
from vi_airflow_provider.task import LazyModule, instance_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context

    from vi_airflow_provider.cleanup import prune
    from vi_airflow_provider.cleanup.kind import Kind
else:
    prune = LazyModule("vi_airflow_provider.cleanup.prune")

#: The arguments of every policy.
RULES: Final = (
    "older_than",
    "age_of",
    "name_pattern",
    "training_project",
    "attributes",
    "keep_last",
    "protect_ids",
    "protect_names",
    "protect_attributes",
)
#: All others, except the plan and ``dry_run``.
_LIMITS: Final = (
    "max_delete",
    "max_delete_fraction",
    "protect_unmatched",
    "archive_to",
    "allow_unarchived",
    "concurrency",
    "page_size",
)


class CleanupOperator(ViBaseOperator):
    """Base of the operators that delete or restore: they can be killed, and each try has its own archives.

    Airflow 3 only calls ``on_kill`` when it ends a task, and raises nothing, so the writes check what it leaves here.
    """

    none_in_lists = False
    _killed = False

    def limiting_fields(self) -> Collection[str]:
        """Return all: if a rule, a version or an archive is lost on the way, more is deleted, or for good."""
        return self.template_fields

    def on_kill(self) -> None:
        """Let no further write begin."""
        self._killed = True

    def killed(self) -> bool:
        """Return whether the task is to end."""
        return self._killed

    def attempt(self, context: Context, *labels: str) -> dict[str, Any]:
        """Return the fields of ``cleanup.destination.Attempt``; ``labels`` are further parts of archive names."""
        task_instance = context.get("ti")
        return {
            "instance": instance_of(context) if task_instance else "",
            "is_retry": bool(task_instance and task_instance.try_number > 1),
            "labels": (self.dag_id, self.task_id, *labels),
        }


class PruneBaseOperator(CleanupOperator):
    """Base of the operators that delete what a policy selects: list, plan, guard, archive, read again, delete.

    By default, they delete nothing (``dry_run=True``). They can be retried or cleared at any point: what was deleted is
    in an archive, and what is left is planned again.

    :param older_than: minimum age (timedelta or ISO 8601 duration like ``P90D``)
    :param age_of: what the age counts from, ``"last_updated"`` or ``"time_created"``
    :param name_pattern: only those whose name matches this glob; the name of a run is that of its flow
    :param training_project: only those of this training project
    :param attributes: only those that have these attributes
    :param keep_last: spare this number of the most recent ones: flows per training project, runs per flow
    :param protect_ids: spare those with these ids
    :param protect_names: spare those whose name matches one of these globs, or is one of these texts
    :param protect_attributes: spare those that have one of these attributes with its value
    :param plan: instead of a policy, the report of a dry run, or some of its ``outcomes``: delete exactly these,
        except those that a protection spares
    :param dry_run: plan and report; delete nothing
    :param max_delete: if more are selected, the task fails before the first delete
    :param max_delete_fraction: if a larger fraction of all is selected, the task fails, too
    :param protect_unmatched: what to do about a rule that matches none, ``"warn"`` or ``"fail"`` before the first
        delete
    :param archive_to: URL of a folder; what is selected is written there before the first delete
    :param allow_unarchived: delete without an archive
    :param concurrency: how many are deleted at the same time
    :param page_size: items per request of the listing; the connection's setting by default
    """

    template_fields: Sequence[str] = (
        *CleanupOperator.template_fields,
        *RULES,
        "plan",
        "dry_run_requested",
        "max_delete",
        "max_delete_fraction",
        "protect_unmatched",
        "archive_to",
        "concurrency",
        "page_size",
    )
    ui_color = "#fbe4e4"
    choices: ClassVar = {"age_of": ("last_updated", "time_created"), "protect_unmatched": ("warn", "fail")}
    checks: ClassVar = {"archive_to": written_folder}
    required: ClassVar[Sequence[Collection[str]]] = (("older_than", "keep_last", "plan"),)
    combinations: ClassVar[Sequence[Combination]] = (
        Combination(("older_than", "keep_last", "plan"), limits_of_flows),
        Combination(("dry_run", "archive_to", "allow_unarchived"), archive_or_consent),
    )
    #: The arguments of the policy.
    rules: ClassVar[tuple[str, ...]] = RULES

    def __init__(
        self,
        *,
        older_than: timedelta | str | None = None,
        age_of: Literal["last_updated", "time_created"] = "last_updated",
        name_pattern: str | None = None,
        training_project: str | None = None,
        attributes: Mapping[str, str] | None = None,
        keep_last: int | None = None,
        protect_ids: Sequence[str] | None = None,
        protect_names: Sequence[str] | None = None,
        protect_attributes: Mapping[str, str] | None = None,
        plan: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        dry_run: bool | str = True,
        max_delete: int = 50,
        max_delete_fraction: float = 0.5,
        protect_unmatched: Literal["warn", "fail"] = "warn",
        archive_to: str | None = None,
        allow_unarchived: bool = False,
        concurrency: int = 4,
        page_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.older_than = older_than
        self.age_of = age_of
        self.name_pattern = name_pattern
        self.training_project = training_project
        self.attributes = attributes
        self.keep_last = keep_last
        self.protect_ids = protect_ids
        self.protect_names = protect_names
        self.protect_attributes = protect_attributes
        self.plan = plan
        # Not `dry_run`, which is a method of every operator (`airflow tasks test --dry-run`).
        self.dry_run_requested = dry_run
        self.max_delete = max_delete
        self.max_delete_fraction = max_delete_fraction
        self.protect_unmatched = protect_unmatched
        self.archive_to = archive_to
        self.allow_unarchived = allow_unarchived
        self.concurrency = concurrency
        self.page_size = page_size
        self.refuse_literals()

    def execute(self, context: Context) -> dict[str, Any]:
        """Plan, and unless it is a dry run, guard, archive and delete."""
        with self.session(context) as hook:
            rules = {name: getattr(self, name) for name in self.rules}
            limits = {name: getattr(self, name) for name in _LIMITS}
            request = prune.PruneRequest.build(rules, self.plan, limits, self.dry_run_requested, self._kind())
            cleanup = prune.Cleanup(hook.get_conn(), hook.get_async_conn, self.killed)
            try:
                return cleanup.run(request, prune.Attempt(**self.attempt(context)))
            except prune.GuardError as error:
                raise AirflowFailException(str(error)) from error
            except prune.PruneError as error:
                if task_instance := context.get("ti"):
                    task_instance.xcom_push(key="report", value=error.report)
                raise

    @abstractmethod
    def _kind(self) -> Kind:
        """Return what is deleted."""
