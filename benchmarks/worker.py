"""``python -m benchmarks.worker``: a process that runs and measures clients.

Each line of its standard input is a request, ``{"client": "module:function", "options": {}, "arguments": {}}``; each
line of its standard output is the result. A client is imported and connected when it is first requested, outside the
measurement.
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


class ReadyClient:
    """A connected client, and the memory of this process after its warm-up."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        module, _, function = name.partition(":")
        self._run = getattr(import_module(f"benchmarks.clients.{module}"), function)(**options)
        self._warm = False
        self._memory = 0

    def measure(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Run the client.

        :return: ``wall`` and ``cpu`` in seconds, ``memory`` in bytes (the peak beyond the resident memory after the
            first run, which is the warm-up), and what the client found
        """
        if self._warm:
            gc.collect()  # takes 0.2 s with Airflow loaded
            self._memory = self._memory or _resident("VmRSS")
        _reset_peak()
        cpu, wall = time.process_time(), time.perf_counter()
        found = self._run(**arguments)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        self._warm = True
        return {"wall": wall, "cpu": cpu, "memory": max(0, _resident("VmHWM") - self._memory), **found}


def serve(requests: TextIO, results: TextIO) -> None:
    """Process requests until the stream ends."""
    clients: dict[str, ReadyClient] = {}
    for line in requests:
        request = json.loads(line)
        name = json.dumps([request["client"], request["options"]])
        if name not in clients:
            clients[name] = ReadyClient(request["client"], request["options"])
        print(json.dumps(clients[name].measure(request["arguments"])), file=results, flush=True)


def _reset_peak() -> None:
    """Reset the peak of resident memory (Linux)."""
    _CLEAR_REFS.write_text("5")


def _resident(field: str) -> int:
    """Return a field of the kernel's memory status of this process, in bytes."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise ValueError(f"{_STATUS} has no field {field}")


if __name__ == "__main__":
    # Output of libraries goes to standard error, so that standard output carries only results.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, channel)
