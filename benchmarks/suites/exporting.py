"""Exporting all flows to a file, compared with the listing that an export needs anyway."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any, Final

from benchmarks.panels import Bar, Panel
from benchmarks.runner import Client
from benchmarks.suites.listing import OURS
from benchmarks.tables import megabytes, spread, table
from benchmarks.targets import Target

if TYPE_CHECKING:
    from benchmarks.results import Results
    from benchmarks.runner import Runner

NAME: Final = "exporting"
TITLE: Final = "Exporting"

EXPORT: Final = "ExportFlowsOperator"
#: Page size (the default), latency, flows.
_SCENARIOS: Final = ((100, 0, 100_000), (100, 30, 100_000))
#: The formats, and the readers of an export, with the default page size.
_OTHERS: Final = "formats and readers"
_CLIENTS: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    (OURS, "provider:list_flows", {}),
    (EXPORT, "provider:export_flows", {}),
    ("ExportFlowsOperator, csv", "provider:export_flows", {"suffix": "csv"}),
    ("ExportFlowsOperator, parquet", "provider:export_flows", {"suffix": "parquet"}),
    ("ExportFlowsOperator, html_report", "provider:export_flows", {"html_report": True}),
    ("audit verify", "provider:check_export", {"command": "verify"}),
    ("audit diff, of equal exports", "provider:check_export", {"command": "diff"}),
)


def measure(runner: Runner) -> None:
    """Export the flows as JSON lines, and list the same flows."""
    for page_size, latency, full in _SCENARIOS:
        flows = runner.plan.size(full)
        options = {"page_size": page_size}
        expected = {"flows": flows, "server_pages": ceil(flows / page_size)}
        clients = [
            Client(EXPORT, "provider:export_flows", options, expected),
            Client(OURS, "provider:list_flows", options, expected),
        ]
        scenario = _scenario(page_size, latency)
        runner.compare(NAME, scenario, clients, flows=flows, latency_ms=latency, rounds=runner.plan.few(2))
    flows = runner.plan.size(100_000)
    clients = [Client(label, run, options, {"flows": flows}) for label, run, options in _CLIENTS]
    runner.compare(NAME, _OTHERS, clients, flows=flows, rounds=1)


def targets(results: Results) -> list[Target]:
    """Compare the export with the listing."""
    return [
        Target(
            f"export {full:,} flows ({scenario}): wall time relative to the bare listing",
            results.ratio(NAME, scenario, EXPORT, OURS, "wall"),
            1.5 if latency else 2.5,
            moonshot=None if latency else 1.5,
        )
        for page_size, latency, full in _SCENARIOS
        for scenario in [_scenario(page_size, latency)]
    ]


def panels(results: Results) -> list[Panel]:
    """Show the wall times of export and listing."""
    bars = [Bar(f"{each.client}, {each.scenario}", each.spread("wall"), True) for each in results.of_suite(NAME)]
    return [Panel("seconds", bars)]


def section(results: Results) -> str:
    """Describe the measurement, and tabulate the results."""
    rows = [
        [
            each.scenario,
            each.client,
            f"{each.size:,}",
            spread(each.spread("wall"), unit=" s"),
            spread(each.spread("cpu", each.size), 1e6),
            megabytes(max(each.values("memory"))),
        ]
        for each in results.of_suite(NAME)
    ]
    head = ["scenario", "client", "flows", "wall", "CPU µs per flow", "extra memory"]
    return f"""\
`ExportFlowsOperator` sorts the flows by id and writes them in full, as canonical JSON with a digest, to the local disk,
with a checksum and a manifest. The bare listing reads id, name and last update, and decodes no other field: it is what
an export needs at least, and most consumers need no more. Without latency, an export therefore costs several listings:
each flow is decoded, encoded in canonical form for the file and again for the digest, hashed twice, and spooled to disk
for sorting, and the ids are listed a second time. With latency, this work overlaps with the transfer of the next page.
A separate profile, which is not part of this run, assigns about 10 µs per flow to fetching a page and splitting it, 10
to checking and decoding, 4 to the canonical form, 6 to the digest, 4 to spooling, 6 to sorting, writing and hashing the
file with its manifest, and 2 to the second pass: about 42 µs, or three bare listings. Staying within two and a half
without latency would require giving up the canonical form or the digests, or distributing the work over several
processes. *Formats and readers* have no latency and the default page size; verifying and comparing read files that were
exported before, which is not measured. The page of `html_report` holds all flows.

{table(head, rows)}"""


def _scenario(page_size: int, latency: int) -> str:
    return f"page size {page_size}, {f'{latency} ms' if latency else 'no latency'}"
