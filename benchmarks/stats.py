"""Statistics of the raw figures: medians, spreads, ratios and growth."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Spread(NamedTuple):
    """The median, minimum and maximum of several rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarize values of several rounds."""
        return cls(median(values), min(values), max(values))


def percentile(values: Sequence[float], percent: float) -> float:
    """Return a percentile by the nearest-rank method."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def ratios(values: Sequence[float], others: Sequence[float]) -> Spread:
    """Divide round by round, as both figures of a round are measured within half a minute."""
    return Spread.of([value / other for value, other in zip(values, others, strict=True)])


def exponent(seconds: Mapping[int, float]) -> float:
    """Return the exponent of growth by least squares on logarithms: 1 is linear, 2 quadratic."""
    points = [(math.log(size), math.log(time)) for size, time in seconds.items()]
    x, y = (sum(axis) / len(points) for axis in zip(*points, strict=True))
    slope: float = sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)
    return slope
