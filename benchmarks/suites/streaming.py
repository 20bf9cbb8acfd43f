"""Streaming a large organization: memory must not grow with the number of flows."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final

from benchmarks.panels import Bar, Panel
from benchmarks.runner import Client
from benchmarks.stats import Spread
from benchmarks.suites.listing import OURS, SDK
from benchmarks.tables import megabytes, spread, table
from benchmarks.targets import Target

if TYPE_CHECKING:
    from benchmarks.results import Results
    from benchmarks.runner import Runner

NAME: Final = "streaming"
TITLE: Final = "Streaming 100,000 flows"

_SIZES: Final = (25_000, 100_000)
_PAGE_SIZE: Final = 100
_DEFAULTS: Final = f"{OURS}, default page size"


def measure(runner: Runner) -> None:
    """List a large organization and one of a quarter of its size, each in a process of its own."""
    for full in _SIZES:
        flows = runner.plan.size(full)
        options = {"page_size": _PAGE_SIZE}
        expected = {"flows": flows, "server_pages": ceil(flows / _PAGE_SIZE)}
        clients = [
            Client(OURS, "provider:list_flows", options, expected),
            Client(_DEFAULTS, "provider:list_flows", {}, {"flows": flows}),
            Client(SDK, "sdk:list_flows", options, expected),
        ]
        runner.compare(NAME, _scenario(full), clients, flows=flows, rounds=runner.plan.few(2))


def targets(results: Results) -> list[Target]:
    """Bound the memory, and its growth with pages of one size."""
    small, large = (results.get(NAME, _scenario(size), OURS).values("memory") for size in _SIZES)
    growing = results.find(NAME, _scenario(_SIZES[-1]), _DEFAULTS)
    growth = [(more - less) / 1e6 for less, more in zip(small, large, strict=True)]
    what = "list 100,000 flows, streaming"
    defaults = (
        [] if growing is None else [Target(f"{what}, defaults: extra memory", growing.spread("memory", 1e6), 10, " MB")]
    )
    return [
        *defaults,
        Target(f"{what}: extra memory", Spread.of([each / 1e6 for each in large]), 10, " MB"),
        Target("growth of this memory from 25,000 to 100,000 flows", Spread.of(growth), 1, " MB"),
    ]


def panels(results: Results) -> list[Panel]:
    """Show the extra memory."""
    bars = [
        Bar(f"{each.client}, {each.scenario}", each.spread("memory", 1e6), each.client in (OURS, _DEFAULTS))
        for each in results.of_suite(NAME)
    ]
    return [Panel("extra memory, MB", bars)]


def section(results: Results) -> str:
    """Describe the measurement, and tabulate the results."""
    rows = [
        [
            f"{each.size:,}",
            each.client,
            megabytes(max(each.values("memory"))),
            spread(each.spread("wall"), unit=" s"),
        ]
        for each in results.of_suite(NAME)
    ]
    return f"""\
All flows are listed, and each is discarded after reading; page size {_PAGE_SIZE} or the default, no latency. With
the default, the hashes of the ids are kept, 8 bytes each, in case that the listing has to begin again.

{table(["flows", "client", "maximum extra memory", "wall"], rows)}"""


def _scenario(full: int) -> str:
    return f"{full:,} flows"
