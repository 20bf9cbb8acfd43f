"""``python -m benchmarks.worker``: a process that measures what it is told to.

Each line of its standard input is an order, ``{"client": "module:function", "options": {}, "arguments": {}}``; each
line of its standard output is what came of it. Imports and connections are made when an order names a client for
the first time, outside of what is measured.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TextIO

_STATUS: Final = Path("/proc/self/status")
_CLEAR_REFS: Final = Path("/proc/self/clear_refs")


class Client:
    """A client that is ready, and how much memory this process used before it first did something."""

    def __init__(self, client: str, options: dict[str, Any]) -> None:
        module, _, function = client.partition(":")
        self._run = getattr(import_module(f"benchmarks.clients.{module}"), function)(**options)
        self._warm = False
        self._memory = 0

    def measure(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Let it run; return ``wall`` and ``cpu`` (seconds), and ``memory`` (bytes at the peak, beyond those after
        the first run, which is for warming up).
        """
        if self._warm:
            gc.collect()  # a fifth of a second, with Airflow loaded
            self._memory = self._memory or _resident("VmRSS")
        _forget_peak()
        cpu, wall = time.process_time(), time.perf_counter()
        found = self._run(**arguments)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        self._warm = True
        return {"wall": wall, "cpu": cpu, "memory": max(0, _resident("VmHWM") - self._memory), **found}


def serve(orders: TextIO, answers: TextIO) -> None:
    """Carry out orders until there are no more."""
    clients: dict[str, Client] = {}
    for line in orders:
        order = json.loads(line)
        name = json.dumps([order["client"], order["options"]])
        if name not in clients:
            clients[name] = Client(order["client"], order["options"])
        print(json.dumps(clients[name].measure(order["arguments"])), file=answers, flush=True)


def _forget_peak() -> None:
    """Let the peak of resident memory begin anew (Linux)."""
    _CLEAR_REFS.write_text("5")


def _resident(field: str) -> int:
    """Return a figure of the kernel's about this process's memory, in bytes."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise ValueError(f"{_STATUS} does not say {field}")


if __name__ == "__main__":
    # What libraries print goes to the log.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, channel)
