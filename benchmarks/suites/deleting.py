"""Deleting many flows: one round trip each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.panels import Bar, Panel
from benchmarks.runner import Client
from benchmarks.stats import Spread
from benchmarks.tables import spread, table
from benchmarks.targets import Target

if TYPE_CHECKING:
    from benchmarks.results import Results
    from benchmarks.runner import Runner

NAME: Final = "deleting"
TITLE: Final = "Deleting"

_SCENARIO: Final = "30 ms"
_LATENCY: Final = 30
_FLOWS: Final = 1_000
#: A loop takes 30 ms per flow regardless of their number, so fewer flows are enough.
_LOOP_FLOWS: Final = 250
_CONCURRENCY: Final = 8

OURS: Final = f"ViHook.delete_flows, {_CONCURRENCY} at a time"
LOOP: Final = "loop over ViHook.delete_flow"
SDK: Final = "loop over vi-sdk"


def measure(runner: Runner) -> None:
    """Delete sequentially and concurrently."""
    flows, loop = runner.plan.size(_FLOWS), runner.plan.size(_LOOP_FLOWS)
    at_a_time = {"count": flows, "concurrency": _CONCURRENCY}
    clients = [
        Client(OURS, "provider:delete_flows", at_a_time, _expected(flows), flows),
        Client(LOOP, "provider:delete_one_by_one", {"count": loop}, _expected(loop), loop),
        Client(SDK, "sdk:delete_one_by_one", {"count": loop}, _expected(loop), loop),
    ]
    rounds = runner.plan.few(3)
    runner.compare(
        NAME,
        _SCENARIO,
        clients,
        flows=flows,
        latency_ms=_LATENCY,
        rounds=rounds,
        warm_up=flows,
        in_turns=True,
    )


def _expected(count: int) -> dict[str, int]:
    return {"deleted": count, "server_deletes": count, "server_deleted": count, "server_gets": 0}


def targets(results: Results) -> list[Target]:
    """Compare the time with the limit set by latency, and the CPU with the SDK's."""
    ours = results.get(NAME, _SCENARIO, OURS)
    limit = ours.size * _LATENCY / 1000 / _CONCURRENCY
    wall = Spread.of([seconds / limit for seconds in ours.values("wall")])
    what = f"delete {ours.size:,} flows at 30 ms, {_CONCURRENCY} at a time"
    return [
        Target(f"{what}: wall time relative to the limit set by latency", wall, 1.1),
        Target(f"{what}: CPU per flow relative to the SDK loop", results.ratio(NAME, _SCENARIO, OURS, SDK, "cpu"), 0.5),
    ]


def panels(results: Results) -> list[Panel]:
    """Show wall time and CPU per flow."""
    rows = results.of_suite(NAME)
    wall = [Bar(each.client, each.spread("wall", each.size / 1e3), each.client != SDK) for each in rows]
    cpu = [Bar("", each.spread("cpu", each.size / 1e3), each.client != SDK) for each in rows]
    return [Panel("milliseconds per flow", wall, _LATENCY / _CONCURRENCY), Panel("CPU milliseconds per flow", cpu)]


def section(results: Results) -> str:
    """Describe the measurement, and tabulate the results."""
    rows = [
        [
            each.client,
            f"{each.size:,}",
            spread(each.spread("wall", each.size), 1e3, " ms"),
            spread(each.spread("cpu", each.size), 1e3, " ms"),
            f"{max(each.values('server_connections')):.0f}",
        ]
        for each in results.of_suite(NAME)
    ]
    return f"""\
Each delete is one request with a latency of {_LATENCY} ms. The loops delete fewer flows, as their time per flow does
not depend on the number.

{table(["client", "flows", "wall per flow", "CPU per flow", "connections opened"], rows)}"""
