"""The emulator behind a connection without retries, so that no test waits, and the arguments of a cleanup."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cleanup.support import Vi
from vi_airflow_provider.emulator import Emulator


@pytest.fixture
def vi(vi_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Vi:
    """Vi with 40 sample flows, and the connection ``vi_default`` to it."""
    extra = {"max_retries": 0, "max_rate_limit_retries": 0, "page_size": 10}
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", json.dumps({**vi_emulator.connection, "extra": extra}))
    return Vi(vi_emulator)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the archives."""
    return tmp_path / "archive"


@pytest.fixture
def for_real(folder: Path) -> dict[str, Any]:
    """The arguments of a task that deletes."""
    return {"dry_run": False, "archive_to": folder.as_uri()}


@pytest.fixture
def task_log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The log records of the task."""
    caplog.set_level(logging.INFO, "vi_airflow_provider.cleanup")
    return caplog
