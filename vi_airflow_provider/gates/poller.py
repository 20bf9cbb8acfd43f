"""One lookout for many gates: the requests that all waiting triggers of a connection share.

A triggerer runs thousands of triggers in one event loop. Those of one connection share an HTTP session, and they
share answers: gates that ask about the same flow at about the same time cause one request, and where reading the
listing once is cheaper than asking for each flow, the listing answers them all.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar

from vi_airflow_provider.api.errors import (
    ViAuthenticationError,
    ViConfigurationError,
    ViError,
    ViNetworkError,
    ViRateLimitError,
    ViServerError,
    ViTimeoutError,
)
from vi_airflow_provider.api.models import last_update
from vi_airflow_provider.gates.timers import Crowd

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection

    from vi_airflow_provider.api.async_client import AsyncViClient
    from vi_airflow_provider.api.models import Flow
    from vi_airflow_provider.gates.condition import Target

#: Part of the poke interval, and seconds at most, over which triggers spread their looks. Within it they share an
#: answer, and a thousand of them do not all wake up in the same turn of the event loop.
SPREAD: Final = 0.1
MAX_SPREAD: Final = 1.0
#: Seconds between two looks, whatever a user says: the event loop belongs to everybody.
MIN_INTERVAL: Final = 0.1
#: Up to so many flows are asked for one by one before a listing is considered.
FEW: Final = 4
#: So many flows are asked for in the time of a page: the client has as many connections, and a page waits for the one
#: before it.
PER_PAGE: Final = 16


#: What these say of the listing they say of everything. Any other error may be about one document in it, or about the
#: listing alone, so it is no answer to those who ask for another flow.
_SAME_FOR_ALL: Final = (
    ViAuthenticationError,
    ViConfigurationError,
    ViNetworkError,
    ViRateLimitError,
    ViServerError,
    ViTimeoutError,
)

#: Answers that are noted in one turn of the event loop: about a millisecond's work.
TURN: Final = 50

T = TypeVar("T")


#: Says what was found about a target.
_Found: TypeAlias = "Callable[[Target], Flow | ViError | None]"


class _Answer(NamedTuple):
    """What was found about a target, or why that is not known."""

    #: In seconds of the loop's clock.
    asked_at: float
    found: Flow | ViError | None
    #: From the listing, which may miss a flow if it changes while it is read.
    listed: bool


class _Job(NamedTuple):
    """Requests under way, and the looks that wait for what they bring."""

    task: asyncio.Task[None]
    crowd: Crowd

    async def result(self) -> None:
        """Wait for it. It belongs to all who do, not to the one who is cancelled."""
        await self.crowd.join()
        self.task.result()


class SharedPoller:
    """Looks for flows on behalf of the gates that wait on one connection, in one event loop."""

    def __init__(self, connect: Callable[[], Awaitable[AsyncViClient]]) -> None:
        self._connect = connect
        #: Clients opened so far; the last one is in use, others may have calls under way.
        self._clients: list[AsyncViClient] = []
        self._opening = asyncio.Lock()
        self._wanted: Counter[Target] = Counter()
        self._answers: dict[Target, _Answer] = {}
        self._jobs: dict[Target, _Job] = {}
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

    async def look(self, target: Target, max_age: float = 0.0, *, certain: bool = False) -> Flow | None:
        """Return the flow, ``None`` where there is none.

        :param target: the flow to look for; it must be watched
        :param max_age: seconds that an answer to somebody else may be old
        :param certain: do not take it from a listing that there is none
        :raises ViError: the answer could not be had; nothing is retried here
        """
        now = asyncio.get_running_loop().time()
        answer = self._answers.get(target)
        if answer is not None and now - answer.asked_at > max_age:
            answer = None
        while answer is None:
            job = self._jobs.get(target) or self._start(target)
            await job.result()
            answer = self._answers.get(target)  # none, if nobody watched it when the answers came
        if isinstance(answer.found, ViError):
            raise answer.found.with_traceback(None)  # of the one who raised it before
        if answer.found is None and answer.listed and certain:
            return await self._ask(target)
        return answer.found

    async def get(self, flow_id: str) -> Flow | None:
        """Return a flow as it is now, ``None`` where there is none."""
        return await self._call(lambda client: client.find_flow(flow_id=flow_id))

    async def list(self) -> list[Flow]:
        """Return all flows as they are now."""

        async def read(client: AsyncViClient) -> list[Flow]:
            return [flow async for flow in client.list_flows()]

        return await self._call(read)

    async def close(self) -> None:
        """End what is under way, and close the session."""
        tasks = {job.task for job in self._jobs.values()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in self._clients:
            await client.close()

    def _start(self, target: Target) -> _Job:
        """Begin to look for a target, and for all others if the listing is to be read for it."""
        listing = self._listing_is_cheaper()
        targets = frozenset(self._wanted) if listing else frozenset({target})
        work = asyncio.create_task(self._find(targets, listing=listing))
        job = _Job(work, Crowd())
        for each in targets:
            self._jobs.setdefault(each, job)
        work.add_done_callback(lambda _: self._end(job))
        return job

    def _end(self, job: _Job) -> None:
        self._jobs = {target: other for target, other in self._jobs.items() if other is not job}
        job.crowd.wake()

    def _listing_is_cheaper(self) -> bool:
        # Looking for a name takes the listing anyway.
        by_name = any(target.flow_id is None for target in self._wanted)
        return by_name or len(self._wanted) > max(FEW, PER_PAGE * (self._pages - 1))

    async def _find(self, targets: frozenset[Target], *, listing: bool) -> None:
        asked_at = asyncio.get_running_loop().time()
        found = await self._read_listing(targets) if listing else await self._ask_each(targets)
        for number, target in enumerate(targets, 1):
            if target in self._wanted:
                self._answers[target] = _Answer(asked_at, found(target), listing)
            if number % TURN == 0:
                await asyncio.sleep(0)

    async def _ask_each(self, targets: Collection[Target]) -> _Found:
        """Ask for each flow by itself; the connection limit of the client keeps the requests within bounds."""

        async def answer(target: Target) -> Flow | ViError | None:
            try:
                return await self._ask(target)
            except ViError as error:
                return error

        return dict(zip(targets, await asyncio.gather(*map(answer, targets)), strict=True)).__getitem__

    async def _ask(self, target: Target) -> Flow | None:
        return await self._call(
            lambda client: client.find_flow(
                flow_id=target.flow_id, name=target.flow_name, training_project=target.training_project
            )
        )

    async def _read_listing(self, targets: Collection[Target]) -> _Found:
        flow_ids = {target.flow_id for target in targets if target.flow_id is not None}
        names = {target.flow_name for target in targets if target.flow_name is not None}
        # Without a name to look for, reading on when asking for the flows would have been faster is a loss.
        max_pages = None if names else 1 + (len(flow_ids) - 1) // PER_PAGE
        try:
            scan = await self._call(lambda client: client.scan_flows(flow_ids, names, max_pages))
        except _SAME_FOR_ALL as error:
            return dict.fromkeys(targets, error).__getitem__
        except ViError:
            return await self._ask_each(targets)
        self._pages = scan.pages if scan.complete else 2 * scan.pages
        if not scan.complete:
            return await self._ask_each(targets)
        by_key: dict[str, list[Flow]] = {}
        for flow in scan.flows:
            by_key.setdefault(f"id:{flow.flow_id}", []).append(flow)
            by_key.setdefault(f"name:{flow.spec.name}", []).append(flow)
        return partial(_best, by_key)

    async def _call(self, ask: Callable[[AsyncViClient], Awaitable[T]]) -> T:
        """Call the service; once more if the key was refused and the connection has another one by now."""
        client = await self._opened()
        try:
            return await ask(client)
        except ViAuthenticationError:
            renewed = await self._renewed(client)
            if renewed is client:
                raise
        return await ask(renewed)

    async def _opened(self) -> AsyncViClient:
        if not self._clients:
            async with self._opening:
                if not self._clients:
                    self._clients.append(await self._connect())
        return self._clients[-1]

    async def _renewed(self, refused: AsyncViClient) -> AsyncViClient:
        """Return the client of the connection as it is now: ``refused`` if that says what it said before."""
        async with self._opening:
            if self._clients[-1] is refused:  # nobody else has renewed it
                client = await self._connect()
                if client.settings != refused.settings:
                    self._clients.append(client)
            return self._clients[-1]


def _best(by_key: dict[str, list[Flow]], target: Target) -> Flow | None:
    key = f"name:{target.flow_name}" if target.flow_id is None else f"id:{target.flow_id}"
    flows = by_key.get(key, [])
    project = target.training_project
    return max((f for f in flows if project in (None, f.spec.training_project)), key=last_update, default=None)
