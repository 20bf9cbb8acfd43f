"""What a suite provides; each module in ``benchmarks.suites`` is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from benchmarks.panels import Panel
    from benchmarks.results import Results
    from benchmarks.runner import Runner
    from benchmarks.targets import Target


class Suite(Protocol):
    """A kind of work that is measured, and how the page presents it."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a constant of the module
        """Identify the suite in the results, on the command line and in the name of its plot."""

    @property
    def TITLE(self) -> str:  # noqa: N802 - a constant of the module
        """Return the heading of its section."""

    def measure(self, runner: Runner, /) -> None:
        """Make the measurements."""

    def targets(self, results: Results, /) -> list[Target]:
        """Compare the measurements with the targets."""

    def panels(self, results: Results, /) -> list[Panel]:
        """Return what its plot shows."""

    def section(self, results: Results, /) -> str:
        """Return its part of the page: how it was measured, and a table."""
