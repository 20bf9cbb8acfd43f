"""``docs/performance.md``: everything on it comes from ``benchmarks/results.json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks.processes import ROOT
from benchmarks.registry import SUITES
from benchmarks.suites import listing
from benchmarks.tables import table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.results import Results
    from benchmarks.suite import Suite

PAGE: Final = ROOT / "docs" / "performance.md"


def verdicts(results: Results) -> str:
    """Return the table of the targets, of those suites that were measured."""
    measured = [suite for suite in SUITES if results.of_suite(suite.NAME)]
    rows = [target.row() for suite in measured for target in suite.targets(results)]
    return table(["what", "target", "measured", "verdict"], rows)


def page(results: Results) -> str:
    """Return the whole page."""
    machine, plan = results.machine, results.plan
    sections = "\n".join(_section(suite, results) for suite in SUITES)
    versions = table(["package", "version"], [[name, version] for name, version in results.versions.items()])
    return f"""<!-- Written by `python -m benchmarks report` from benchmarks/results.json. Do not edit. -->

# Performance

What this provider costs beside the vendor's SDK (`vi-sdk`) and Airflow's HTTP provider, measured in one run on one
machine. Only the ratios mean anything elsewhere. Run it yourself; it takes some minutes and needs no account:

```bash
make bench
```

## Targets

{verdicts(results)}
Each figure is the median of the rounds, with the least and the greatest behind it. A ratio is taken round by round.

## How it is measured

- **Machine**: {machine["cpu"]}, {machine["cores"]} cores, {machine["memory_gb"]} GB; {machine["system"]}.
- **Date**: {results.date}.{_reduced(plan)}
- **Flows** have 8 blocks and about 4.1 KB of JSON each.
- **Server**: a process of its own that sends slices of finished bytes and parses nothing but the request line. A raw
  socket that reads the same pages in the same rounds must be at least {listing.MARGIN:g} times as fast as the fastest
  client; the table above says how fast it was.
- **Rounds**: {plan["rounds"]}, fewer where one takes long. The clients take turns (A B C A B C), so that what
  disturbs the machine disturbs them all. Each has a process of its own, which has Airflow loaded, as in a task, and
  warms up on a small organization first: imports and connections are not counted.
- **CPU** is user and system time of the client's process. **Extra memory** is the peak of its resident memory beyond
  that after the warm-up, the greatest of all rounds.
- **Checks**: each client must find every flow, with exactly the requests that the page size demands, or there is no
  figure.
- **The SDK at its best**: its log file, which it writes at level DEBUG by default, is switched off. Its retries, as
  ours, are as they come.

{versions}
{sections}
## Limits

- Everything runs on one machine over loopback: there is no TLS, no proxy, and no bandwidth to share.
- The latency is added by the server, whose timer adds up to a millisecond of its own.
- Nobody has measured the real service. How large a page it allows decides how much a larger page can save.
- The figures of a run differ from those of the next by what else the machine does; the spread says how much.
"""


def _reduced(plan: Mapping[str, Any]) -> str:
    """Say so if the numbers of flows and gates are not those that the headings name."""
    return "" if plan["scale"] == 1 else f" A reduced run: {plan['scale']:.0%} of the flows and gates that are named."


def _section(suite: Suite, results: Results) -> str:
    return f"""## {suite.TITLE}

![{suite.TITLE}](performance/{suite.NAME}.svg)

{suite.section(results)}"""
