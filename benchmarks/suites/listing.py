"""Listing all flows, at several page sizes and latencies, and with the defaults of each client."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final

from benchmarks.panels import Bar, Panel
from benchmarks.runner import Client
from benchmarks.stats import Spread
from benchmarks.tables import megabytes, spread, table
from benchmarks.targets import Target

if TYPE_CHECKING:
    from benchmarks.results import Measurement, Results
    from benchmarks.runner import Runner

NAME: Final = "listing"
TITLE: Final = "Listing"

OURS: Final = "ViHook.list_flows"
OURS_EVERY: Final = f"{OURS}, every field read"
SDK: Final = "vi-sdk"
SDK_EVERY: Final = f"{SDK}, every field read"
HTTP: Final = "HttpOperator"
SOCKET: Final = "socket, bytes only"

LATENCY: Final = 30
MAIN: Final = "page size 100, no latency"
DEFAULTS: Final = f"defaults, {LATENCY} ms"
#: Page size, latency, flows; fewer flows where the round trips would take minutes.
_SCENARIOS: Final = (
    (100, 0, 10_000),
    (10, 0, 10_000),
    (500, 0, 10_000),
    (100, LATENCY, 5_000),
    (10, LATENCY, 1_000),
    (500, LATENCY, 10_000),
)
_BRIEFLY: Final = tuple(each for each in _SCENARIOS if each[:2] in ((100, 0), (10, LATENCY)))
_DEFAULT_FLOWS: Final = 3_000
#: Minimum speed of a raw socket relative to the fastest client; below it, the server is the bottleneck.
MARGIN: Final = 3.0


def measure(runner: Runner) -> None:
    """Run all clients at each page size and latency, then the two typed clients with their defaults."""
    for page_size, latency, full in _BRIEFLY if runner.plan.smoke else _SCENARIOS:
        flows = runner.plan.size(full)
        rounds = runner.plan.rounds if latency == 0 else runner.plan.few(3)
        scenario = f"page size {page_size}, {f'{latency} ms' if latency else 'no latency'}"
        clients = _clients(flows, page_size, every=scenario == MAIN)
        runner.compare(NAME, scenario, clients, flows=flows, latency_ms=latency, rounds=rounds)
    flows = runner.plan.size(_DEFAULT_FLOWS)
    clients = [
        Client(OURS, "provider:list_flows", {}, {"flows": flows}),
        Client(SDK, "sdk:list_flows", {}, {"flows": flows}),
    ]
    runner.compare(NAME, DEFAULTS, clients, flows=flows, latency_ms=LATENCY, rounds=runner.plan.few(3))


def _clients(flows: int, page_size: int, *, every: bool) -> list[Client]:
    pages = ceil(flows / page_size)
    size = {"page_size": page_size}
    all_fields = size | {"everything": True}
    expected = {"flows": flows, "server_pages": pages}
    typed = [Client(OURS, "provider:list_flows", size, expected), Client(SDK, "sdk:list_flows", size, expected)]
    readers = [
        Client(OURS_EVERY, "provider:list_flows", all_fields, expected),
        Client(SDK_EVERY, "sdk:list_flows", all_fields, expected),
    ]
    others = [
        Client(HTTP, "http_provider:list_flows", size, expected),
        Client(SOCKET, "raw:list_pages", size, {"pages_read": pages, "server_pages": pages}),
    ]
    return typed + (readers if every else []) + others


def server_margin(results: Results) -> Spread:
    """Return the speed of the raw socket relative to the fastest client, per round."""
    rows = [each for each in results.of_suite(NAME) if each.scenario == MAIN]
    clients = [each.values("wall") for each in rows if each.client != SOCKET]
    socket = next(each for each in rows if each.client == SOCKET).values("wall")
    return Spread.of([min(each) / limit for *each, limit in zip(*clients, socket, strict=True)])


def targets(results: Results) -> list[Target]:
    """Compare with the SDK: CPU per flow, and wall time with default settings."""
    cpu = results.ratio(NAME, MAIN, OURS, SDK, "cpu")
    wall = results.ratio(NAME, DEFAULTS, SDK, OURS, "wall")
    return [
        Target("list, page size 100, no latency: CPU per flow relative to the SDK", cpu, 0.67, moonshot=0.4),
        Target(
            "list, page size 100, every field read: CPU per flow relative to the SDK",
            results.ratio(NAME, MAIN, OURS_EVERY, SDK_EVERY, "cpu"),
            0.7,
        ),
        Target("list, default settings, 30 ms: speed relative to the SDK", wall, 30, floor=True),
        Target(
            "check of the server: a raw socket's speed over the fastest client's",
            server_margin(results),
            MARGIN,
            floor=True,
        ),
    ]


def panels(results: Results) -> list[Panel]:
    """Show the CPU per flow, and the wall time with default settings."""
    work = [
        Bar(each.client, each.spread("cpu", each.size / 1e6), each.client in (OURS, OURS_EVERY))
        for each in results.of_suite(NAME)
        if each.scenario == MAIN
    ]
    defaults = [
        Bar(each.client, each.spread("wall"), each.client == OURS)
        for each in results.of_suite(NAME)
        if each.scenario == DEFAULTS
    ]
    return [Panel(f"CPU µs per flow, {MAIN}", work), Panel(f"seconds, {DEFAULTS}", defaults)]


def section(results: Results) -> str:
    """Describe the measurement, and tabulate the results."""
    rows = [_row(results, each) for each in results.of_suite(NAME)]
    head = [
        "scenario",
        "client",
        "flows",
        "CPU µs per flow",
        "wall µs per flow",
        "speed relative to SDK",
        "extra memory",
    ]
    every = results.ratio(NAME, MAIN, OURS_EVERY, SDK_EVERY, "cpu")
    cpu = f"{every.median:.2f} times the CPU of the SDK ({every.low:.2f} to {every.high:.2f})"
    return f"""\
All flows are listed, and id, name and last update of each are read; with *every field read*, also each setting and
style of each block. `ViHook.list_flows` and the SDK's `client.flows.list().all_items()` yield typed flows;
`HttpOperator` returns what its response filter selects from the parsed JSON. *Socket* reads the bytes without parsing
them. Scenarios with latency have fewer flows where the round trips would take minutes.

{table(head, rows)}
Reading every field of every flow costs {cpu}.

With the defaults, a round trip fetches 10 flows with the SDK. Here, it fetches 100 flows first and then what about
2 MB hold, so the first flow arrives early and latency matters little.
"""


def _row(results: Results, each: Measurement) -> list[str]:
    speed = results.ratio(NAME, each.scenario, SDK, each.client, "wall")
    return [
        each.scenario,
        each.client,
        f"{each.size:,}",
        spread(each.spread("cpu", each.size), 1e6),
        spread(each.spread("wall", each.size), 1e6),
        spread(speed),
        megabytes(max(each.values("memory"))),
    ]
