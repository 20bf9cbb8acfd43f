"""A clock that stands still, a store on it, and a bare HTTP client for a running emulator."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.emulator.store.store import Store

ORGANIZATION = "e0e0e0e0-0000-4000-8000-000000000001"
NOW = 1_783_209_600_000


class FakeClock:
    """Milliseconds that pass when told to."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += int(seconds * 1000)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One fresh connection a request, so that nothing of one test's faults is left for the next request."""

    def __init__(self, emulator: Emulator) -> None:
        self.address = emulator.url.removeprefix("http://")
        self.root = f"/workspaces/{emulator.organization_id}"
        self.headers = {
            "Authorization": f"Bearer {emulator.secret_key}",
            "Organization-Id": emulator.organization_id,
        }

    def __call__(
        self, method: str, path: str, body: object = None, headers: dict[str, str | None] | None = None
    ) -> Answer:
        """`path` is below the workspace unless it starts with `//`; a header that is None is left out."""
        target = path[1:] if path.startswith("//") else self.root + path
        merged = {**self.headers, **(headers or {})}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection = http.client.HTTPConnection(self.address, timeout=10)
        try:
            sent = {name: value for name, value in merged.items() if value is not None}
            connection.request(method, target, data, sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def walk(self, path: str = "/flows", size: int = 10) -> Iterator[dict[str, Any]]:
        """All pages of a listing, one by one."""
        page = self("GET", f"{path}?s={size}").json
        yield page
        while page["nextPage"]:
            page = self("GET", f"{path}?p={page['nextPage']}&s={size}").json
            yield page


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> Store:
    return Store(ORGANIZATION, clock=clock, run_seconds=100)


@pytest.fixture(scope="session")
def _server() -> Iterator[Emulator]:
    with Emulator(flows=0) as emulator:
        yield emulator


@pytest.fixture
def emulator(_server: Emulator) -> Emulator:
    """A running emulator without flows."""
    _server.reset()
    return _server


@pytest.fixture
def client(emulator: Emulator) -> Client:
    return Client(emulator)


@pytest.fixture
def client_of() -> Callable[[Emulator], Client]:
    return Client


@pytest.fixture
def spec() -> dict[str, Any]:
    """A valid flow spec with fields that nobody knows."""
    return {
        "name": "Schweißnaht 溶接",
        "schema": "v1",
        "tolerations": {"spot": ["preemption"]},
        "settings": {"seed": 7, "ratio": 1.0, "tiny": 5e-05, "big": 12345678901234567890},
        "blocks": [{"block": "dataset", "settings": {"a": None}, "style": {}, "future": [1, {"x": True}]}],
        "trainingProject": None,
        "futureField": {"deep": ["ok"]},
    }
