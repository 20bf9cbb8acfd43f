"""What runs cost: how often each was started, and how long it occupied a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vi_airflow_provider.emulator.store.schema import Document


@dataclass
class _Account:
    starts: int = 0
    retired_ms: int = 0
    puts: list[int] = field(default_factory=list)


class Bill:
    """One account per run id that was PUT; deleting or restarting a run does not reduce it."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}

    def put(self, run_id: str, at: int) -> None:
        """Record a PUT, whatever it does."""
        self._accounts.setdefault(run_id, _Account()).puts.append(at)

    def start(self, run_id: str) -> None:
        """Record that a run begins."""
        self._accounts[run_id].starts += 1

    def retire(self, run_id: str, running_ms: int) -> None:
        """Record the time of a run that is deleted, restarted or lost."""
        if (account := self._accounts.get(run_id)) is not None:
            account.retired_ms += running_ms

    def clear(self) -> None:
        """Remove all accounts."""
        self._accounts.clear()

    def total(self, current_ms: Mapping[str, int]) -> Document:
        """The bill; `current_ms` is the time of the runs that still exist."""
        return {
            run_id: {
                "starts": account.starts,
                "seconds": (account.retired_ms + current_ms.get(run_id, 0)) / 1000,
                "puts": list(account.puts),
            }
            for run_id, account in self._accounts.items()
        }
