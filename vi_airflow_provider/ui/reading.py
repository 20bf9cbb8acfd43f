"""Reads through an Airflow connection for the web server: within bounds, and each listing once at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar

from starlette.concurrency import run_in_threadpool

from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.models import Flow, Run
from vi_airflow_provider.api.settings import ViSettings
from vi_airflow_provider.api.transport.loop_thread import never
from vi_airflow_provider.cleanup.policy import Measured
from vi_airflow_provider.cleanup.prune import PruneRequest
from vi_airflow_provider.cleanup.run_kind import measured_runs
from vi_airflow_provider.cleanup.run_policy import RunRetentionPolicy
from vi_airflow_provider.hooks.vi import ViHook
from vi_airflow_provider.ui import documents, planning
from vi_airflow_provider.ui.cache import LOAD_SECONDS, Listings, Progress

T = TypeVar("T")

#: Flows, and runs, that a listing has at most.
MAX_FLOWS: Final = 20_000
MAX_RUNS: Final = 1_000
MAX_OUTPUTS: Final = 2_000
#: Runs that a preview considers, and of how many it reads the metrics, this number at a time.
MAX_PLANNED_RUNS: Final = 20_000
MAX_MEASURED: Final = 1_000
#: Comparisons of a rule with a flow or a run that a preview makes: some seconds of CPU time.
MAX_COMPARISONS: Final = 4_000_000
#: Plans that a process makes at a time; further ones wait.
MAX_PLANS: Final = 2
_CONCURRENCY: Final = 8
_ADVICE: Final = {
    "flows": "run PruneFlowsOperator with dry_run=True instead",
    "runs": "run PruneRunsOperator with dry_run=True instead",
}


@dataclass(frozen=True)
class Listing:
    """All flows or runs of an organization, and of flows their JSON, compressed."""

    organization_id: str
    items: Sequence[Flow] | Sequence[Run]
    is_complete: bool
    body: bytes = b""


class Reader:
    """Returns compressed JSON and its age in seconds; results are kept for a while.

    :param listings: where they are kept
    """

    def __init__(self, listings: Listings) -> None:
        self._listings = listings
        # Not the threads that Airflow's own routes share: a plan may take seconds.
        self._planners = ThreadPoolExecutor(MAX_PLANS, "vi-plan")

    async def flows(self, connection_id: str, *, refresh: bool) -> tuple[bytes, float]:
        """Return the flows of a connection's organization."""
        listing, age = await self._flows(connection_id, refresh=refresh)
        return listing.body, age

    async def flow(self, connection_id: str, flow_id: str) -> tuple[bytes, float]:
        """Return one flow with its spec, as it is now."""
        async with asyncio.timeout(LOAD_SECONDS), await _client(connection_id) as client:
            flow = await client.get_flow(flow_id)
        return await run_in_threadpool(documents.flow_document, flow, client.settings), 0.0

    def flows_read(self, connection_id: str) -> int | None:
        """Return how many flows the listing in flight has read, ``None`` without one."""
        return self._listings.progress(("flows", connection_id))

    async def plan(
        self, connection_id: str, policy: Mapping[str, Any], *, subjects: str = "flows", refresh: bool
    ) -> tuple[bytes, float]:
        """Return what a cleanup with this policy would do.

        :param subjects: what is cleaned up, ``"flows"`` or ``"runs"``
        :raises ViValidationError: the policy is unusable, or there is more than a preview can consider
        :raises TimeoutError: reading and planning took too long
        """
        now, expires = datetime.now(UTC), time.monotonic() + LOAD_SECONDS
        async with asyncio.timeout(LOAD_SECONDS):
            request = await self._in_planner(planning.request_of, policy, subjects)
            read = self._flows if subjects == "flows" else self._all_runs
            found, age = await read(connection_id, refresh=refresh)
            _refuse_too_many(found, request, subjects)
            measured = await self._metrics(connection_id, found.items, request, now, expires)
            document = partial(planning.plan_document, measure=lambda _: measured)
            items = planning.until(expires, found.items)
            return await self._in_planner(document, items, request, found.organization_id, now), age

    async def runs(self, connection_id: str, *, refresh: bool) -> tuple[bytes, float]:
        """Return the newest runs of a connection's organization."""

        async def load(progress: Progress) -> bytes:
            async with await _client(connection_id) as client:
                runs = await _collected(client.list_runs(limit=MAX_RUNS), progress)
            now_ms = time.time() * 1000
            facts = _facts(client.settings, complete=len(runs) < MAX_RUNS)
            return await _encoded("runs", runs, lambda run: documents.run_row(run, client.settings, now_ms), facts)

        return await self._listings.get(("runs", connection_id), load, refresh=refresh)

    async def outputs(self, connection_id: str, run_id: str, *, refresh: bool) -> tuple[bytes, float]:
        """Return the checkpoints of a run."""

        async def load(progress: Progress) -> bytes:
            async with await _client(connection_id) as client:
                outputs = await _collected(client.list_run_outputs(run_id, limit=MAX_OUTPUTS), progress)
            facts = _facts(client.settings, complete=len(outputs) < MAX_OUTPUTS)
            return await _encoded("outputs", outputs, documents.output_row, facts)

        return await self._listings.get(("outputs", connection_id, run_id), load, refresh=refresh)

    async def close(self) -> None:
        """Cancel what is in flight, with its HTTP sessions."""
        self._planners.shutdown(wait=False, cancel_futures=True)
        await self._listings.close()

    async def _in_planner(self, work: Callable[..., T], *arguments: Any) -> T:
        # One that waits for its turn is dropped when its caller gives up; one that runs checks when it expires.
        return await asyncio.get_running_loop().run_in_executor(self._planners, work, *arguments)

    async def _flows(self, connection_id: str, *, refresh: bool) -> tuple[Listing, float]:
        async def load(progress: Progress) -> Listing:
            async with await _client(connection_id) as client:
                flows = await _collected(client.list_flows(limit=MAX_FLOWS), progress)
            settings, complete = client.settings, len(flows) < MAX_FLOWS
            facts = _facts(settings, complete=complete)
            body = await _encoded("flows", flows, lambda flow: documents.flow_row(flow, settings), facts)
            return Listing(settings.organization_id, flows, complete, body)

        return await self._listings.get(("flows", connection_id), load, refresh=refresh)

    async def _all_runs(self, connection_id: str, *, refresh: bool) -> tuple[Listing, float]:
        async def load(progress: Progress) -> Listing:
            async with await _client(connection_id) as client:
                runs = await _collected(client.list_runs(limit=MAX_PLANNED_RUNS), progress)
            return Listing(client.settings.organization_id, runs, len(runs) < MAX_PLANNED_RUNS)

        return await self._listings.get(("all runs", connection_id), load, refresh=refresh)

    async def _metrics(
        self,
        connection_id: str,
        items: Sequence[Flow] | Sequence[Run],
        request: PruneRequest,
        now: datetime,
        expires: float,
    ) -> Mapping[str, Measured]:
        """Return the metrics on which the plan depends."""
        metric = request.source.best_metric if isinstance(request.source, RunRetentionPolicy) else None
        if metric is None:
            return {}
        ids = await self._in_planner(planning.runs_to_measure, planning.until(expires, items), request, now)
        if not ids:
            return {}
        if len(ids) > MAX_MEASURED:
            advice = f"a preview reads up to {MAX_MEASURED:,}; {_ADVICE['runs']}"
            raise ViValidationError(f"keep_best: the metrics of {len(ids):,} runs decide, and {advice}")
        async with await _client(connection_id) as client:
            return await measured_runs(client, ids, metric, _CONCURRENCY, never)


