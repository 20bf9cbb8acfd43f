"""Targets, and whether a run meets them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.stats import Spread


@dataclass(frozen=True)
class Target:
    """A bound on a figure, and the measured value.

    :param what: description of the figure
    :param measured: its median and spread
    :param bound: upper bound of the median, or lower bound if ``floor``
    :param unit: suffix of the numbers
    :param floor: higher is better
    :param moonshot: an ambitious bound that is not expected to be met
    """

    what: str
    measured: Spread
    bound: float
    unit: str = ""
    floor: bool = False
    moonshot: float | None = None

    @property
    def verdict(self) -> str:
        """Describe whether the target is met."""
        if not self._reaches(self.bound):
            return "**not met**"
        return "met, moonshot too" if self.moonshot is not None and self._reaches(self.moonshot) else "met"

    def row(self) -> list[str]:
        """Return the row of the table of targets."""
        sign = "≥" if self.floor else "≤"
        moonshot = "" if self.moonshot is None else f" (moonshot {sign} {self.moonshot:g}{self.unit})"
        measured = (
            f"{self._text(self.measured.median)} ({self._text(self.measured.low)} to {self._text(self.measured.high)})"
        )
        return [self.what, f"{sign} {self.bound:g}{self.unit}{moonshot}", measured, self.verdict]

    def _text(self, value: float) -> str:
        return f"{value:.3g}{self.unit}" if abs(value) < 100 else f"{value:,.0f}{self.unit}"

    def _reaches(self, bound: float) -> bool:
        return self.measured.median >= bound if self.floor else self.measured.median <= bound
