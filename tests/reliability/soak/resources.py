"""Memory and open files of this process, sampled to detect leaks."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

MIB: Final = 1 << 20
#: Ignored initial part of the run: pools fill, modules are imported, the allocator reaches its size.
WARM_UP: Final = 0.2
#: Allowed growth from the first to the last third: noise of the allocator (MiB), and currently open connections.
MORE_MEMORY: Final = 8.0
MORE_FILES: Final = 8


@dataclass
class ResourceUse:
    """Samples of one process, at even intervals."""

    memory: list[float] = field(default_factory=list)
    files: list[float] = field(default_factory=list)

    def sample(self) -> None:
        """Take one sample of each."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.memory.append(pages * os.sysconf("SC_PAGE_SIZE") / MIB)
        self.files.append(sum(1 for _ in Path("/proc/self/fd").iterdir()))

    @property
    def leaks(self) -> list[str]:
        """Describe what has grown beyond its limit."""
        (memory, more_memory), (files, more_files) = self.thirds(self.memory), self.thirds(self.files)
        found = []
        if more_memory > memory + MORE_MEMORY:
            found.append(f"memory grew from {memory:.1f} to {more_memory:.1f} MiB")
        if more_files > files + MORE_FILES:
            found.append(f"open files grew from {files:.0f} to {more_files:.0f}")
        return found

    @staticmethod
    def thirds(samples: list[float]) -> tuple[float, float]:
        """Return the medians of the first and the last third after the warm-up."""
        warm = samples[int(len(samples) * WARM_UP) :]
        third = max(1, len(warm) // 3)
        return median(warm[:third]), median(warm[-third:])
