"""A connection to a mocked Vi, and the log of the task."""

from __future__ import annotations

import logging

import pytest
from requests_mock import Mocker

from tests.documents import wire_page
from tests.tasks import FLOWS, connection
from tests.unit.audit.support import ALL, SIMPLE_FLOWS


@pytest.fixture(autouse=True)
def _connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", connection())


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the export logs."""
    caplog.set_level(logging.INFO)
    return caplog


@pytest.fixture
def vi(requests_mock: Mocker) -> Mocker:
    """Vi with three flows on two pages, one of them on both."""
    requests_mock.get(FLOWS, json=wire_page(*ALL[:2], nextPage="2"))
    requests_mock.get(f"{FLOWS}?p=2", json=wire_page(*ALL[1:]))
    requests_mock.get(SIMPLE_FLOWS, json=wire_page(*({"flowId": each["flowId"]} for each in ALL)))
    requests_mock.get(f"{FLOWS}/gone", status_code=404, json={})
    return requests_mock
