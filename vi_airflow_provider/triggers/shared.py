"""What the triggers of an event loop share: for each connection a client, and a poller for each kind of document."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.gates.client import RefreshingClient
from vi_airflow_provider.gates.outcome import lookup_failure
from vi_airflow_provider.gates.poller import SharedPoller
from vi_airflow_provider.hooks.vi import ViHook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from vi_airflow_provider.api.async_client import AsyncViClient
    from vi_airflow_provider.gates.source import Source

K = TypeVar("K")
D = TypeVar("D")


class _Shared:
    """The client and the pollers of one connection, and the number of triggers that use them."""

    def __init__(self, vi_conn_id: str) -> None:
        self.client = RefreshingClient(partial(_connect, vi_conn_id))
        self.pollers: dict[Source[Any, Any], SharedPoller[Any, Any]] = {}
        self.users = 0

    async def close(self) -> None:
        for poller in self.pollers.values():
            await poller.close()
        await self.client.close()


#: What is shared in each event loop, by connection id.
_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Shared]] = WeakKeyDictionary()


@asynccontextmanager
async def _entered(vi_conn_id: str) -> AsyncIterator[_Shared]:
    by_conn_id = _shared.setdefault(asyncio.get_running_loop(), {})
    shared = by_conn_id.get(vi_conn_id)
    if shared is None:
        shared = by_conn_id[vi_conn_id] = _Shared(vi_conn_id)
    shared.users += 1
    try:
        yield shared
    finally:
        shared.users -= 1
        if not shared.users:
            del by_conn_id[vi_conn_id]
            await shared.close()


@asynccontextmanager
async def shared_client(vi_conn_id: str) -> AsyncIterator[RefreshingClient]:
    """Lend the client of a connection in this event loop; the last trigger to leave closes it."""
    async with _entered(vi_conn_id) as shared:
        yield shared.client


@asynccontextmanager
async def shared_poller(vi_conn_id: str, source: Source[K, D]) -> AsyncIterator[SharedPoller[K, D]]:
    """Lend the poller of a connection for one kind of document; the last trigger to leave closes it."""
    async with _entered(vi_conn_id) as shared:
        if source not in shared.pollers:
            shared.pollers[source] = SharedPoller(shared.client, source)
        yield shared.pollers[source]


async def _connect(vi_conn_id: str) -> AsyncViClient:
    # Importing the client takes a tenth of a second, which would block the event loop.
    await asyncio.to_thread(import_module, "vi_airflow_provider.api.async_client")
    try:
        return await ViHook(vi_conn_id, retry=False).get_async_conn()
    except ViError:
        raise
    except Exception as error:
        failure = lookup_failure(vi_conn_id, error)
    raise failure
