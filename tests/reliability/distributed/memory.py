"""Memory of a component: the proportional set size (PSS) of its processes, which counts shared memory once."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

EVERY_SECONDS: Final = 3.0


def processes(pid: int) -> list[int]:
    """Return the running processes among a process, its descendants and the members of its session."""
    parents, sessions = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The second field is the name, which may contain spaces and parentheses.
            fields = path.read_text().rpartition(")")[2].split()
            if fields[0] == "Z":  # a zombie
                continue
            parents[int(path.parent.name)], sessions[int(path.parent.name)] = int(fields[1]), int(fields[3])
    children = defaultdict(list)
    for child, parent in parents.items():
        children[parent].append(child)
    found, new = set(), [pid, *(one for one, session in sessions.items() if session == pid)]
    while new:
        one = new.pop()
        if one not in found and one in parents:
            found.add(one)
            new += children[one]
    return sorted(found)


def proportional_mib(pid: int) -> float:
    """Return the PSS of a component in MiB."""
    total = 0
    for one in processes(pid):
        with suppress(OSError):
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


class Peaks(threading.Thread):
    """Records the peak memory of each component for the duration of a `with` block.

    :param pids: returns the process id of each running component
    """

    def __init__(self, pids: Callable[[], Mapping[str, int]]) -> None:
        super().__init__(name="memory", daemon=True)
        self._pids = pids
        self._stopped = threading.Event()
        self.mib: dict[str, float] = {}
        self.total = 0.0

    def run(self) -> None:
        while not self._stopped.wait(EVERY_SECONDS):
            now = {name: proportional_mib(pid) for name, pid in self._pids().items()}
            self.mib = {name: max(self.mib.get(name, 0.0), now.get(name, 0.0)) for name in {**self.mib, **now}}
            self.total = max(self.total, sum(now.values()))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self.join()
