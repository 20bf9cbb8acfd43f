"""Fixtures: a clean environment, one event loop for all proxies and one for all clients, and certificates."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator, Mapping

import pytest

from tests.certificates import Authority
from tests.reliability.fault_proxy import ConnectMode, LoopThread
from tests.unit.conftest import _plain_environment

__all__ = ["_plain_environment"]


@pytest.fixture(scope="session")
def loop_thread() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.stop()


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="session")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The CA that the client trusts."""
    return Authority(tmp_path_factory.mktemp("trusted"), "ca")


@pytest.fixture(scope="session")
def certificates(trusted: Authority, tmp_path_factory: pytest.TempPathFactory) -> Mapping[ConnectMode, ssl.SSLContext]:
    """The certificate for each mode of connecting."""
    unknown = Authority(tmp_path_factory.mktemp("unknown"), "unknown-ca")
    return {
        ConnectMode.ACCEPT: trusted.server("127.0.0.1"),
        ConnectMode.WRONG_HOST: trusted.server("127.0.0.2"),
        ConnectMode.UNKNOWN_CA: unknown.server("127.0.0.1"),
    }
