"""``SharedPoller``: the requests that all waiting triggers of a connection share.

Theory of operation. A triggerer runs thousands of triggers in one event loop. Each subscribes to the key of a document
and polls it at its own times. A poll goes through these states:

1. *Fresh*: another poll of the key has a result that is not older than ``max_age``. It is returned.
2. *In flight*: a job for the key is running. The poll joins the job's queue and takes the result from ``_results``.
3. *New*: the poll starts a job, either for its own key (one GET) or, where a listing is cheaper, for the keys of all
   subscribers (one scan of the listing). An incomplete or unreadable listing falls back to one GET for each key.

A listing is cheaper if a subscriber can be found no other way, or if there are more keys than GETs fit into the time
of its pages: pages come one after the other, GETs ``GETS_PER_PAGE`` at a time. How long the listing is, is learnt from
scans (``_pages``); one that was given up counts double, so that it is not soon tried again.

Invariants:

- ``_results`` holds subscribed keys only, so it cannot grow. A poll whose key had no subscriber when the results were
  noted finds none, and starts another job.
- ``_jobs[key]`` is removed when the key's result is noted, before the waiters are woken; otherwise a poll that begins
  in between would join a job that has already woken its waiters.
- A job belongs to all its waiters. A cancelled poll leaves the queue; it must not cancel the job's task.
- An error of one document is never the result of another key: only errors in ``_SERVICE_WIDE`` are shared.
- Nothing here takes time in proportion to all keys for each key, and no loop over keys runs without giving way
  (``in_turns``): both would stall the triggers of every other DAG.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from vi_airflow_provider.api.errors import (
    ViAuthenticationError,
    ViConfigurationError,
    ViError,
    ViNetworkError,
    ViRateLimitError,
    ViServerError,
    ViTimeoutError,
)
from vi_airflow_provider.gates.timers import WakeQueue, in_turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from vi_airflow_provider.api.async_client import AsyncViClient
    from vi_airflow_provider.gates.client import RefreshingClient

#: Up to this number, documents are fetched individually; above it, reading the listing may be cheaper.
MAX_SINGLE_GETS: Final = 4
#: GETs that are in flight at a time, and so fit into the time of one page of the listing.
GETS_PER_PAGE: Final = 16

#: Errors of a listing that every other request would meet as well. Any other may be about one document in it, or
#: about the listing alone, so it is no result for a single document.
_SERVICE_WIDE: Final = (
    ViAuthenticationError,
    ViConfigurationError,
    ViNetworkError,
    ViRateLimitError,
    ViServerError,
    ViTimeoutError,
)

K = TypeVar("K")
D = TypeVar("D")

#: What was found for each key of a job.
_Found: TypeAlias = "Callable[[K], D | ViError | None]"


class Listing(NamedTuple, Generic[K, D]):
    """What a scan of a listing found.

    :param pages: pages that were read
    :param complete: whether what was not found does not exist, as far as a listing can tell
    :param find: returns the document of a key
    """

    pages: int
    complete: bool
    find: Callable[[K], D | None]


class Source(Protocol[K, D]):
    """Where the documents come from. An implementation checks that a document is the one that was requested."""

    #: Whether a listing shows several documents at once.
    listed: bool

    def needs_listing(self, key: K) -> bool:
        """Return whether the document can only be found in the listing."""

    async def get(self, client: AsyncViClient, key: K) -> D | None:
        """Return the document as it is now, ``None`` if it does not exist."""

    async def scan(self, client: AsyncViClient, keys: Collection[K], max_pages: int | None) -> Listing[K, D]:
        """Read the listing for several documents, at most ``max_pages`` of it."""


class _Result(NamedTuple, Generic[D]):
    """What was found for a key, or why that is not known."""

    #: In seconds of the event loop's clock.
    asked_at: float
    found: D | ViError | None
    #: From the listing, which may miss a document that changes while it is read.
    listed: bool


class _Job(Generic[K]):
    """Requests in flight for some keys, and the polls that wait for the results."""

    def __init__(self, keys: Collection[K]) -> None:
        self.keys = keys
        self.waiters = WakeQueue()
        self.task: asyncio.Task[None]


class SharedPoller(Generic[K, D]):
    """Polls documents on behalf of the triggers of one connection, in one event loop.

    :param client: calls the service; closed by its owner
    :param source: where the documents come from
    """

    def __init__(self, client: RefreshingClient, source: Source[K, D]) -> None:
        self._client = client
        self._source = source
        self._subscribers: Counter[K] = Counter()
        #: Subscribed keys that can only be found in the listing.
        self._needing_listing = 0
        self._results: dict[K, _Result[D]] = {}
        self._jobs: dict[K, _Job[K]] = {}
        #: Pages of the listing, as far as is known.
        self._pages = 1
        self._slots = asyncio.Semaphore(GETS_PER_PAGE)

    @asynccontextmanager
    async def subscribe(self, key: K) -> AsyncIterator[None]:
        """Announce an interest in a document, so that a listing is read for it along with others."""
        self._subscribers[key] += 1
        if self._subscribers[key] == 1:
            self._needing_listing += self._source.needs_listing(key)
        try:
            yield
        finally:
            self._subscribers[key] -= 1
            if not self._subscribers[key]:
                del self._subscribers[key]
                self._needing_listing -= self._source.needs_listing(key)
                self._results.pop(key, None)

    async def poll(self, key: K, max_age: float = 0.0, *, certain: bool = False) -> D | None:
        """Return the document, ``None`` if it does not exist.

        :param key: the document to find; it must be subscribed to
        :param max_age: seconds that a result of another poll may be old
        :param certain: do not conclude from a listing alone that the document does not exist
        :raises ViError: the document could not be read; nothing is retried here
        """
        result = self._results.get(key)
        if result is not None and asyncio.get_running_loop().time() - result.asked_at > max_age:
            result = None
        while result is None:
            if key not in self._subscribers:  # no job would note a result, and this would not end
                raise LookupError(f"{key} is not subscribed to")
            job = self._jobs.get(key) or self._start(key)
            await job.waiters.wait()
            job.task.result()
            result = self._results.get(key)
        if isinstance(result.found, ViError):
            raise result.found.with_traceback(None)  # which would grow with each poll that shares it
        if result.found is None and result.listed and certain:
            return await self._get(key)
        return result.found

    async def close(self) -> None:
        """Cancel the requests in flight."""
        tasks = {job.task for job in self._jobs.values()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, key: K) -> _Job[K]:
        """Begin a job for a key, or for all keys if the listing is to be read."""
        listing = self._listing_is_cheaper()
        job = _Job(tuple(self._subscribers) if listing else (key,))
        for each in job.keys:
            self._jobs.setdefault(each, job)
        job.task = asyncio.create_task(self._run(job, listing=listing), name="vi-poll")
        job.task.add_done_callback(lambda task: self._end(job, task))
        return job

    def _end(self, job: _Job[K], task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception():  # not all of its keys have a result
            for key in job.keys:
                self._forget(key, job)
        job.waiters.wake()

    def _forget(self, key: K, job: _Job[K]) -> None:
        if self._jobs.get(key) is job:
            del self._jobs[key]

    def _listing_is_cheaper(self) -> bool:
        few = max(MAX_SINGLE_GETS, GETS_PER_PAGE * (self._pages - 1))
        return self._source.listed and (self._needing_listing > 0 or len(self._subscribers) > few)

    async def _run(self, job: _Job[K], *, listing: bool) -> None:
        asked_at = asyncio.get_running_loop().time()
        found = await (self._read_listing(job.keys) if listing else self._get_each(job.keys))
        async for key in in_turns(job.keys):
            if key in self._subscribers:
                self._results[key] = _Result(asked_at, found(key), listing)
            self._forget(key, job)

    async def _get_each(self, keys: Collection[K]) -> _Found[K, D]:
        """Fetch each document by itself, several at a time."""
        found: dict[K, D | ViError | None] = {}
        remaining = iter(keys)

        async def work() -> None:
            for key in remaining:
                try:
                    found[key] = await self._get(key)
                except ViError as error:
                    found[key] = error

        await asyncio.gather(*(work() for _ in range(min(len(keys), GETS_PER_PAGE))))
        return found.__getitem__

    async def _get(self, key: K) -> D | None:
        async with self._slots:
            return await self._client.call(lambda client: self._source.get(client, key))

    async def _read_listing(self, keys: Collection[K]) -> _Found[K, D]:
        # If each document can be fetched by itself, a listing that takes longer than that is not read to its end.
        max_pages = None if self._needing_listing else 1 + (len(keys) - 1) // GETS_PER_PAGE
        try:
            listing = await self._client.call(lambda client: self._source.scan(client, keys, max_pages))
        except ViError as error:
            # The base class itself: there is no connection, so no request was sent.
            if isinstance(error, _SERVICE_WIDE) or type(error) is ViError:
                return dict.fromkeys(keys, error).__getitem__
            return await self._get_each(keys)
        self._pages = listing.pages if listing.complete else 2 * listing.pages
        return listing.find if listing.complete else await self._get_each(keys)
