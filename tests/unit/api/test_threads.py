"""``map_in_threads``: how many at a time, in which order, and what an error or an interruption does."""

from __future__ import annotations

import signal
import socket
import threading
import time

import pytest

from vi_airflow_provider.api.transport.deadlines import Call, CallEndedError
from vi_airflow_provider.api.transport.threads import map_in_threads


@pytest.mark.parametrize(("items", "concurrency", "most"), [(10, 1, 1), (10, 3, 3), (2, 8, 2), (0, 8, 0)])
def test_at_most_concurrency_items_are_in_progress(items: int, concurrency: int, most: int) -> None:
    current: set[int] = set()
    seen = [0]
    all_started = threading.Barrier(max(most, 1))

    def act(item: int, _call: Call) -> int:
        current.add(item)
        if item < most:
            all_started.wait(5)
        seen.append(len(current))
        current.discard(item)
        return item * 2

    assert map_in_threads(range(items), act, concurrency) == [item * 2 for item in range(items)]
    assert max(seen) <= most


def test_results_are_in_the_order_of_the_items() -> None:
    first_may_end = threading.Event()

    def act(item: str, _call: Call) -> str:
        if item == "slow":
            assert first_may_end.wait(5)
        elif item == "last":
            first_may_end.set()
        return item.upper()

    assert map_in_threads(["slow", "fast", "last"], act, 2) == ["SLOW", "FAST", "LAST"]


@pytest.mark.parametrize("error", [IndexError, StopIteration, KeyboardInterrupt])
def test_an_error_is_raised_and_no_further_item_begins(error: type[BaseException]) -> None:
    begun: list[int] = []

    def act(item: int, _call: Call) -> None:
        begun.append(item)
        if item == 1:
            raise error

    with pytest.raises(error):
        map_in_threads(range(1000), act, 1)
    assert begun == [0, 1]


class TaskTimeoutError(BaseException):
    """Raised by a signal handler, like Airflow's."""


def test_an_interrupted_wait_ends_the_calls_in_flight() -> None:
    in_flight = threading.Barrier(3)
    begun: list[int] = []
    ended: list[int] = []

    def interrupt(*_: object) -> None:
        raise TaskTimeoutError

    def act(item: int, call: Call) -> None:
        begun.append(item)
        in_flight.wait(5)
        try:
            call.pause(60)
        except CallEndedError:
            ended.append(item)
            raise

    def strike() -> None:
        in_flight.wait(5)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    previous = signal.signal(signal.SIGUSR1, interrupt)
    began = time.monotonic()
    try:
        threading.Thread(target=strike, daemon=True).start()
        with pytest.raises(TaskTimeoutError):
            map_in_threads(range(10), act, 2)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert sorted(begun) == sorted(ended) == [0, 1]
    assert time.monotonic() - began < 30


def test_a_forked_process_does_not_end_the_call_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        call = Call()
        call.read_from(ours)
        with monkeypatch.context() as patch:
            patch.setattr("os.getpid", lambda: -1)  # as in the child
            call.end()
        theirs.sendall(b"response")
        assert ours.recv(8) == b"response"
        call.end()
        assert ours.recv(8) == b""
