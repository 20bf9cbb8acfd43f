"""The pages of a listing, the next one fetched while the one before is consumed: one page ahead, and never further."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Final, Generic, TypeVar

from pydantic import BaseModel

from vi_airflow_provider.api.protocol.codec import RawPage
from vi_airflow_provider.api.protocol.messages import Steps
from vi_airflow_provider.api.protocol.paging import Paginator
from vi_airflow_provider.api.transport.deadlines import Call, CallEndedError

M = TypeVar("M", bound=BaseModel)

#: Seconds that a consumer waits at most until the request for the next page is sent. If it went on at once, it would
#: keep the interpreter to itself for the 5 ms of ``sys.getswitchinterval`` each time that the other thread wants it.
HEAD_START: Final = 0.005


class PagePrefetcher(Generic[M]):
    """Fetches the pages of a walk, in their order, for one consumer.

    A page that is fetched ahead has a thread of its own, which ends with the page. What goes wrong there is raised
    when it is the page's turn.

    :param run: carries out the steps that fetch a page
    """

    def __init__(self, walk: Paginator[M], run: Callable[[Steps[RawPage[M]], Call], RawPage[M]]) -> None:
        self._walk = walk
        self._run = run
        self._ahead: _Fetch[M] | None = None

    def fetch(self) -> None:
        """Begin to fetch the next page, if there is one."""
        if self._ahead is None and (steps := self._walk.next_page()) is not None:
            with suppress(RuntimeError):  # there can be no more threads; the page is fetched when it is its turn
                self._ahead = _Fetch(steps, self._run)
                self._ahead.call.wait_until_sent(HEAD_START)

    def next(self) -> RawPage[M] | None:
        """Return the next page; ``None`` after the last one."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            try:
                return ahead.result()
            except CallEndedError:
                pass  # by close(), before it was there
        steps = self._walk.next_page()
        return None if steps is None else self._run(steps, Call())

    def close(self) -> None:
        """End the fetch that is under way; a page that is asked for later is fetched anew."""
        if (ahead := self._ahead) is not None:
            ahead.end()


class _Fetch(Generic[M]):
    def __init__(self, steps: Steps[RawPage[M]], run: Callable[[Steps[RawPage[M]], Call], RawPage[M]]) -> None:
        self._steps = steps
        self._run = run
        self.call = Call()
        self._page: RawPage[M] | None = None
        self._error: BaseException | None = None
        # In the context of the consumer: what is logged on the way belongs to its task.
        self._thread = threading.Thread(target=copy_context().run, args=(self._work,), name="vi-page", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self._page = self._run(self._steps, self.call)
        except BaseException as error:  # whatever it is, it is raised in the consumer's thread
            self._error = error
        finally:
            self.call.note_sent()  # or it will never be

    def result(self) -> RawPage[M]:
        try:
            self._thread.join()
        except BaseException:  # a timeout of the task, or Ctrl-C
            self.call.end()
            raise
        if self._page is None:
            raise self._error or CallEndedError
        return self._page

    def end(self) -> None:
        self.call.end()
        # A daemon thread does not go on when the interpreter ends. And garbage may be collected by any thread.
        if not sys.is_finalizing() and self._thread is not threading.current_thread():
            self._thread.join()
