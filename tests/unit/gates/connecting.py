"""The client in use for a connection, as a gate sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.unit.gates.virtual import VirtualClock
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.gates.client import RefreshingClient
from vi_airflow_provider.triggers.shared import shared_client


def host_of(client: AsyncViClient) -> str:
    return client.settings.endpoint


async def host_in_use(client: RefreshingClient) -> str:
    async def ask(client: AsyncViClient) -> str:
        return host_of(client)

    return await client.call(ask)


def using(clock: VirtualClock, what: Callable[[RefreshingClient], Any]) -> Any:
    async def main() -> Any:
        async with shared_client("vi_default") as client:
            return await what(client)

    return clock.run(main())
