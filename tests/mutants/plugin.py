"""A pytest plugin: mutmut forks a process for each mutant, and what it has loaded is shared until it is written to."""

from __future__ import annotations

import gc


def pytest_sessionfinish() -> None:
    """Keep the garbage collector of the forked processes from writing to every object, which would copy it."""
    gc.freeze()