def _refuse_too_many(found: Listing, request: PruneRequest, subjects: str) -> None:
    """Refuse a listing that is incomplete, or too long for the rules of a policy."""
    if not found.is_complete:
        raise ViValidationError(f"there are {len(found.items):,} {subjects} or more; {_ADVICE[subjects]}")
    rules = planning.count_rules(request)
    if rules * len(found.items) > MAX_COMPARISONS:
        most = f"a preview makes up to {MAX_COMPARISONS:,} comparisons"
        raise ViValidationError(
            f"the policy has {rules:,} rules for {len(found.items):,} {subjects}, and {most}; {_ADVICE[subjects]}"
        )


async def _client(connection_id: str) -> AsyncViClient:
    # A person is waiting, and has a button to try again: no retries.
    return await ViHook(connection_id, retry=False).get_async_conn()


async def _collected(items: AsyncIterable[T], progress: Progress) -> list[T]:
    collected = []
    async for item in items:
        collected.append(item)
        progress.read += 1
    return collected


def _facts(settings: ViSettings, *, complete: bool) -> dict[str, Any]:
    return {
        "organization_id": settings.organization_id,
        "organization_url": settings.ui_url(),
        "complete": complete,
        "read_at": round(time.time() * 1000),
    }


async def _encoded(name: str, items: list[T], document: Callable[[T], dict[str, Any]], facts: dict[str, Any]) -> bytes:
    return await run_in_threadpool(lambda: documents.listing(name, map(document, items), facts))
