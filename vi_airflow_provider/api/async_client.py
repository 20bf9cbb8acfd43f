"""``AsyncViClient``: carries the protocol's requests with ``aiohttp``, on an event loop."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

import aiohttp
from pydantic import BaseModel
from yarl import URL

from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.api.models import DeletedFlow, Flow, FlowPage, FlowSpec, GuardedWrite, SimpleFlow
from vi_airflow_provider.api.protocol.codec import RawPage, Scan, flow_page
from vi_airflow_provider.api.protocol.flows import ViProtocol
from vi_airflow_provider.api.protocol.messages import (
    Failure,
    FailureKind,
    Response,
    Send,
    Steps,
    root_failure,
    system_reason,
)
from vi_airflow_provider.api.protocol.paging import Paginator
from vi_airflow_provider.api.settings import ViSettings
from vi_airflow_provider.api.validation import checked_count, checked_id

T = TypeVar("T")
R = TypeVar("R")
M = TypeVar("M", bound=BaseModel)

#: Bytes of a line in the head of an answer, as in Python's own HTTP client.
_MAX_LINE: Final = 1 << 16

#: What the library's exceptions mean, where the operating system has not said it; the first that fits counts.
_KINDS: Final = (
    (aiohttp.ClientConnectorError, FailureKind.CONNECT),
    (aiohttp.ConnectionTimeoutError, FailureKind.CONNECT_TIMEOUT),
    (TimeoutError, FailureKind.TIMEOUT),
    (aiohttp.ClientResponseError, FailureKind.INVALID),
)


class AsyncViClient:
    """Calls the Vi API for one organization, on the event loop in which it is first used.

    :param settings: whom and how to call
    :param max_connections: requests in flight at most; further ones wait for their turn
    :param sleep: waits for a number of seconds between attempts
    """

    def __init__(
        self,
        settings: ViSettings,
        *,
        max_connections: int = 16,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.settings = settings
        self._protocol = ViProtocol(settings)
        self._max_connections = max_connections
        self._sleep = sleep
        self._session: aiohttp.ClientSession | None = None
        self._proxy = settings.proxy_url()
        self._fetches: set[asyncio.Task[Any]] = set()

    def list_flows(self, *, page_size: int | None = None, limit: int | None = None) -> AsyncIterator[Flow]:
        """Yield all flows, newest first, as they are consumed; the next page is fetched meanwhile, no further one."""
        return self._documents(self._protocol.walk_flows(page_size, limit))

    async def iter_flow_pages(
        self, *, page_size: int | None = None, page_token: str | None = None
    ) -> AsyncIterator[FlowPage]:
        """Yield the pages of the listing, from the one behind ``page_token`` on."""
        walk = self._protocol.walk_flows(page_size, token=page_token)
        while (steps := walk.next_page()) is not None:
            yield flow_page(await self._run(steps))

    def list_simple_flows(self, *, page_size: int | None = None, limit: int | None = None) -> AsyncIterator[SimpleFlow]:
        """Yield id and name of all flows."""
        return self._documents(self._protocol.walk_simple_flows(page_size, limit))

    async def get_flow(self, flow_id: str) -> Flow:
        """Return one flow; :class:`ViNotFoundError` where there is none."""
        return await self._run(self._protocol.get_flow(flow_id))

    async def flow_exists(self, flow_id: str) -> bool:
        """Tell whether a flow exists."""
        return await self._run(self._protocol.flow_exists(flow_id))

    async def find_flow(
        self, *, flow_id: str | None = None, name: str | None = None, training_project: str | None = None
    ) -> Flow | None:
        """Return the flow with this id, or the latest one of this name; ``None`` where there is none."""
        steps = self._protocol.find_flow(flow_id=flow_id, name=name, training_project=training_project)
        return await self._run(steps)

    async def scan_flows(
        self, flow_ids: Collection[str], names: Collection[str | None], max_pages: int | None = None
    ) -> Scan:
        """Read the listing for flows of these ids or names, all of them in one go."""
        return await self._run(self._protocol.scan_flows(flow_ids, names, max_pages))

    async def delete_flow(self, flow_id: str) -> DeletedFlow:
        """Delete a flow; one that is absent already is no error."""
        return await self._run(self._protocol.delete_flow(flow_id))

    async def delete_flows(self, flow_ids: Iterable[str], *, concurrency: int = 8) -> list[DeletedFlow]:
        """Delete flows, several at a time, and return what became of each, in the order of the ids.

        After the first failure no further delete is begun, and those under way are waited for.

        :param concurrency: so many at a time; more than the client has connections wait for one
        :raises ViValidationError: something is no id; nothing is deleted then
        :raises ViError: a flow could not be deleted; one that was deleted is ``already_absent`` the next time
        """
        ids = [checked_id(flow_id) for flow_id in flow_ids]
        failures: list[ViError] = []

        async def delete(flow_id: str) -> DeletedFlow | None:
            try:
                return None if failures else await self.delete_flow(flow_id)
            except ViError as error:
                failures.append(error)
                return None

        deleted = await each(ids, delete, checked_count(concurrency, "concurrency", 1))
        if failures:
            raise failures[0]
        return [flow for flow in deleted if flow is not None]

    async def create_flow(
        self,
        spec: FlowSpec | Mapping[str, Any],
        *,
        attributes: Mapping[str, str] | None = None,
        flow_id: str | None = None,
    ) -> Flow:
        """Create a flow under a new id, or under ``flow_id``, where it replaces what may be there."""
        return await self._run(self._protocol.put_flow(flow_id, spec, attributes))

    async def replace_flow(
        self, flow_id: str, spec: FlowSpec | Mapping[str, Any], *, attributes: Mapping[str, str] | None = None
    ) -> Flow:
        """Replace spec and attributes of a flow as a whole."""
        return await self._run(self._protocol.put_flow(checked_id(flow_id), spec, attributes))

    async def update_flow(
        self,
        flow_id: str,
        *,
        spec: FlowSpec | Mapping[str, Any] | None = None,
        attributes: Mapping[str, str | None] | None = None,
    ) -> Flow:
        """Change the given fields of the spec and the given attributes; an attribute of ``None`` is removed."""
        return await self._run(self._protocol.patch_flow(flow_id, spec, attributes))

    async def restore_flow(self, document: Mapping[str, Any]) -> Flow:
        """Write a flow as it was read (``Flow.to_wire()``): under its id, with the fields that we do not know."""
        return await self._run(self._protocol.restore_flow(document))

    async def delete_flow_if(self, flow_id: str, matches: Callable[[Flow], bool]) -> DeletedFlow | Flow:
        """Delete a flow only while it matches; return the flow, untouched, if it does not.

        Each attempt to delete is preceded by a read: a retry never deletes what somebody changed meanwhile.

        :raises ViConflictError: the flow is in use by a run
        """
        return await self._run(self._protocol.delete_flow_if(flow_id, matches))

    async def put_flow_if(
        self,
        flow_id: str,
        spec: FlowSpec | Mapping[str, Any],
        attributes: Mapping[str, str] | None = None,
        *,
        matches: Callable[[Flow | None], bool],
    ) -> GuardedWrite:
        """Create or replace a flow only while what is there, or ``None``, matches.

        Each attempt to write is preceded by a read: a retry never overwrites what somebody changed meanwhile.
        """
        return await self._run(self._protocol.put_flow_if(flow_id, spec, attributes, matches=matches))

    async def restore_flow_if(
        self, document: Mapping[str, Any], matches: Callable[[Flow | None], bool]
    ) -> GuardedWrite:
        """Write a flow as it was read, only while what is there, or ``None``, matches; see :meth:`put_flow_if`."""
        return await self._run(self._protocol.restore_flow_if(document, matches))

    async def close(self) -> None:
        """Close the connections to the server, and end what is being fetched ahead."""
        fetches = list(self._fetches)
        for fetch in fetches:
            fetch.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _documents(self, walk: Paginator[M]) -> AsyncIterator[M]:
        # One page ahead of the consumer, and never further; as PagePrefetcher does it with threads.
        ahead: asyncio.Task[RawPage[M]] | None = None
        try:
            while True:
                if ahead is None:
                    if (steps := walk.next_page()) is None:
                        return
                    ahead = self._begin(steps)
                try:
                    page = await ahead
                except asyncio.CancelledError:
                    if not ahead.cancelled() or (asyncio.current_task() or ahead).cancelling():
                        raise
                    ahead = None  # close() has ended it: fetch it anew
                    continue
                ahead = None
                for number, document in enumerate(page.documents()):
                    if number == 1 and (steps := walk.next_page()) is not None:
                        ahead = self._begin(steps)
                    yield document
        finally:
            if ahead is not None:
                ahead.cancel()

    def _begin(self, steps: Steps[T]) -> asyncio.Task[T]:
        task = asyncio.create_task(self._run(steps))
        self._fetches.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._fetches.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also where the consumer has gone

    async def _run(self, steps: Steps[T]) -> T:
        reply: Response | Failure | None = None
        while True:
            try:
                step = steps.send(reply)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            if isinstance(step, Send):
                reply = await self._send(step)
            else:
                await self._sleep(step.seconds)
                reply = None

    async def _send(self, send: Send) -> Response | Failure:
        request = send.request
        outer = sys.exception()
        status = None
        try:
            session = await self._opened()
            async with session.request(
                request.method,
                URL(request.url, encoded=True),
                headers=request.headers,
                data=request.body,
                proxy=self._proxy,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=send.timeout,
                    sock_connect=self.settings.connect_timeout,
                    sock_read=self.settings.read_timeout,
                ),
            ) as response:
                status = response.status
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > send.max_bytes:
                        response.close()  # do not read the rest to keep the connection
                        return Failure(FailureKind.TOO_LARGE, f"more than {send.max_bytes:,} bytes", status)
                headers = {name.lower(): ", ".join(response.headers.getall(name)) for name in response.headers}
                return Response(status, headers, bytes(body))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # Returned, not raised: a traceback through the library's frames could show the headers.
            failure = _failure(error, outer, status)
            # Through a proxy, the only name that is resolved here is the proxy's.
            of_proxy = self._proxy and failure.kind is FailureKind.NAME_RESOLUTION
            return replace(failure, kind=FailureKind.PROXY) if of_proxy else failure

    async def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            # Reading a CA bundle takes tens of milliseconds, which the event loop does not have.
            context: ssl.SSLContext | bool = True
            if "https" in {urlsplit(url).scheme for url in (self.settings.endpoint, self._proxy or "")}:
                context = await asyncio.to_thread(_ssl_context, self.settings.ca_bundle())
            if self._session is None:
                self._session = aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(ssl=context, limit=self._max_connections),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    max_field_size=_MAX_LINE,
                    max_line_size=_MAX_LINE,
                )
                # aiohttp would send a GET, PUT or DELETE a second time by itself, unseen by the protocol.
                self._session._retry_connection = False
        return self._session


async def each(items: Iterable[T], act: Callable[[T], Awaitable[R]], concurrency: int) -> list[R]:
    """Act on each item, on at most ``concurrency`` at a time, and return the results in the items' order."""
    queue = list(enumerate(items))[::-1]
    results: dict[int, R] = {}

    async def worker() -> None:
        while queue:
            index, item = queue.pop()
            results[index] = await act(item)

    async with asyncio.TaskGroup() as workers:
        for _ in range(min(concurrency, len(queue))):
            workers.create_task(worker())
    return [results[index] for index in range(len(results))]


def _ssl_context(ca_bundle: str | bool) -> ssl.SSLContext | bool:
    if isinstance(ca_bundle, bool):
        return ca_bundle
    if Path(ca_bundle).is_dir():
        return ssl.create_default_context(capath=ca_bundle)
    return ssl.create_default_context(cafile=ca_bundle)


def _failure(error: Exception, outer: BaseException | None, status: int | None) -> Failure:
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        said = f"{error.status} {error.message}" if isinstance(error, aiohttp.ClientHttpProxyError) else ""
        return Failure(FailureKind.PROXY, system_reason(error, outer) or said)
    if known := root_failure(error, outer):
        return known
    kind = next((meaning for kind, meaning in _KINDS if isinstance(error, kind)), FailureKind.BROKEN)
    return Failure(kind, system_reason(error, outer), status)
