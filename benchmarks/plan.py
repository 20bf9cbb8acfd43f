"""How much is measured: all of it, a part, or next to nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Plan:
    """The sizes of a run.

    :param rounds: times that each client runs; it is fewer where a run takes long
    :param scale: what the numbers of flows and gates are multiplied by
    :param poll: seconds between two looks of a gate
    :param gate_seconds: steady state of the waiting gates
    :param imports: fresh processes for each import, beside the first one
    :param smoke: only see that it runs: one process for all, no warming up, fewer scenarios. The figures mean nothing
    """

    rounds: int = 5
    scale: float = 1.0
    poll: float = 5.0
    gate_seconds: float = 20.0
    imports: int = 10
    smoke: bool = False

    def size(self, full: int) -> int:
        """Return the number of flows or gates where the whole benchmark has ``full``."""
        return max(4, round(full * self.scale))

    def few(self, rounds: int) -> int:
        """Return the number of rounds of something that takes long."""
        return min(self.rounds, rounds)


FULL: Final = Plan()
SMOKE: Final = Plan(rounds=1, scale=0.02, poll=0.3, gate_seconds=0.6, imports=0, smoke=True)
