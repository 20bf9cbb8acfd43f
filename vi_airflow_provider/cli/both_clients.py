"""The client of commands that also send many requests at a time. Its module loads the asynchronous client."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.cli.connection import CountingClient, lend


class BothClients(CountingClient):
    """The blocking client, which opens an asynchronous one for the same settings, as ``ViHook`` does."""

    async def get_async_conn(self) -> AsyncViClient:
        """Return a new asynchronous client, which the caller closes."""
        return AsyncViClient(self.settings)


def open_both_clients(arguments: Any, what: str = "") -> AbstractContextManager[BothClients]:
    """Lend the clients of a command; parameters as of :func:`~vi_airflow_provider.cli.connection.lend`."""
    return lend(BothClients, arguments, what)
