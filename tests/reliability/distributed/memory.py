"""Memory of a component: the proportional share (PSS) of all its processes, so that what they share counts once."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

EVERY_SECONDS: Final = 3.0


def processes(pid: int) -> list[int]:
    """Return a process, its descendants, and what else is in its session, as far as they live."""
    parents, sessions = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name, which comes second, may contain anything.
            fields = path.read_text().rpartition(")")[2].split()
            if fields[0] == "Z":  # it has ended, and nobody has asked how
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
    """Keeps the highest memory of each component while the `with` block lasts.

    :param pids: returns the components that run, by name
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
