"""An event loop in a thread: results, errors, context, and what a signal does to the caller and to the work."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final, NoReturn

import pytest

from vi_airflow_provider.api.transport.loop_thread import StoppedError, run_in_thread

VARIABLE: Final = contextvars.ContextVar("variable", default="unset")


class Signalled(BaseException):
    """What a signal handler raises."""


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


def test_work_runs_in_a_thread_and_returns_its_result() -> None:
    async def work() -> tuple[int, int]:
        return await double(4), threading.get_ident()

    result, thread = run_in_thread(work)
    assert result == 8
    assert thread != threading.get_ident()


def test_work_has_the_context_variables_of_the_caller() -> None:
    async def work() -> str:
        return VARIABLE.get()

    VARIABLE.set("the caller's")
    assert run_in_thread(work) == "the caller's"


async def test_work_runs_while_the_caller_has_a_running_loop() -> None:
    """As in a notebook, and in an asynchronous task."""
    assert run_in_thread(lambda: double(2)) == 4


def test_error_of_the_work_is_raised_unchanged() -> None:
    error = KeyError("reason")

    async def work() -> NoReturn:
        raise error

    with pytest.raises(KeyError) as raised:
        run_in_thread(work)
    assert raised.value is error


def test_error_is_raised_without_its_groups() -> None:
    async def fail() -> NoReturn:
        raise Signalled

    async def work() -> None:
        async with asyncio.TaskGroup() as outer:
            outer.create_task(fail())

    with pytest.raises(Signalled):
        run_in_thread(work)

    async def grouped() -> NoReturn:
        raise ExceptionGroup("outer", [ExceptionGroup("inner", [ValueError("leaf")])])

    with pytest.raises(ValueError, match="leaf"):
        run_in_thread(grouped)


# --- stopping ------------------------------------------------------------------------------------------------------


class Work:
    """Work that never ends by itself, and notes what happens to it."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.began = threading.Event()

    async def __call__(self) -> None:
        self.events.append("began")
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.events.append("cleaned up")


def test_stopped_work_is_cancelled_and_awaited() -> None:
    work = Work()
    with pytest.raises(StoppedError, match="the task was killed"):
        run_in_thread(work, work.began.is_set)
    assert work.events == ["began", "cleaned up"]


def test_a_lookup_that_hangs_does_not_delay_the_end() -> None:
    began, may_end = threading.Event(), threading.Event()
    given_up: list[bool] = []

    def look_up() -> None:
        began.set()
        given_up.append(not may_end.wait(20))

    with pytest.raises(StoppedError):
        run_in_thread(lambda: asyncio.to_thread(look_up), began.is_set)
    assert given_up == []
    may_end.set()


def test_tasks_that_the_work_leaves_behind_are_cancelled() -> None:
    left = Work()

    async def work() -> None:
        work.task = asyncio.create_task(left())  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    run_in_thread(work)
    assert left.events == ["began", "cleaned up"]


def test_work_stopped_before_its_start_does_not_begin() -> None:
    work = Work()
    with pytest.raises(StoppedError):
        run_in_thread(work, lambda: True)
    assert work.events == []


@pytest.fixture
def handler() -> Iterator[Callable[[], None]]:
    """Sends this process a signal, whose handler raises :class:`Signalled`."""

    def handle(number: int, frame: FrameType | None) -> NoReturn:
        raise Signalled

    old = signal.signal(signal.SIGUSR1, handle)
    yield lambda: os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, old)


def test_exception_of_a_signal_handler_cancels_the_work(handler: Callable[[], None]) -> None:
    work = Work()

    async def signalled() -> None:
        asyncio.get_running_loop().call_later(0.01, handler)
        await work()

    with pytest.raises(Signalled):
        run_in_thread(signalled)
    assert work.events == ["began", "cleaned up"]


#: A signal at a random moment, of starting a thread and its loop, of the work, and of its end.
AT_RANDOM: Final = """
import asyncio, random, signal, sys, threading
from vi_airflow_provider.api.transport.loop_thread import run_in_thread

class Signalled(BaseException):
    pass

def handle(number, frame):
    raise Signalled

async def work():
    running.append(1)
    try:
        await asyncio.sleep(0.002)
    finally:
        running.pop()

signal.signal(signal.SIGALRM, handle)
outcomes = {"ended": 0, "signalled": 0}
for number in range(int(sys.argv[1])):
    running = []
    try:
        signal.setitimer(signal.ITIMER_REAL, random.Random(number).uniform(0.00005, 0.006))
        run_in_thread(work)
        signal.setitimer(signal.ITIMER_REAL, 0)
        outcomes["ended"] += 1
    except Signalled:
        outcomes["signalled"] += 1
    assert not running
print(sum(outcomes.values()))
"""


def test_signal_at_any_moment_leaves_no_work_running() -> None:
    command = [sys.executable, "-W", "ignore", "-c", AT_RANDOM, "200"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - ourselves
    assert (done.stdout.split(), done.stderr) == (["200"], "")
