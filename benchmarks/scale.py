"""What a large deployment costs, computed from the measurements: a section of the page, with its formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks.suites import exporting, gates, listing, runs
from benchmarks.tables import number, table
from benchmarks.watching import requests_per

if TYPE_CHECKING:
    from benchmarks.results import Measurement, Results

_FLOWS: Final = 100_000
_WAITS: Final = 10_000
_ORGANIZATIONS: Final = 50
#: Seconds between two polls in the model: the default of the sensors and triggers.
_INTERVAL: Final = 60
#: Triggers that Airflow gives to a triggerer unless its configuration has another number.
_CAPACITY: Final = 1_000
_NOT_MEASURED: Final = "not measured"


class _Cost(NamedTuple):
    """CPU seconds of a poll of one wait, its bytes, and the requests of all waits in a poll interval."""

    cpu: float
    memory: float
    requests: float


def section(results: Results) -> str:
    """Compute the table."""
    interval = results.plan["poll"]
    gate = _cost(results.find(gates.NAME, "5,000 gates, 1,000 flows", gates.OURS), interval)
    run = _cost(results.find(runs.NAME, "5,000 runs", runs.OURS), interval)
    rows = [*_listing_rows(results), *_wait_rows("gates", gate, pages_grow=False)]
    rows += _wait_rows("waiting runs", run, pages_grow=True)
    return f"""\
## A model of scale

What {_FLOWS:,} flows, {_WAITS:,} gates and {_WAITS:,} waiting runs cost on this machine with a latency of
{listing.LATENCY} ms, computed from the figures above. Waits poll every {_INTERVAL} s. The cost of a poll is that of the
scenario with 5,000 waits in an organization of 1,000 flows, which poll every {interval:g} s.

{table(["what", "formula", "value"], rows)}
**Organizations.** Each connection has its own client and poller. {_ORGANIZATIONS} organizations therefore open at most
{_ORGANIZATIONS} times 16 connections in a triggerer, and send {_ORGANIZATIONS} times the requests for the pages of a
listing of flows, which do not depend on the number of gates. Several triggerers do not share results either, so each of
them reads a page. The cost of {_ORGANIZATIONS} organizations in one event loop is {_NOT_MEASURED}.

**Limits.** Waits for names, and for flows that exist, read the whole listing or fetch each flow (see
[many gates](gating.md#many-gates)): their cost grows with the number of pages, or of flows. Nothing beyond 5,000 waits
in one event loop, 100,000 flows in one listing and one triggerer is measured; the model assumes that the cost grows in
proportion. Rate limits of the service are unknown.
"""


def _cost(measured: Measurement | None, interval: float) -> _Cost | None:
    if measured is None:
        return None
    polls = measured.size / interval
    cpu = measured.spread("steady_cpu").median / measured.spread("steady_seconds").median / polls
    requests = requests_per(measured, interval).median
    return _Cost(cpu, measured.spread("memory").median / measured.size, requests)


def _wait_rows(what: str, cost: _Cost | None, *, pages_grow: bool) -> list[list[str]]:
    """Compute the rows of one kind of waits.

    :param pages_grow: the pages that a poll reads hold the documents that are waited for
    """
    grow = f" of 5,000 waits * {_WAITS:,} / 5,000" if pages_grow else ""
    formulas = {
        "CPU seconds per minute": f"CPU of a poll * {_WAITS:,} * 60 / {_INTERVAL}",
        "memory": f"memory of a wait * {_WAITS:,}",
        "requests per minute": f"requests in a poll interval{grow} * 60 / {_INTERVAL}",
        "triggerers of Airflow's default capacity": f"{_WAITS:,} / {_CAPACITY:,}",
    }
    values = [_NOT_MEASURED] * 3
    if cost is not None:
        per_minute = 60 / _INTERVAL
        memory = f"{cost.memory * _WAITS / 1e6:,.0f} MB"
        values = [
            number(cost.cpu * _WAITS * per_minute),
            memory,
            number(cost.requests * (_WAITS / 5_000 if pages_grow else 1) * per_minute),
        ]
    values.append(f"{_WAITS // _CAPACITY}")
    rows = zip(formulas.items(), values, strict=True)
    return [[f"{_WAITS:,} {what}: {key}", formula, value] for (key, formula), value in rows]


def _listing_rows(results: Results) -> list[list[str]]:
    listed = results.find(listing.NAME, listing.DEFAULTS, listing.OURS)
    exports = (each for each in results.of_suite(exporting.NAME) if each.client == exporting.EXPORT and each.latency_ms)
    exported = next(exports, None)
    rows = []
    for what, measured in (("listing", listed), ("export", exported)):
        for figure, unit in (("cpu", "CPU seconds"), ("wall", "seconds")):
            formula = f"{unit} of a flow * {_FLOWS:,}"
            value = _NOT_MEASURED
            if measured is not None:
                value = number(measured.spread(figure, measured.size).median * _FLOWS)
            rows.append([f"{what} of {_FLOWS:,} flows: {unit}", formula, value])
    return rows
