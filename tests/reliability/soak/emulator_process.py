"""The emulator in a process of its own: faults are set through its control API; flows are read without our client."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any, Final, Self

from vi_airflow_provider.emulator.settings import DEFAULT_ORGANIZATION_ID, DEFAULT_SECRET_KEY

FAULT_RATE: Final = 0.1
#: Read timeout of the clients in seconds; one of the faults takes longer.
READ_TIMEOUT: Final = 5.0

#: The faults and their weights. "Applied" means that the change was made before the response was corrupted, so that the
#: client cannot know. No change is applied *after* the timeout of the client, because the state of a flow would then be
#: unpredictable for the model.
FAULTS: Final[Mapping[str, tuple[float, Mapping[str, Any]]]] = {
    "500, not applied": (1, {"status": 500}),
    "502, not applied": (1, {"status": 502}),
    "503 with Retry-After, not applied": (1, {"status": 503, "retry_after": "1"}),
    "500, applied": (1, {"status": 500, "when": "after"}),
    "504, applied": (1, {"status": 504, "when": "after"}),
    "429 with Retry-After": (1.5, {"status": 429, "retry_after": "1"}),
    "connection reset, not applied": (1, {"drop": True}),
    "connection reset, applied": (1, {"drop": True, "when": "after"}),
    "truncated response, applied": (1, {"truncate": True}),
    "delayed by 0.3 s": (1, {"latency_ms": 300}),
    "delayed beyond the timeout, applied": (0.1, {"latency_ms": 1000 * READ_TIMEOUT + 500, "when": "after"}),
}


class EmulatorProcess:
    """An emulator without flows, for the duration of a `with` block.

    :param seed: selects the requests with a fault
    """

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vi_airflow_provider.emulator", "--port", "0", "--flows", "0"],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C must reach only this process, which stops the emulator after the clients
        )
        assert self._process.stdout is not None
        self.url = next(line.split()[1] for line in self._process.stdout if line.startswith("url: "))
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def connection(self, **extra: Any) -> str:
        """Return an Airflow connection as JSON."""
        fields = {"host": self.url, "login": DEFAULT_ORGANIZATION_ID, "password": DEFAULT_SECRET_KEY}
        return json.dumps({"conn_type": "vi", **fields, "extra": extra})

    def inject_faults(self) -> None:
        """Corrupt one response in ten from now on."""
        total = sum(weight for weight, _ in FAULTS.values())
        left = 1.0
        for weight, rule in FAULTS.values():
            share = FAULT_RATE * weight / total
            # A rule is evaluated only if no earlier rule applies.
            fault = {**rule, "times": None, "probability": share / left, "seed": self._rng.randrange(2**31)}
            self._call("POST", "/_emulator/faults", fault)
            left -= share

    def stop_faults(self) -> None:
        """Remove all faults."""
        self._call("DELETE", "/_emulator/faults")

    def faults(self) -> tuple[int, dict[str, int]]:
        """Return the number of requests since `inject_faults`, and the number of each fault."""
        rules = self._call("GET", "/_emulator/faults")["faults"]
        return rules[0]["matched"], {name: rule["fired"] for name, rule in zip(FAULTS, rules, strict=True)}

    def plan_runs(self, seconds: float, scenarios: Mapping[str, str]) -> None:
        """Set the scenario and the duration of runs that start from now on.

        :param scenarios: by a regular expression for the id of the run
        """
        for run, scenario in scenarios.items():
            self._call("POST", "/_emulator/plans", {"run": run, "scenario": scenario, "run_seconds": seconds})

    def bill(self) -> dict[str, Any]:
        """Return how often each run was started."""
        runs: dict[str, Any] = self._call("GET", "/_emulator/bill")["runs"]
        return runs

    def run(self, run_id: str) -> Any:
        """Return the wire document of a run."""
        return self._call("GET", f"/workspaces/{DEFAULT_ORGANIZATION_ID}/runs/{run_id}")

    def documents(self) -> Iterator[dict[str, Any]]:
        """Yield the wire documents of all flows."""
        token: str | None = ""
        while token is not None:
            page = self._call("GET", f"/workspaces/{DEFAULT_ORGANIZATION_ID}/flows?s=1000{token and f'&p={token}'}")
            yield from page["items"]
            token = page["nextPage"]

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - our own http:// address
            self.url + path,
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {DEFAULT_SECRET_KEY}", "Organization-Id": DEFAULT_ORGANIZATION_ID},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            content = response.read()
        return json.loads(content) if content else None
