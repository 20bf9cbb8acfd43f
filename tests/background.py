"""Work beside a test, in a thread or in a process."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

#: Seconds that the work may take once the block has ended.
PATIENCE: Final = 60.0


@contextmanager
def in_background(work: Callable[[], object]) -> Iterator[None]:
    """Run something in a thread during the block, wait for it after the block, and raise what it raised.

    The thread is a daemon: if the block fails, and the work waits for what now never happens, pytest still ends.
    """
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    thread.join(PATIENCE)
    assert not thread.is_alive(), "the work in the background has not ended"
    if errors:
        raise errors[0]


@contextmanager
def ending(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Lend a process for the block, and kill it afterwards if it still runs: a test that fails leaves none behind."""
    with process:
        try:
            yield process
        finally:
            process.kill()
