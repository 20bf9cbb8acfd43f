"""What a plot shows: groups of bars, one to a measurement, with the spread of its rounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.stats import Spread


class Bar(NamedTuple):
    """One bar; ``ours`` is drawn in another colour than those of others."""

    label: str
    value: Spread
    ours: bool


@dataclass(frozen=True)
class Panel:
    """Bars on one axis.

    :param axis: what it shows, with its unit
    :param target: where a line is drawn
    """

    axis: str
    bars: Sequence[Bar]
    target: float | None = None
