"""The size of a run: full, scaled, or a smoke test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Plan:
    """The parameters of a run.

    :param rounds: runs per client; fewer for scenarios that take long
    :param scale: factor for the numbers of flows and gates
    :param poll: poll interval of a gate in seconds
    :param gate_seconds: length of the measurement of waiting gates
    :param imports: fresh processes for each import, in addition to a first one that compiles
    :param smoke: check only that everything runs: one process for all clients, no warm-up, fewer scenarios. The figures
        are meaningless
    """

    rounds: int = 5
    scale: float = 1.0
    poll: float = 5.0
    gate_seconds: float = 15.0
    imports: int = 10
    smoke: bool = False

    def size(self, full: int) -> int:
        """Scale the number of flows or gates of the full benchmark."""
        return max(4, round(full * self.scale))

    def few(self, rounds: int) -> int:
        """Return the number of rounds of a scenario that takes long, at most ``rounds``."""
        return min(self.rounds, rounds)


FULL: Final = Plan()
SMOKE: Final = Plan(rounds=1, scale=0.02, poll=0.3, gate_seconds=0.6, imports=0, smoke=True)
