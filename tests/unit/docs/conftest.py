"""Fixtures: a Vi with the flows of the samples behind ``vi_default``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests_mock
import time_machine

from tests.documents import SECRET_KEY
from tests.unit.docs.vi_server import ENDPOINT, NOW, NOW_MS, OLD_MS, Vi, connect


@pytest.fixture
def vi(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vi]:
    """A Vi with the flow of the samples, on 1 October 2026."""
    vi = Vi()
    vi.add("flow_abc123")

    def respond(request: requests_mock.request._RequestObjectProxy, context: Any) -> str:
        assert request.headers["Authorization"] == f"Bearer {SECRET_KEY}"
        body = request.json() if request.body else None
        context.status_code, document = vi.respond(request.method, request.url, body)
        return "" if document is None else json.dumps(document)

    connect(monkeypatch)
    with requests_mock.Mocker() as mocker, time_machine.travel(NOW, tick=True):
        mocker.register_uri(requests_mock.ANY, re.compile(f"{ENDPOINT}/workspaces/"), text=respond)
        yield vi


@pytest.fixture
def busy_vi(vi: Vi) -> Vi:
    """The same Vi with three more flows: one in use, one old, one new."""
    vi.add("flow_in_use", "In use")
    vi.add("tmp-1", "tmp-1", timeCreated=OLD_MS, lastUpdated=OLD_MS)
    vi.add("new", "New", timeCreated=NOW_MS - 24 * 3600 * 1000)
    return vi
