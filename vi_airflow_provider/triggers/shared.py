"""One poller per event loop and connection, shared by all triggers that wait on that connection."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.sdk import AirflowNotFoundException

from vi_airflow_provider.api.errors import ViConfigurationError
from vi_airflow_provider.gates.poller import SharedPoller
from vi_airflow_provider.hooks.vi import ViHook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from vi_airflow_provider.api.async_client import AsyncViClient

#: The pollers of each event loop by connection id, with the number of triggers that share each.
_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, tuple[SharedPoller, int]]] = WeakKeyDictionary()


@asynccontextmanager
async def shared_poller(vi_conn_id: str) -> AsyncIterator[SharedPoller]:
    """Lend the poller of a connection in this event loop; the last trigger to leave closes it."""
    pollers = _shared.setdefault(asyncio.get_running_loop(), {})
    poller, users = pollers.get(vi_conn_id, (None, 0))
    poller = poller or SharedPoller(partial(_connect, vi_conn_id))
    pollers[vi_conn_id] = (poller, users + 1)
    try:
        yield poller
    finally:
        _, users = pollers[vi_conn_id]
        if users > 1:
            pollers[vi_conn_id] = (poller, users - 1)
        else:
            del pollers[vi_conn_id]
            await poller.close()


async def _connect(vi_conn_id: str) -> AsyncViClient:
    # Importing the client takes a tenth of a second, which would block the event loop.
    await asyncio.to_thread(import_module, "vi_airflow_provider.api.async_client")
    try:
        return await ViHook(vi_conn_id, retry=False).get_async_conn()
    except AirflowNotFoundException as error:
        raise ViConfigurationError(str(error)) from error
