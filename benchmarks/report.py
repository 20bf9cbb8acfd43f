"""Render ``docs/performance.md`` from ``benchmarks/results.json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks import scale
from benchmarks.processes import ROOT
from benchmarks.registry import SUITES
from benchmarks.suites import listing
from benchmarks.tables import table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.results import Results
    from benchmarks.suite import Suite

PAGE: Final = ROOT / "docs" / "performance.md"


def measured(results: Results) -> list[Suite]:
    """Return the suites that were measured; stored results may be older than a suite."""
    return [suite for suite in SUITES if results.of_suite(suite.NAME)]


def verdicts(results: Results) -> str:
    """Return the table of targets of the suites that were measured."""
    rows = [target.row() for suite in measured(results) for target in suite.targets(results)]
    return table(["what", "target", "measured", "verdict"], rows)


def page(results: Results) -> str:
    """Render the page."""
    machine, plan = results.machine, results.plan
    sections = "\n".join(_section(suite, results) for suite in measured(results))
    versions = table(["package", "version"], [[name, version] for name, version in results.versions.items()])
    return f"""<!-- Written by `python -m benchmarks report` from benchmarks/results.json. Do not edit. -->

# Performance

The cost of this provider compared with the vendor's SDK (`vi-sdk`) and Airflow's HTTP provider, measured in one run on
one machine. Only the ratios carry over to other machines. To run it yourself (half an hour, no account needed):

```bash
make bench
```

## Targets

{verdicts(results)}
Each figure is the median of the rounds, followed by the minimum and maximum. Ratios are computed per round.

## How it is measured

- **Machine**: {machine["cpu"]}, {machine["cores"]} cores, {machine["memory_gb"]} GB; {machine["system"]}.
- **Date**: {results.date}.{_reduced(plan)}
- **Flows** have 8 blocks and about 4.1 KB of JSON each.
- **Server**: a separate process that sends slices of precomputed bytes and parses only the request line. To show that
  it is not the bottleneck, a raw socket that reads the same pages in the same rounds must be at least
  {listing.MARGIN:g} times as fast as the fastest client; the table above contains its speed.
- **Rounds**: {plan["rounds"]}, fewer for scenarios that take long. The clients take turns (A B C A B C), so that a
  disturbance of the machine affects all of them. Each runs in a process of its own with Airflow loaded, as in a task,
  and warms up on a small organization first: imports and connection set-up are not measured.
- **CPU** is user plus system time of the client's process. **Extra memory** is the peak resident memory beyond that
  after the warm-up, the maximum of all rounds.
- **Checks**: each client must find every flow with exactly the number of requests that the page size requires;
  otherwise the run fails.
- **The SDK at its best**: its log file, by default at level DEBUG, is switched off. Retries are at their defaults for
  all clients.

{versions}
{sections}
{scale.section(results)}
## Limits

- Everything runs on one machine over loopback, without TLS, a proxy or limited bandwidth.
- The latency is added by the server, whose timer contributes up to a millisecond.
- The real service has not been measured. The gain of larger pages depends on the page sizes that it allows.
- Figures vary between runs with the load of the machine; the spread shows by how much.
"""


def _reduced(plan: Mapping[str, Any]) -> str:
    """Return a remark if the run was scaled, as the headings name the full numbers of flows and gates."""
    return "" if plan["scale"] == 1 else f" A reduced run: {plan['scale']:.0%} of the named flows and gates."


def _section(suite: Suite, results: Results) -> str:
    return f"""## {suite.TITLE}

![{suite.TITLE}](performance/{suite.NAME}.svg)

{suite.section(results)}"""
