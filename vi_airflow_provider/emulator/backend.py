"""What the application works on: settings, store, fault rules, a colleague and the request log."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Unpack

from vi_airflow_provider.emulator.colleague import Colleague
from vi_airflow_provider.emulator.fault_rules import FaultBook
from vi_airflow_provider.emulator.request_log import RequestLog
from vi_airflow_provider.emulator.settings import Changes, Modes, Settings
from vi_airflow_provider.emulator.store.collection import Clock, system_clock
from vi_airflow_provider.emulator.store.state_file import StateFile
from vi_airflow_provider.emulator.store.store import Store


class Backend:
    """One emulated organization and the way it behaves."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        clock: Clock = system_clock,
        state: str | os.PathLike[str] | None = None,
        host: str = "",
    ) -> None:
        #: What the server was told to listen on.
        self.host = host
        self._initial = self.settings = settings or Settings()
        self.faults = FaultBook()
        self.request_log = RequestLog(self.settings.secret_key)
        state_file = None if state is None else StateFile(state)
        self.store = Store(self.settings.organization_id, self.settings, clock=clock, state_file=state_file)
        self.colleague = Colleague(self.store)
        if not self.store.load():
            self.store.reset(self.settings.flows, self.settings.seed, runs=self.settings.runs)

    def reset(self, **changes: Unpack[Changes]) -> None:
        """Return to the initial settings apart from these changes, with new samples and without rules or requests."""
        self.settings = replace(self._initial, **changes)
        self.faults.clear()
        self.colleague.clear()
        self.request_log.clear()
        self.store.reset(self.settings.flows, self.settings.seed, self.settings, runs=self.settings.runs)

    def configure(self, **modes: Unpack[Modes]) -> None:
        """Change settings and keep everything else."""
        self.settings = replace(self.settings, **modes)
        self.store.behave(self.settings)
