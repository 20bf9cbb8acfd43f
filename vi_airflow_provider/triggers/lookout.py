"""One lookout for many gates: the requests that all waiting triggers of a connection share.

A triggerer runs thousands of triggers in one event loop. Those of one connection share an HTTP session, and they
share answers: gates that ask about the same flow at about the same time cause one request, and where reading the
listing once is cheaper than asking for each flow, the listing answers them all.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakKeyDictionary

from vi_airflow_provider.api.errors import ViAuthenticationError, ViError
from vi_airflow_provider.api.models import last_update
from vi_airflow_provider.hooks.vi import ViHook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from vi_airflow_provider.api.async_client import AsyncViClient
    from vi_airflow_provider.api.models import Flow
    from vi_airflow_provider.conditions import Target

#: Part of the poke interval, and seconds at most, over which triggers spread their looks. Within it they share an
#: answer, and a thousand of them do not all wake up in the same turn of the event loop.
SPREAD: Final = 0.1
MAX_SPREAD: Final = 1.0
#: Seconds between two looks, whatever a user says: the event loop belongs to everybody.
MIN_INTERVAL: Final = 0.1
#: Up to so many flows are asked for one by one before a listing is considered.
FEW: Final = 4


class _Answer(NamedTuple):
    """What was found about a target, and when (seconds of the loop's clock)."""

    asked_at: float
    flow: Flow | None
    error: ViError | None = None


class Lookout:
    """Looks for flows on behalf of the gates that wait on one connection, in one event loop."""

    def __init__(self, vi_conn_id: str) -> None:
        self._vi_conn_id = vi_conn_id
        self._client: AsyncViClient | None = None
        self._opening = asyncio.Lock()
        self._wanted: Counter[Target] = Counter()
        self._answers: dict[Target, _Answer] = {}
        self._jobs: dict[Target, asyncio.Task[None]] = {}
        #: Pages that a listing has, as far as is known.
        self._pages = 1

    @asynccontextmanager
    async def watching(self, target: Target) -> AsyncIterator[None]:
        """Announce an interest, so that a listing answers it along with others."""
        self._wanted[target] += 1
        try:
            yield
        finally:
            self._wanted[target] -= 1
            if not self._wanted[target]:
                del self._wanted[target]
                self._answers.pop(target, None)

    async def look(self, target: Target, max_age: float = 0.0) -> Flow | None:
        """Return the flow, ``None`` where there is none.

        :param target: the flow to look for; it must be watched
        :param max_age: seconds that an answer to somebody else may be old
        :raises ViError: the answer could not be had; nothing is retried here
        """
        now = asyncio.get_running_loop().time()
        answer = self._answers.get(target)
        if answer is None or now - answer.asked_at > max_age:
            job = self._jobs.get(target) or self._start(target)
            await asyncio.shield(job)  # it belongs to all who wait for it, not to the one who is cancelled
            answer = self._answers[target]
        if answer.error is not None:
            raise answer.error
        return answer.flow

    async def look_closely(self, target: Target) -> Flow | None:
        """Look for one flow by itself. A listing that changes while it is read may miss a flow; this does not."""
        client = await self._opened()
        return await client.find_flow(
            flow_id=target.flow_id, name=target.flow_name, training_project=target.training_project
        )

    async def get(self, flow_id: str) -> Flow | None:
        """Return a flow as it is now, ``None`` where there is none."""
        client = await self._opened()
        return await client.find_flow(flow_id=flow_id)

    async def list(self) -> list[Flow]:
        """Return all flows as they are now."""
        client = await self._opened()
        return [flow async for flow in client.list_flows()]

    async def close(self) -> None:
        """End what is under way, and close the session."""
        jobs = set(self._jobs.values())
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    def _start(self, target: Target) -> asyncio.Task[None]:
        """Begin to look for a target, and for all others if the listing is to be read for it."""
        listing = self._listing_is_cheaper()
        targets = frozenset(self._wanted) if listing else frozenset({target})
        job = asyncio.create_task(self._find(targets, listing=listing), name=f"vi-lookout-{self._vi_conn_id}")
        for each in targets:
            self._jobs.setdefault(each, job)
        job.add_done_callback(self._forget)
        return job

    def _forget(self, job: asyncio.Task[None]) -> None:
        self._jobs = {target: other for target, other in self._jobs.items() if other is not job}

    def _listing_is_cheaper(self) -> bool:
        # Looking for a name takes the listing anyway.
        by_name = any(target.flow_id is None for target in self._wanted)
        return by_name or len(self._wanted) > max(FEW, self._pages)

    async def _find(self, targets: frozenset[Target], *, listing: bool) -> None:
        asked_at = asyncio.get_running_loop().time()
        found: dict[Target, Flow | None] = {}
        error: ViError | None = None
        try:
            try:
                found = await self._ask(targets, listing=listing)
            except ViAuthenticationError:
                # The key may have been rotated while the gates were waiting.
                if not await self._renewed():
                    raise
                found = await self._ask(targets, listing=listing)
        except ViError as refusal:
            error = refusal
        for target in targets:
            if target in self._wanted:
                self._answers[target] = _Answer(asked_at, found.get(target), error)

    async def _ask(self, targets: Collection[Target], *, listing: bool) -> dict[Target, Flow | None]:
        if not listing:
            (target,) = targets
            return {target: await self.look_closely(target)}
        client = await self._opened()
        flow_ids = {target.flow_id for target in targets if target.flow_id is not None}
        names = {target.flow_name for target in targets if target.flow_name is not None}
        # Without a name to look for, reading more pages than there are flows to ask for would be a loss.
        scan = await client.scan_flows(flow_ids, names, None if names else len(flow_ids))
        self._pages = scan.pages if scan.complete else 2 * scan.pages
        if not scan.complete:
            # The connection limit of the client keeps these within bounds.
            flows = await asyncio.gather(*(self.look_closely(target) for target in targets))
            return dict(zip(targets, flows, strict=True))
        by_key: dict[str, list[Flow]] = {}
        for flow in scan.flows:
            by_key.setdefault(f"id:{flow.flow_id}", []).append(flow)
            by_key.setdefault(f"name:{flow.spec.name}", []).append(flow)
        return {target: _best(by_key, target) for target in targets}

    async def _opened(self) -> AsyncViClient:
        if self._client is None:
            async with self._opening:
                if self._client is None:
                    self._client = await ViHook(self._vi_conn_id, retry=False).get_async_conn()
        return self._client

    async def _renewed(self) -> bool:
        """Read the connection again; False if it says what it said before."""
        client = await ViHook(self._vi_conn_id, retry=False).get_async_conn()
        old, self._client = self._client, client
        if old is None:
            return True
        await old.close()
        return old.settings != client.settings


def _best(by_key: dict[str, list[Flow]], target: Target) -> Flow | None:
    key = f"name:{target.flow_name}" if target.flow_id is None else f"id:{target.flow_id}"
    flows = by_key.get(key, [])
    project = target.training_project
    return max((f for f in flows if project in (None, f.spec.training_project)), key=last_update, default=None)


#: The lookouts of each event loop by connection id, with the number of triggers that share each.
_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, tuple[Lookout, int]]] = WeakKeyDictionary()


@asynccontextmanager
async def shared_lookout(vi_conn_id: str) -> AsyncIterator[Lookout]:
    """Lend the lookout of a connection in this event loop; the last one to leave closes it."""
    lookouts = _shared.setdefault(asyncio.get_running_loop(), {})
    lookout, users = lookouts.get(vi_conn_id, (None, 0))
    lookout = lookout or Lookout(vi_conn_id)
    lookouts[vi_conn_id] = (lookout, users + 1)
    try:
        yield lookout
    finally:
        _, users = lookouts[vi_conn_id]
        if users > 1:
            lookouts[vi_conn_id] = (lookout, users - 1)
        else:
            del lookouts[vi_conn_id]
            await lookout.close()
