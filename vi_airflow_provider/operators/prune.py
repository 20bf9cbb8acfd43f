"""``PruneFlowsOperator``: delete by policy, with everything that makes it safe to leave alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, Literal

from airflow.providers.common.compat.sdk import AirflowFailException

from vi_airflow_provider.operators.base import ViBaseOperator, archive_prefix, earlier_archives
from vi_airflow_provider.selection.arguments import boolean, optional_count

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context

    from vi_airflow_provider.cleanup.archive import Manifest
    from vi_airflow_provider.cleanup.deletion import Result
    from vi_airflow_provider.cleanup.policy import Decision, Plan
    from vi_airflow_provider.hooks.vi import ViHook

#: Outcomes that the XCom lists at most; ``outcomes_omitted`` counts the others, and the report file has all.
MAX_LISTED: Final = 1000

_RULES: Final = (
    *("older_than", "age_of", "name_pattern", "training_project", "attributes"),
    *("keep_last", "protect_ids", "protect_names", "protect_attributes"),
)


class PruneFlowsOperator(ViBaseOperator):
    """Delete the flows that a policy selects: list, plan, guard, archive, look again, delete.

    It deletes nothing unless it is told to (``dry_run=False``). It can be retried or cleared at any point: what is
    gone is in an archive, and what is left is planned anew.

    :param older_than: age that a flow must have at least (timedelta or ISO 8601 duration like ``P90D``)
    :param age_of: what its age counts from, ``"last_updated"`` or ``"time_created"``
    :param name_pattern: only flows whose name matches this glob
    :param training_project: only flows of this training project
    :param attributes: only flows that have these attributes
    :param keep_last: spare the youngest ones, so many of each training project
    :param protect_ids: spare these flows
    :param protect_names: spare flows whose name matches one of these globs
    :param protect_attributes: spare flows that have one of these attributes with its value
    :param plan: instead of a policy, the report of a dry run, or some of its ``outcomes``: delete exactly these
    :param dry_run: plan and report, and delete nothing
    :param max_delete: more selected flows than this fail the task before the first delete
    :param max_delete_fraction: a larger part of all flows than this does, too
    :param archive_to: URL of a folder; the selected flows are written there before the first delete
    :param allow_unarchived: delete without an archive
    :param concurrency: flows that are deleted at the same time
    :param page_size: flows per request of the listing; the connection's setting by default
    :return: the report: counts by outcome, ``archive``, ``earlier_archives`` (of tries that ended amid their deletes)
        and ``report`` (URLs), and ``outcomes``
    """

    template_fields = (
        *ViBaseOperator.template_fields,
        *_RULES,
        "plan",
        "dry_run_requested",
        "max_delete",
        "max_delete_fraction",
        "archive_to",
        "concurrency",
        "page_size",
    )
    ui_color = "#fbe4e4"

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
        self.archive_to = archive_to
        self.allow_unarchived = allow_unarchived
        self.concurrency = concurrency
        self.page_size = page_size

    def execute(self, context: Context) -> dict[str, Any]:
        """Plan, and unless it is a dry run, guard, archive and delete."""
        from vi_airflow_provider.cleanup.deletion import DeleteOutcome, Result

        with self.session(context) as hook:
            dry_run = boolean("dry_run", self.dry_run_requested)
            self._check(dry_run=dry_run)
            plan, results = self._planned(hook)
            refusal = self._refusal(plan)
            manifest: Manifest | None = None
            earlier: list[str] = []
            if dry_run:
                results += [Result.of(decision, DeleteOutcome.WOULD_DELETE) for decision in plan.selected]
            elif refusal:
                raise AirflowFailException(f"{refusal} Nothing was deleted.")
            else:
                prefix = archive_prefix(context, self.dag_id, self.task_id)
                if self.archive_to:
                    earlier = earlier_archives(context, self.archive_to, prefix)
                if plan.selected:
                    manifest = self._archive(plan.selected, hook, prefix)
                    results += self._delete(plan.selected, hook)
            self._log_table(results)
            report = self._report(plan, results, manifest, earlier, hook)
        report |= {"dry_run": dry_run, "guard": refusal}
        failed = [result for result in results if result.outcome is DeleteOutcome.FAILED]
        if failed:
            if task_instance := context.get("ti"):
                task_instance.xcom_push(key="report", value=report)
            raise self._failure(failed)
        return report

    def _check(self, *, dry_run: bool) -> None:
        from vi_airflow_provider.api.errors import ViValidationError

        if not dry_run and not self.archive_to and self.allow_unarchived is not True:
            raise ViValidationError(
                "archive_to: give a folder for what is deleted, or allow_unarchived=True to keep nothing of it"
            )
        if not optional_count("concurrency", self.concurrency):
            raise ViValidationError(f"concurrency: {self.concurrency!r:.80} is not a whole number of at least 1")
        if optional_count("max_delete", self.max_delete) is None:
            raise ViValidationError("max_delete: None is not a whole number")
        _fraction(self.max_delete_fraction)

    # --- plan --------------------------------------------------------------------------------------------------

    def _planned(self, hook: ViHook) -> tuple[Plan, list[Result]]:
        """Return the plan, and results for the flows of a given plan that are not there as planned any more."""
        if self.plan is not None:
            return self._given_plan(hook)
        from vi_airflow_provider.cleanup.policy import RetentionPolicy, plan_retention

        policy = RetentionPolicy.build(**self._rules())
        flows = hook.list_flows(page_size=optional_count("page_size", self.page_size))
        return plan_retention(flows, policy, datetime.now(UTC)), []

    def _given_plan(self, hook: ViHook) -> tuple[Plan, list[Result]]:
        """Look at each flow of a given plan, and keep those that are as they were."""
        from vi_airflow_provider.api.canonical import canonical_json
        from vi_airflow_provider.cleanup.deletion import DeleteOutcome, Result
        from vi_airflow_provider.cleanup.policy import Plan, read_plan

        planned, kept, results = read_plan(self.plan), [], []
        for decision in planned:
            flow = hook.find_flow(flow_id=decision.flow_id)
            if flow is None:
                results.append(Result.of(decision, DeleteOutcome.ALREADY_ABSENT))
            elif (flow.etag, flow.metadata.last_updated) != (decision.etag, decision.last_updated):
                results.append(Result.of(decision, DeleteOutcome.CHANGED, "it was changed since it was selected"))
            else:
                kept.append(decision._replace(name=flow.spec.name, document=canonical_json(flow.to_wire())))
        return Plan(kept, total=_total(self.plan)), results

    def _rules(self) -> dict[str, Any]:
        rules = {name: getattr(self, name) for name in _RULES}
        return {**rules, "keep_last": optional_count("keep_last", self.keep_last)}

    def _refusal(self, plan: Plan) -> str | None:
        """Return why there is suspiciously much to do, ``None`` if there is not."""
        selected, max_delete = len(plan.selected), optional_count("max_delete", self.max_delete) or 0
        flows = f"{selected} flows are" if plan.total is None else f"{selected} of {plan.total} flows are"
        if selected > max_delete:
            return f"{flows} selected, more than max_delete ({max_delete})."
        fraction = _fraction(self.max_delete_fraction)
        if plan.total is not None and selected > fraction * plan.total:
            return f"{flows} selected, a larger part than max_delete_fraction ({float(fraction):.6g}) allows."
        return None

    # --- archive and delete ------------------------------------------------------------------------------------

    def _archive(self, selected: Sequence[Decision], hook: ViHook, prefix: str) -> Manifest | None:
        if not self.archive_to:
            return None
        from vi_airflow_provider.cleanup.archive import unique_name, write_archive

        policy = {"plan": True} if self.plan is not None else self._rules()
        manifest = write_archive(
            self.archive_to,
            unique_name(prefix),
            {decision.flow_id: decision.document for decision in selected},
            hook.settings.organization_id,
            {"policy": json.loads(json.dumps(policy, default=str))},
        )
        self.log.info("%d flows are archived, and verified: %s", manifest.count, manifest.uri)
        return manifest

    def _delete(self, selected: Sequence[Decision], hook: ViHook) -> list[Result]:
        import asyncio

        from vi_airflow_provider.cleanup.deletion import delete_unchanged

        async def delete() -> list[Result]:
            # The connection was read already, so this does not wait for Airflow.
            async with await hook.get_async_conn() as client:
                return await delete_unchanged(client, selected, optional_count("concurrency", self.concurrency) or 1)

        return asyncio.run(delete())

    # --- report ------------------------------------------------------------------------------------------------

    def _report(
        self,
        plan: Plan,
        results: Sequence[Result],
        manifest: Manifest | None,
        earlier: Sequence[str],
        hook: ViHook,
    ) -> dict[str, Any]:
        counts = Counter(result.outcome.value for result in results)
        names = ("deleted", "changed", "busy", "already_absent", "failed")
        report: dict[str, Any] = {
            "organization_id": hook.settings.organization_id,
            "total": plan.total,
            "selected": len(results),
            **{name: counts[name] for name in names},
            "spared": len(plan.spared),
            "archive": manifest and manifest.uri,
            "earlier_archives": list(earlier),
            "report": None,
        }
        outcomes = [result.as_json() for result in results]
        if manifest is not None:
            from airflow.providers.common.compat.sdk import ObjectStoragePath

            from vi_airflow_provider.cleanup.archive import SUFFIX
            from vi_airflow_provider.storage.files import write_atomically

            path = ObjectStoragePath(manifest.uri.removesuffix(SUFFIX) + ".report.json")
            content = json.dumps({**report, "report": str(path), "outcomes": outcomes}, indent=2).encode()
            try:
                write_atomically(path, content)
            except Exception as error:  # whatever the file system or its driver raises
                # What was done is done, and the log and the XCom have the report: another try would add nothing.
                self.log.warning("The report cannot be written to %s: %s: %s", path, type(error).__name__, error)
            else:
                report["report"] = str(path)
        return report | {"outcomes": outcomes[:MAX_LISTED], "outcomes_omitted": max(0, len(outcomes) - MAX_LISTED)}

    def _log_table(self, results: Sequence[Result]) -> None:
        from vi_airflow_provider.api.errors import one_line
        from vi_airflow_provider.api.models import format_time

        lines = [
            f"{result.outcome.value:<14} {format_time(result.last_updated):<23} {one_line(result.flow_id)}  "
            f"{one_line(result.name, 60)}  ({one_line(result.reason)})"
            for result in results[:MAX_LISTED]
        ]
        self.log.info("%d flows were selected:\n%s", len(results), "\n".join(lines))

    def _failure(self, failed: Sequence[Result]) -> Exception:
        from vi_airflow_provider.api.errors import one_line
        from vi_airflow_provider.cleanup.deletion import PruneError

        shown = "; ".join(one_line(f"{result.flow_id}: {result.reason}") for result in failed[:5])
        more = f"; and {len(failed) - 5} more" if len(failed) > 5 else ""
        return PruneError(f"{len(failed)} flows could not be deleted: {shown}{more}")


def _total(plan: Any) -> int | None:
    """Return how many flows there were when a plan was made, which is in the report, and not in its outcomes."""
    total = plan.get("total") if isinstance(plan, Mapping) else None
    return total if isinstance(total, int) else None


def _fraction(value: Any) -> Fraction:
    """Return a share exactly as it was written: as floats, 29 would be more than 0.29 of 100."""
    from vi_airflow_provider.api.errors import ViValidationError

    try:
        fraction = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        fraction = Fraction(-1)
    if not 0 <= fraction <= 1:
        raise ViValidationError(f"max_delete_fraction: {value!r:.80} is not a number from 0 to 1")
    return fraction
