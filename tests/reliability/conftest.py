"""A machine without proxies and CAs of its own, and a loop for all lines and one for all clients of a test run."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator, Mapping

import pytest

from tests.certificates import Authority
from tests.reliability.fault_proxy import Background, Door
from tests.unit.conftest import _plain_environment

__all__ = ["_plain_environment"]


@pytest.fixture(scope="session")
def background() -> Iterator[Background]:
    background = Background()
    yield background
    background.stop()


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="session")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The CA that the connection trusts."""
    return Authority(tmp_path_factory.mktemp("trusted"), "ca")


@pytest.fixture(scope="session")
def certificates(trusted: Authority, tmp_path_factory: pytest.TempPathFactory) -> Mapping[Door, ssl.SSLContext]:
    """What a server shows at each door."""
    unknown = Authority(tmp_path_factory.mktemp("unknown"), "unknown-ca")
    return {
        Door.OPEN: trusted.server("127.0.0.1"),
        Door.WRONG_HOST: trusted.server("127.0.0.2"),
        Door.UNKNOWN_CA: unknown.server("127.0.0.1"),
    }
