"""The client of a task that waits in a worker: an edit of the connection is in force within a minute.

A wait for a run may take days, in which keys are rotated, proxies move and CA files are replaced in place. Each call
uses the connection as ``gates.client`` keeps it, as on the triggerer.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.gates.client import RefreshingClient
from vi_airflow_provider.gates.outcome import lookup_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vi_airflow_provider.api.models import Run, RunLogs
    from vi_airflow_provider.api.settings import ViSettings


@dataclass
class WaitingClient:
    """The calls of a wait for a run; nothing is retried, because the wait has a pace of its own.

    :param vi_conn_id: id of the connection, for messages
    :param read: reads the connection; called in a thread, as an event loop must not wait for Airflow
    """

    vi_conn_id: str
    read: Callable[[], ViSettings]

    async def __aenter__(self) -> Self:
        self._client = RefreshingClient(self._connect)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def get_run(self, run_id: str) -> Run:
        """Return one run."""
        return await self._client.call(lambda client: client.get_run(run_id))

    async def update_run(self, run_id: str, *, attributes: Mapping[str, str | None] | None = None) -> Run:
        """Change attributes of a run."""
        return await self._client.call(lambda client: client.update_run(run_id, attributes=attributes))

    async def get_run_logs(self, run_id: str, *, since: str | None = None) -> RunLogs:
        """Return a part of a run's log."""
        return await self._client.call(lambda client: client.get_run_logs(run_id, since=since))

    async def _connect(self) -> AsyncViClient:
        try:
            settings = await asyncio.to_thread(self.read)
        except ViError:
            raise
        except Exception as error:
            failure: Any = lookup_failure(self.vi_conn_id, error)
        else:
            return AsyncViClient(settings.without_retries())
        raise failure
