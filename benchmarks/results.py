"""The raw figures of a run: written once, read by the report. They are stored before anything is computed."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.stats import Spread, ratios

if TYPE_CHECKING:
    from benchmarks.plan import Plan

PATH: Final = Path(__file__).with_name("results.json")
_PACKAGES: Final = (
    "vi-airflow-provider",
    "vi-sdk",
    "apache-airflow",
    "apache-airflow-providers-http",
    "requests",
    "aiohttp",
    "httpx",
    "pydantic",
    "msgspec",
)


@dataclass(frozen=True)
class Measurement:
    """The figures of one client in one scenario, per round.

    :param suite: name of the suite
    :param scenario: conditions, such as page size and latency
    :param client: label of the client
    :param size: number of flows or gates
    :param latency_ms: latency of the server
    :param rounds: the figures of each round, in seconds and bytes
    """

    suite: str
    scenario: str
    client: str
    size: int
    latency_ms: float
    rounds: list[dict[str, Any]]

    def values(self, name: str) -> list[float]:
        """Return a figure of each round."""
        return [row[name] for row in self.rounds]

    def spread(self, name: str, per: float = 1.0) -> Spread:
        """Return median, minimum and maximum of a figure, divided by ``per``."""
        return Spread.of([value / per for value in self.values(name)])


@dataclass(frozen=True)
class Results:
    """All results of a run."""

    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    plan: dict[str, Any]
    measurements: list[Measurement]

    @classmethod
    def of(cls, plan: Plan, measurements: list[Measurement]) -> Results:
        """Add today's date, this machine and the installed versions to measurements."""
        versions = {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
        return cls(f"{datetime.now(UTC):%Y-%m-%d}", _machine(), versions, asdict(plan), measurements)

    @classmethod
    def load(cls, path: Path = PATH) -> Results:
        """Read stored results."""
        content = json.loads(path.read_text())
        return cls(**content | {"measurements": [Measurement(**each) for each in content["measurements"]]})

    def save(self, path: Path = PATH) -> None:
        """Store the results."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @property
    def digest(self) -> str:
        """Identify the run; its plots contain this digest."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def of_suite(self, suite: str) -> list[Measurement]:
        """Return the measurements of a suite, in the order of the run."""
        return [each for each in self.measurements if each.suite == suite]

    def find(self, suite: str, scenario: str, client: str) -> Measurement | None:
        """Return one measurement, ``None`` if the run was made before it was added."""
        same = (
            each for each in self.measurements if (each.suite, each.scenario, each.client) == (suite, scenario, client)
        )
        return next(same, None)

    def get(self, suite: str, scenario: str, client: str) -> Measurement:
        """Return one measurement.

        :raises KeyError: it was not measured
        """
        if (found := self.find(suite, scenario, client)) is None:
            raise KeyError(f"{suite}, {scenario}, {client}")
        return found

    def ratio(self, suite: str, scenario: str, client: str, other: str, figure: str) -> Spread:
        """Compare a figure per flow or gate of two clients in a scenario, round by round."""
        ours, theirs = self.get(suite, scenario, client), self.get(suite, scenario, other)
        return ratios(
            [value / ours.size for value in ours.values(figure)],
            [value / theirs.size for value in theirs.values(figure)],
        )


def _machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cpu": _cpu(), "cores": os.cpu_count(), "memory_gb": round(memory / 1e9), "system": platform.platform()}


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
