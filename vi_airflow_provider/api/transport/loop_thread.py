"""Runs asynchronous work for a synchronous caller, in a way that a signal can interrupt.

Airflow ends a task by an exception that a signal handler raises in the main thread: ``AirflowTaskTimeout`` from
SIGALRM, ``AirflowTaskTerminated`` from SIGTERM, ``KeyboardInterrupt``. If the event loop ran there, the exception would
come up inside asyncio or the HTTP library, which may take it for a broken connection and go on. So:

* The loop runs in a thread of its own, where no signal handler ever runs. The caller only waits.
* The caller waits in short steps on a plain lock, from which a handler's exception comes out as it is.
* Whatever interrupts the wait cancels the work first, then waits until the work has ended. Cancelling aborts the
  requests that are in flight, so this takes moments; when the caller gets the exception, nothing is sent any more.
* Lookups of names and of connections block threads of the loop's executor, and cannot be aborted. The loop waits for
  them before it is closed, and so does the end of the process, but the caller does not.
* A handler that raises nothing (SIGTERM on Airflow 3 only calls ``on_kill``) makes ``stopped()`` true instead.

The thread gets a copy of the caller's context variables, which carry the task's logging. A loop that runs in the
caller's thread, in a notebook or an asynchronous task, does not matter: it waits, too.
"""

from __future__ import annotations

import _thread
import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

#: Seconds between two calls of ``stopped()``.
STEP: Final = 0.05


class StoppedError(Exception):
    """The work was stopped before its end, because the task was killed."""


def never() -> bool:
    """Return that the work is not stopped."""
    return False


def raise_if(stopped: Callable[[], bool]) -> None:
    """Raise :class:`StoppedError` if the task was killed."""
    if stopped():
        raise StoppedError("the task was killed, so nothing further is changed")


def until_stopped(items: Iterable[T], stopped: Callable[[], bool]) -> Iterator[T]:
    """Yield items until the task is killed; then raise :class:`StoppedError`."""
    for item in items:
        raise_if(stopped)
        yield item


def run_in_thread(work: Callable[[], Coroutine[Any, Any, T]], stopped: Callable[[], bool] = never) -> T:
    """Run a coroutine on an event loop in a thread, wait for it, and return its result.

    :param work: makes the coroutine, in the thread
    :param stopped: asked every few milliseconds; once it is true, the work is cancelled
    :raises StoppedError: ``stopped()`` became true
    :raises BaseException: what the work raised, out of its exception groups, or what a signal handler raised here
    """
    loop_thread = _LoopThread(work)
    try:
        raise_if(stopped)
        loop_thread.start()
        while not loop_thread.wait():
            raise_if(stopped)
    except BaseException:
        loop_thread.cancel()
        while loop_thread.begun and not loop_thread.wait():
            pass
        raise
    return loop_thread.result()


class _LoopThread(Generic[T]):
    """A thread with an event loop, and the one piece of work that runs there."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._work = work
        #: Whether the thread has begun to run. If not, it finds itself cancelled when it does.
        self.begun = False
        self._ended = False
        self._running = threading.Lock()  # held until the end, to wait for
        self._cancelled = False
        self._task: asyncio.Task[Any] | None = None
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._context = contextvars.copy_context()

    def start(self) -> None:
        self._running.acquire()
        # Neither threading.Thread nor threading.Event: they are Python code around a lock, which an exception of a
        # signal handler may leave between any two lines, and then they raise another one.
        _thread.start_new_thread(self._context.run, (self._run,))

    def wait(self) -> bool:
        """Wait a step, or until the end; return whether the work has ended."""
        if not self._ended:
            self._running.acquire(timeout=STEP)
        return self._ended

    def cancel(self) -> None:
        """Cancel the work, now or as soon as it begins."""
        self._cancelled = True
        if task := self._task:  # set before the thread looks at _cancelled, so one of the two sees the other
            with suppress(RuntimeError):  # the loop is closed: the work has ended
                task.get_loop().call_soon_threadsafe(task.cancel)

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._result[0]

    def _run(self) -> None:
        self.begun = True
        runner = asyncio.Runner()
        try:
            self._result.append(runner.run(self._main()))
        except BaseException as error:  # raised in the caller's thread
            self._error = _ungrouped(error)
        finally:
            self._task = None  # freed here: in the caller's thread, a handler's exception would vanish in a destructor
            self._ended = True
            self._running.release()
        runner.close()

    async def _main(self) -> T:
        self._task = asyncio.current_task()
        if self._cancelled:
            raise asyncio.CancelledError
        try:
            return await self._work()
        finally:
            await _end_other_tasks()


async def _end_other_tasks() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _ungrouped(error: BaseException) -> BaseException:
    """Return the first error of a group: a caller handles errors by their class."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
