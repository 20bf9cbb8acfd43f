"""A target, and how a run stands to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.stats import Spread


@dataclass(frozen=True)
class Target:
    """What was aimed at, and what was measured.

    :param what: the figure
    :param measured: its median and spread
    :param bound: what the median must not exceed, or must reach if it is a floor
    :param unit: written behind numbers
    :param floor: more is better
    :param moonshot: a bound that nobody counts on
    """

    what: str
    measured: Spread
    bound: float
    unit: str = ""
    floor: bool = False
    moonshot: float | None = None

    @property
    def verdict(self) -> str:
        """Say whether it is met."""
        if not self._reaches(self.bound):
            return "**not met**"
        return "met, moonshot too" if self.moonshot is not None and self._reaches(self.moonshot) else "met"

    def row(self) -> list[str]:
        """Return it as a row of the table."""
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
