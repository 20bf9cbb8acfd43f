"""The vendor's client, kept away from the real home directory.

Importing the SDK makes a folder in the home directory and every client logs there, keys included,
so all of this happens in a temporary home.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from vi_airflow_provider.emulator import Emulator


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("VI_ENABLE_FILE", "false")
        yield importlib.import_module("vi")


@pytest.fixture
def client_of(sdk: ModuleType, vi_emulator: Emulator) -> Iterator[Callable[..., Any]]:
    """Make clients; the SDK's retries stay, but they do not wait."""
    retry = importlib.import_module("vi.client.http.retry")
    clients = []

    def make(**changes: Any) -> Any:
        credentials = {"secret_key": vi_emulator.secret_key, "organization_id": vi_emulator.organization_id}
        config = retry.RetryConfig(base_delay=0.001, max_delay=0.001)
        client = sdk.Client(**{**credentials, **changes}, endpoint=vi_emulator.url, retry_config=config)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(client_of: Callable[..., Any]) -> Any:
    return client_of()
