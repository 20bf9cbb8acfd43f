"""The contents of a plot: groups of bars, one bar per measurement, with the spread of its rounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.stats import Spread


class Bar(NamedTuple):
    """One bar; ``ours`` selects the colour of this provider."""

    label: str
    value: Spread
    ours: bool


@dataclass(frozen=True)
class Panel:
    """Bars on one axis.

    :param axis: label of the axis, with the unit
    :param target: value at which a line is drawn
    """

    axis: str
    bars: Sequence[Bar]
    target: float | None = None
