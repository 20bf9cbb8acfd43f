"""What the application works on: settings, store, fault rules and the request log."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TypedDict, Unpack

from vi_airflow_provider.emulator.fault_rules import FaultBook
from vi_airflow_provider.emulator.request_log import RequestLog
from vi_airflow_provider.emulator.settings import Settings
from vi_airflow_provider.emulator.store.state_file import StateFile
from vi_airflow_provider.emulator.store.store import Clock, Store, system_clock


class Changes(TypedDict, total=False):
    """The settings that a reset can change; identity and credentials stay."""

    flows: int
    seed: int
    latency_ms: float
    page_cap: int
    run_seconds: float


class Backend:
    """One emulated organization and the way it behaves."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        clock: Clock = system_clock,
        state: str | os.PathLike[str] | None = None,
    ) -> None:
        self._initial = self.settings = settings or Settings()
        self.faults = FaultBook()
        self.request_log = RequestLog(self.settings.secret_key)
        self.store = Store(
            self.settings.organization_id,
            clock=clock,
            run_seconds=self.settings.run_seconds,
            state_file=None if state is None else StateFile(state),
        )
        if not self.store.load():
            self.store.reset(self.settings.flows, self.settings.seed)

    def reset(self, **changes: Unpack[Changes]) -> None:
        """Return to the initial settings (apart from these changes), with new samples and without faults or log."""
        self.settings = replace(self._initial, **changes)
        self.faults.clear()
        self.request_log.clear()
        self.store.reset(self.settings.flows, self.settings.seed, run_seconds=self.settings.run_seconds)
