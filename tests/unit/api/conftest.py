"""A client over a mocked transport, and both clients over real sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.transports import settings_for
from tests.unit.api.asking import Ask, ask_async_client, ask_client
from vi_airflow_provider.api.client import ViClient


@pytest.fixture
def vi() -> Iterator[ViClient]:
    with ViClient(settings_for("https://vi.example", page_size=10), sleep=lambda _: pytest.fail("it waited")) as client:
        yield client


@pytest.fixture(params=[ask_client, ask_async_client], ids=["ViClient", "AsyncViClient"])
def ask(request: pytest.FixtureRequest) -> Ask:
    found: Ask = request.param
    return found


@pytest.fixture
def unused_port() -> Iterator[int]:
    with socket.socket() as bound:  # bound and not listening: it refuses, and no other process gets it
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
