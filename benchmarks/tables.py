"""Markdown tables, and the format of their numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.stats import Spread


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a table; columns after the first are aligned right."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)) + "\n"


def spread(figure: Spread, factor: float = 1.0, unit: str = "") -> str:
    """Format a median and, if the rounds differ, minimum and maximum."""
    middle, low, high = (number(value * factor) for value in figure)
    return f"{middle}{unit}" if low == high else f"{middle}{unit} ({low} to {high})"


def number(value: float) -> str:
    """Format a number with three significant digits."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def megabytes(value: float) -> str:
    """Format an amount of memory."""
    return f"{value / 1e6:.1f} MB"
