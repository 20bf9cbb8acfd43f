"""The emulator behind a connection without retries, so that no test waits."""

from __future__ import annotations

import json

import pytest

from tests.unit.cleanup.support import Vi
from vi_airflow_provider.emulator import Emulator


@pytest.fixture
def vi(vi_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Vi:
    """Vi with 40 sample flows, and the connection ``vi_default`` to it."""
    extra = {"max_retries": 0, "max_rate_limit_retries": 0, "page_size": 10}
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", json.dumps({**vi_emulator.connection, "extra": extra}))
    return Vi(vi_emulator)
