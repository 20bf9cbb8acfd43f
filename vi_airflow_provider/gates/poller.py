"""``SharedPoller``: the requests that all waiting triggers of a connection share.

Theory of operation. A triggerer runs thousands of triggers in one event loop. Each subscribes to the key of a document
and polls it at its own times. A poll goes through these states:

1. *Fresh*: another poll of the key has a result that is not older than ``max_age``. It is returned.
2. *In flight*: a job for the key is running. The poll joins the job's queue and takes the result from ``_results``.
3. *New*: the poll starts a job, for its own key or for many; ``reader`` decides.

Invariants:

- ``_results`` holds subscribed keys only, so it cannot grow. A poll whose key had no subscriber when the results were
  noted finds none, and starts another job.
- A key leaves its job when its result is noted, before the waiters are woken; otherwise a poll that begins in between
  would join a job that has already woken its waiters.
- A job belongs to all its waiters. A cancelled poll leaves the queue; it must not cancel the job's task.
- Thousands of keys may wait for a GET of their own. They wait as jobs in ``_queue``, and not as tasks: the cyclic
  garbage collector stops the event loop for a time that grows with the number of objects.
- Nothing here takes time in proportion to all keys for each key, and no loop over keys runs without giving way
  (``in_turns``): both would stall the triggers of every other DAG.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.gates.reader import GETS_PER_PAGE, Reader
from vi_airflow_provider.gates.timers import WakeQueue, in_turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Coroutine, Iterator

    from vi_airflow_provider.gates.client import RefreshingClient
    from vi_airflow_provider.gates.reader import Plan, Read, Result
    from vi_airflow_provider.gates.source import Source

K = TypeVar("K")
D = TypeVar("D")


class _Job(Generic[K]):
    """Requests for some keys, queued or in flight, and the polls that wait for the results.

    :param keys: keys whose results are not noted yet
    """

    __slots__ = ("failure", "keys", "waiters")

    def __init__(self, keys: dict[K, None]) -> None:
        self.keys = keys
        self.waiters = WakeQueue()
        #: Why it has no results.
        self.failure: BaseException | None = None


class SharedPoller(Generic[K, D]):
    """Polls documents on behalf of the triggers of one connection, in one event loop.

    :param client: calls the service; closed by its owner
    :param source: where the documents come from
    """

    def __init__(self, client: RefreshingClient, source: Source[K, D]) -> None:
        self._reader = Reader(client, source)
        self._keys = self._reader.keys
        self._results: dict[K, Result[D]] = {}
        #: The jobs for one key, and those for many.
        self._single_jobs: dict[K, _Job[K]] = {}
        self._group_jobs: list[_Job[K]] = []
        #: The jobs for one key that have not begun.
        self._queue: deque[_Job[K]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._fetching = 0

    @asynccontextmanager
    async def subscribe(self, key: K) -> AsyncIterator[None]:
        """Announce an interest in a document, so that a listing is read for it along with others."""
        self._keys.subscribe(key)
        try:
            yield
        finally:
            if self._keys.unsubscribe(key):
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
            if key not in self._keys:  # no job would note a result, and this would not end
                raise LookupError(f"{key} is not subscribed to")
            job = self._job_of(key) or self._start(self._reader.plan(key))
            await job.waiters.wait()
            if job.failure is not None:
                raise job.failure.with_traceback(None)  # which would grow with each poll that shares it
            result = self._results.get(key)
        if isinstance(result.found, ViError):
            raise result.found.with_traceback(None)
        if result.found is None and result.listed and certain:
            return await self._reader.get(key)
        return result.found

    async def close(self) -> None:
        """Cancel the requests in flight."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while self._queue:
            job = self._queue.popleft()
            job.failure = asyncio.CancelledError()
            self._end(job)
        await self._reader.close()

    def _job_of(self, key: K) -> _Job[K] | None:
        for job in self._group_jobs:
            if key in job.keys:
                return job
        return self._single_jobs.get(key)

    def _start(self, plan: Plan[K, D]) -> _Job[K]:
        job = _Job(dict.fromkeys(plan.keys))
        if plan.read is not None:
            self._group_jobs.append(job)
            self._spawn(self._run(job, plan.keys, plan.read))
            return job
        self._single_jobs[next(iter(job.keys))] = job
        self._queue.append(job)
        if self._fetching < GETS_PER_PAGE:
            self._fetching += 1
            self._spawn(self._fetch())
        return job

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="vi-poll")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, job: _Job[K], keys: Collection[K], read: Read[K, D]) -> None:
        with self._ending(job):
            result_of = await read(keys)
            async for key in in_turns(keys):
                self._note(job, key, result_of(key))

    async def _fetch(self) -> None:
        """Fetch the keys in the queue, one after the other."""
        try:
            while self._queue:
                job = self._queue.popleft()
                with self._ending(job):
                    (key,) = job.keys
                    self._note(job, key, await self._reader.fetch(key))
        finally:
            self._fetching -= 1

    def _note(self, job: _Job[K], key: K, result: Result[D]) -> None:
        if key in self._keys:
            self._results[key] = result
            self._reader.note(key, result)
        del job.keys[key]
        self._forget(key, job)

    @contextmanager
    def _ending(self, job: _Job[K]) -> Iterator[None]:
        """End a job, whatever happens; its waiters receive an exception."""
        try:
            yield
        except BaseException as failure:
            job.failure = failure
            if not isinstance(failure, Exception):
                raise
        finally:
            self._end(job)

    def _end(self, job: _Job[K]) -> None:
        if job in self._group_jobs:
            self._group_jobs.remove(job)
        for key in job.keys:  # of one that failed: not all of its keys have a result
            self._forget(key, job)
        job.waiters.wake()

    def _forget(self, key: K, job: _Job[K]) -> None:
        if self._single_jobs.get(key) is job:
            del self._single_jobs[key]
