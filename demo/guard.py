"""Ends the processes of a deployment once the process that started them is gone, even if it was killed.

The deployment reports process groups over a pipe: `+<id>` for one that was started, `-<id>` for one that has ended.
The operating system closes the pipe when the deployment's process ends in any way; then the guard ends the groups
that are left.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import IO, Final, cast

STOP_SECONDS: Final = 15.0


class Guard:
    """The near end of the pipe."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, __file__], stdin=subprocess.PIPE, text=True, bufsize=1, start_new_session=True
        )

    def add(self, group: int) -> None:
        """End this process group if the present process ends before it does."""
        self._report(f"+{group}")

    def remove(self, group: int) -> None:
        """Forget a process group that has ended."""
        self._report(f"-{group}")

    def close(self) -> None:
        """End the guard; it ends the groups that were not removed."""
        self._process.communicate()

    def _report(self, line: str) -> None:
        pipe = cast("IO[str]", self._process.stdin)
        with contextlib.suppress(BrokenPipeError):  # without its guard, a deployment still ends its own processes
            pipe.write(f"{line}\n")


def end_groups(groups: Iterable[int], seconds: float = STOP_SECONDS) -> None:
    """Ask process groups to end, and kill what is left of them after a time."""
    for group in groups:
        _signal(group, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(_signal(group, 0) for group in groups):
        time.sleep(0.05)
    for group in groups:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def main() -> None:
    """Collect groups until the pipe is closed, then end them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line.startswith("+") else groups.discard)(int(line[1:]))
    end_groups(groups)


if __name__ == "__main__":
    main()
