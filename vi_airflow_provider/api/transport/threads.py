"""Several blocking calls at a time, in threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextvars import copy_context
from typing import Generic, TypeVar

from vi_airflow_provider.api.transport.deadlines import Call
from vi_airflow_provider.api.transport.prefetch import SIGNAL_STEP

T = TypeVar("T")
R = TypeVar("R")


def map_in_threads(items: Iterable[T], act: Callable[[T, Call], R], concurrency: int) -> list[R]:
    """Act on each item in a thread, at most ``concurrency`` at a time; results are in the order of the items.

    If an item raises, no further item begins, and the error is raised once those in flight are done. If the waiting
    thread is interrupted (Ctrl-C, a timeout of the task), the calls in flight are ended as well.
    """
    workers = _Workers(items, act)
    try:
        workers.start(concurrency)
        workers.join()
    except BaseException:
        workers.end()
        raise
    return workers.results()


class _Workers(Generic[T, R]):
    def __init__(self, items: Iterable[T], act: Callable[[T, Call], R]) -> None:
        queue = list(enumerate(items))
        self._act = act
        self._count = len(queue)
        self._queue = iter(queue)  # next() of a list's iterator is atomic
        self._stopped = False
        self._results: dict[int, R] = {}
        self._errors: list[BaseException] = []
        self._calls: list[Call] = []
        self._done: list[threading.Event] = []

    def start(self, concurrency: int) -> None:
        for _ in range(min(concurrency, self._count)):
            call, done = Call(), threading.Event()
            # In the context of the caller: what is logged here belongs to its task.
            target = copy_context().run
            thread = threading.Thread(target=target, args=(self._work, call, done), name="vi-call", daemon=True)
            self._calls.append(call)
            self._done.append(done)
            try:
                thread.start()
            except RuntimeError:  # no more threads
                done.set()
                raise

    def _work(self, call: Call, done: threading.Event) -> None:
        try:
            while not self._stopped and (item := next(self._queue, None)) is not None:
                self._results[item[0]] = self._act(item[1], call)
        except BaseException as error:  # raised in the waiting thread, whatever it is
            self._stopped = True
            self._errors.append(error)
        finally:
            done.set()

    def join(self) -> None:
        # Not Thread.join(): on Python 3.11, a thread counts as ended once a join of it was interrupted. And in
        # short steps, for signals.
        for done in self._done:
            while not done.wait(SIGNAL_STEP):
                pass

    def end(self) -> None:
        self._stopped = True
        for call in self._calls:
            call.end()
        self.join()

    def results(self) -> list[R]:
        if self._errors:
            raise self._errors[0]
        return [self._results[index] for index in range(self._count)]
