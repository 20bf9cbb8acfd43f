"""Prefetching: the next page of a listing is fetched while the current one is consumed, and never more."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Final, Generic, TypeVar

from pydantic import BaseModel

from vi_airflow_provider.api.protocol.codec import RawPage
from vi_airflow_provider.api.protocol.messages import Steps
from vi_airflow_provider.api.protocol.paging import Paginator
from vi_airflow_provider.api.transport.deadlines import Call, CallEndedError

M = TypeVar("M", bound=BaseModel)

#: Seconds that a consumer waits at most until the request for the next page is sent. If it continued at once, it would
#: hold the interpreter for the 5 ms of ``sys.getswitchinterval`` each time that the other thread needs it.
HEAD_START: Final = 0.005

#: Seconds within which a waiting consumer notices a signal: one that arrives just before a wait is handled after it.
SIGNAL_STEP: Final = 0.2

#: Seconds that the end of a listing waits at most for its thread. It ends in moments, unless it looks up a name, or
#: needs a lock that the waiting thread holds: the garbage collector may end a listing anywhere, also within logging.
END_PATIENCE: Final = 1.0


class PagePrefetcher(Generic[M]):
    """Fetches the pages of a listing, in order, for one consumer.

    Prefetches run in one thread, which ends with the listing: glibc gives each new thread a pool of memory and keeps
    what was freed in it, so with a thread for each page, several pages would stay in memory. What goes wrong there is
    raised when the consumer requests the page.

    :param run: carries out the steps that fetch a page
    """

    def __init__(self, paginator: Paginator[M], run: Callable[[Steps[RawPage[M]], Call], RawPage[M]]) -> None:
        self._paginator = paginator
        self._run = run
        self._ahead: _Fetch[M] | None = None
        self._worker: _Worker | None = None

    def fetch(self) -> None:
        """Start to fetch the next page, if there is one."""
        if self._ahead is None and (steps := self._paginator.next_page()) is not None:
            with suppress(RuntimeError):  # no more threads; the page is fetched when it is requested
                if self._worker is None or not self._worker.is_alive():  # a fork leaves the thread behind
                    self._worker = _Worker()
                self._ahead = _Fetch(steps, self._run, self._worker)
                self._ahead.call.wait_until_sent(HEAD_START)

    def next(self) -> RawPage[M] | None:
        """Return the next page; ``None`` after the last one."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            try:
                return ahead.result()
            except CallEndedError:
                pass  # by close(), before the page arrived
        steps = self._paginator.next_page()
        return None if steps is None else self._run(steps, Call())

    def close(self) -> None:
        """End the prefetch in flight and the thread; if its page is requested later, it is fetched again."""
        worker, self._worker = self._worker, None
        if (ahead := self._ahead) is not None:
            ahead.call.end()
        if worker is not None:
            worker.end()


class _Worker:
    """A thread that does one job after the other."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="vi-page", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # holds the page, which the consumer may drop before the next job comes

    def do(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def end(self) -> None:
        """End the thread after its job."""
        self._jobs.put(None)
        # A daemon thread stops when the interpreter ends. And garbage may be collected by any thread.
        if not sys.is_finalizing() and self._thread is not threading.current_thread():
            self._thread.join(END_PATIENCE)


class _Fetch(Generic[M]):
    def __init__(
        self, steps: Steps[RawPage[M]], run: Callable[[Steps[RawPage[M]], Call], RawPage[M]], worker: _Worker
    ) -> None:
        self._steps = steps
        self._run = run
        self.call = Call()
        self._page: RawPage[M] | None = None
        self._error: BaseException | None = None
        self._done = threading.Event()
        # In the context of the consumer: what is logged here belongs to its task.
        self._worker = worker
        worker.do(partial(copy_context().run, self._work))

    def _work(self) -> None:
        try:
            self._page = self._run(self._steps, self.call)
        except BaseException as error:  # raised in the consumer's thread, whatever it is
            self._error = error
        finally:
            self.call.note_sent()  # in case that nothing was sent
            self._done.set()

    def result(self) -> RawPage[M]:
        try:
            while not self._done.wait(SIGNAL_STEP) and self._worker.is_alive():
                pass
        except BaseException:  # a timeout of the task, or Ctrl-C
            self.call.end()
            raise
        if self._page is None:
            raise self._error or CallEndedError
        return self._page
