"""A store on a clock that tests move, and a running emulator with a client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.emulator.support import ORGANIZATION, Client, ClientFactory, FakeClock
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.emulator.store.behaviour import Behaviour
from vi_airflow_provider.emulator.store.store import Store


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> Store:
    return Store(ORGANIZATION, Behaviour(run_seconds=100), clock=clock)


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
def client_of() -> ClientFactory:
    return Client


@pytest.fixture
def spec() -> dict[str, Any]:
    """A valid flow spec with unknown fields."""
    return {
        "name": "Schweißnaht 溶接",
        "schema": "v1",
        "tolerations": {"spot": ["preemption"]},
        "settings": {"seed": 7, "ratio": 1.0, "tiny": 5e-05, "big": 12345678901234567890},
        "blocks": [{"block": "dataset", "settings": {"a": None}, "style": {}, "future": [1, {"x": True}]}],
        "trainingProject": None,
        "futureField": {"deep": ["ok"]},
    }


@pytest.fixture
def vi(clock: FakeClock) -> Iterator[Emulator]:
    """An emulator whose runs take 100 seconds, 10 of them in the queue."""
    with Emulator(flows=0, clock=clock, run_seconds=100) as emulator:
        yield emulator


@pytest.fixture
def api(vi: Emulator, client_of: ClientFactory) -> Client:
    return client_of(vi)


@pytest.fixture
def body(spec: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"flow": spec}}
