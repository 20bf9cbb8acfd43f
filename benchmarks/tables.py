"""Markdown tables, and numbers as they stand in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.stats import Spread


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table whose first column is text and whose others are numbers."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)) + "\n"


def spread(figure: Spread, factor: float = 1.0, unit: str = "") -> str:
    """Write a median and, if there were several rounds, the least and the greatest."""
    middle, low, high = (number(value * factor) for value in figure)
    return f"{middle}{unit}" if low == high else f"{middle}{unit} ({low} to {high})"


def number(value: float) -> str:
    """Write a number with three digits that mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def megabytes(value: float) -> str:
    """Write an amount of memory."""
    return f"{value / 1e6:.1f} MB"
