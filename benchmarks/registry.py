"""The suites, in the order in which they run and appear on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.suites import deleting, exporting, first_call, gates, imports, listing, operators, runs, streaming

if TYPE_CHECKING:
    from benchmarks.suite import Suite

SUITES: Final[tuple[Suite, ...]] = (
    listing,
    streaming,
    deleting,
    exporting,
    gates,
    runs,
    imports,
    first_call,
    operators,
)
