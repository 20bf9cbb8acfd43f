"""Runs as something to clean up: their calls, their metrics, and their records for the archive."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from vi_airflow_provider.api.errors import (
    ViAuthenticationError,
    ViError,
    ViNotFoundError,
    ViPermissionError,
    one_line,
)
from vi_airflow_provider.api.models import Run
from vi_airflow_provider.api.transport.concurrency import map_concurrently
from vi_airflow_provider.api.transport.loop_thread import raise_if, run_in_thread
from vi_airflow_provider.cleanup import archive
from vi_airflow_provider.cleanup.kind import Archived, Execution, Found, Kind
from vi_airflow_provider.cleanup.outcome import DeleteOutcome, DeleteResult, may_be_deleted
from vi_airflow_provider.cleanup.policy import Decision, Measured, RetentionPolicy
from vi_airflow_provider.cleanup.run_policy import RunRetentionPolicy
from vi_airflow_provider.cleanup.run_record import Summarize, read_record
from vi_airflow_provider.cleanup.spool import DocumentSpool
from vi_airflow_provider.selection.best_metric import BestMetric, best

if TYPE_CHECKING:
    from vi_airflow_provider.api.async_client import AsyncViClient
    from vi_airflow_provider.api.client import ViClient
    from vi_airflow_provider.api.models import RunOutput
    from vi_airflow_provider.cleanup.destination import Destination
    from vi_airflow_provider.cleanup.subject import Subject

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class RunKind(Kind):
    """Runs.

    :param summarize: makes the summary of a run for its record
    """

    summarize: Summarize

    noun = "run"
    policy = RunRetentionPolicy

    def list(self, client: ViClient, page_size: int | None) -> Iterator[Subject]:
        """Yield all runs."""
        return client.list_runs(page_size=page_size)

    def find(self, client: ViClient, document_id: str) -> Subject | None:
        """Return a run."""
        try:
            return client.get_run(document_id)
        except ViNotFoundError:
            return None

    async def delete_if(self, client: AsyncViClient, document_id: str, matches: Callable[[Any], bool]) -> Found:
        """Delete a run while it matches."""
        return await client.delete_run_if(document_id, matches)

    def archive(
        self, decisions: Sequence[Decision], destination: Destination, organization_id: str, details: Mapping[str, Any],
        execution: Execution,
    ) -> Archived:  # fmt: skip
        """Archive the records of the runs. A run whose record cannot be read is left alone; the others are archived."""
        with DocumentSpool() as records:

            async def read(client: AsyncViClient, decision: Decision) -> DeleteResult | None:
                return await self._spool_record(client, decision, records)

            settled = [result for result in _each(decisions, read, execution) if result is not None]
            if not records:
                return Archived(None, [], settled)
            uri = destination.write(records, organization_id, details, archive.RUNS)
            return Archived(uri, [d for d in decisions if d.document_id in records], settled)

    def measure(self, policy: RetentionPolicy, ids: Collection[str], execution: Execution) -> Mapping[str, Measured]:
        """Return the best value of the metric that each run has reached. One that does not exist any more has none."""
        metric = policy.best_metric if isinstance(policy, RunRetentionPolicy) else None
        if metric is None:
            return super().measure(policy, ids, execution)

        async def read() -> Mapping[str, Measured]:
            async with await execution.connect() as client:
                return await measured_runs(client, ids, metric, execution.concurrency, execution.stopped)

        log.info("The metric %s of %d runs is read.", one_line(metric.name), len(ids))
        return run_in_thread(read, execution.stopped)

    async def _spool_record(
        self, client: AsyncViClient, decision: Decision, records: DocumentSpool
    ) -> DeleteResult | None:
        """Read the record of a run; return why it must be left alone, if it must."""
        try:
            run = await _current(client, decision.document_id)
            if run is None:
                return DeleteResult.of(decision, DeleteOutcome.ALREADY_ABSENT)
            if not may_be_deleted(decision, run):
                return DeleteResult.of(decision, DeleteOutcome.CHANGED)
            records.add(run.run_id, await read_record(client, run, self.summarize))
        except (ViAuthenticationError, ViPermissionError):
            raise
        except ViError as error:
            reason = f"it could not be archived: {type(error).__name__}: {error}"
            return DeleteResult.of(decision, DeleteOutcome.FAILED, reason)
        return None


async def _current(client: AsyncViClient, run_id: str) -> Run | None:
    try:
        return await client.get_run(run_id)
    except ViNotFoundError:
        return None


def _each(items: Sequence[T], act: Callable[[AsyncViClient, T], Awaitable[R]], execution: Execution) -> list[R]:
    """Act on each item, several at a time, until the task is killed."""

    async def act_on_all() -> list[R]:
        async with await execution.connect() as client:

            async def act_on(item: T) -> R:
                raise_if(execution.stopped)
                return await act(client, item)

            return await map_concurrently(items, act_on, execution.concurrency)

    return run_in_thread(act_on_all, execution.stopped)


async def measured_runs(
    client: AsyncViClient, ids: Collection[str], metric: BestMetric, concurrency: int, stopped: Callable[[], bool]
) -> Mapping[str, Measured]:
    """Return the best value of a metric that each run has reached."""

    async def read(run_id: str) -> Measured:
        raise_if(stopped)
        return await _measured(client, run_id, metric)

    ordered = list(ids)
    return dict(zip(ordered, await map_concurrently(ordered, read, concurrency), strict=True))


async def _measured(client: AsyncViClient, run_id: str, metric: BestMetric) -> Measured:
    try:
        output = best(await _outputs(client, run_id), metric)
    except (ViAuthenticationError, ViPermissionError):
        raise
    except ViError as error:
        log.warning("The metrics of run %s cannot be read, so the runs of its flow are spared: %s", run_id, error)
        return Measured(None, readable=False)
    return Measured(None if output is None else output.metrics[metric.name])


async def _outputs(client: AsyncViClient, run_id: str) -> list[RunOutput]:
    """Return the checkpoints of a run; none if it does not exist any more."""
    try:
        return [output async for output in client.list_run_outputs(run_id)]
    except ViNotFoundError:
        if await _current(client, run_id) is not None:
            raise  # there is a run, so this 404 does not mean that it has no metrics
        return []
