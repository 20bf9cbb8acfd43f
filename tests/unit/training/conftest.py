"""Fixtures: a flow to train, and a killed run that is seen to end at once."""

from __future__ import annotations

import pytest

from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.training import starting


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "_KILL_POLL", 0.01)


@pytest.fixture
def flow_id(vi_emulator: Emulator) -> str:
    return vi_emulator.store.flow_ids()[0]
