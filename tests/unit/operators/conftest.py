"""Every test has a connection without retries, so that none of them waits."""

from __future__ import annotations

import pytest

from tests.tasks import connection


@pytest.fixture(autouse=True)
def _connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", connection())
