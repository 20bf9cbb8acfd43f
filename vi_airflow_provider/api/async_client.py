"""``AsyncViClient``: carries out the protocol's steps with ``aiohttp``, on an event loop."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

import aiohttp
from pydantic import BaseModel
from yarl import URL

from vi_airflow_provider.api.protocol.codec import RawPage
from vi_airflow_provider.api.protocol.messages import (
    Concurrently,
    Failure,
    FailureKind,
    Reply,
    Response,
    Send,
    Sleep,
    Steps,
)
from vi_airflow_provider.api.protocol.paging import Paginator
from vi_airflow_provider.api.settings import ViSettings
from vi_airflow_provider.api.transport import aiohttp_failures
from vi_airflow_provider.api.transport.aiohttp_protocol import Connector
from vi_airflow_provider.api.transport.concurrency import map_concurrently
from vi_airflow_provider.api.transport.content_coding import Body, TooLargeError
from vi_airflow_provider.api.transport.failures import without_frames
from vi_airflow_provider.api.transport.strict_http import MalformedResponseError, check_framing, check_headers
from vi_airflow_provider.api.verbs import AwaitableVerbs, ViProtocol

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

#: Bytes of one line in the head of a response, as in Python's own HTTP client.
_MAX_LINE: Final = 1 << 16

#: What belongs to a parent process, kept because collecting it would close connections and touch its event loop.
_INHERITED: Final[list[object]] = []


class AsyncViClient(AwaitableVerbs):
    """Calls the Vi API for one organization, on the event loop in which it is first used.

    :param settings: where, as whom and how patiently to call
    :param max_connections: requests in flight at most; further ones wait
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
        self._pid = os.getpid()
        self._proxy = settings.proxy_url()
        self._fetches: set[asyncio.Task[Any]] = set()

    def _check_process(self) -> None:
        """Leave the session behind after a fork: sockets shared with the parent would mix up the responses."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            _INHERITED.append((self._session, self._fetches))
            self._session, self._fetches = None, set()

    async def close(self) -> None:
        """Close the connections to the server, and end the prefetches in flight."""
        self._check_process()
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

    @property
    def _calls(self) -> ViProtocol:
        return self._protocol

    async def _documents(self, paginator: Paginator[M]) -> AsyncIterator[M]:
        # At most one page ahead of the consumer, like PagePrefetcher with threads.
        ahead: asyncio.Task[RawPage[M]] | None = None
        try:
            while True:
                if ahead is None:
                    if (steps := paginator.next_page()) is None:
                        return
                    ahead = self._begin(steps)
                try:
                    page = await ahead
                except asyncio.CancelledError:
                    if not ahead.cancelled() or (asyncio.current_task() or ahead).cancelling():
                        raise
                    ahead = None  # close() has ended it: fetch the page again
                    continue
                ahead = None
                for number, document in enumerate(paginator.documents(page)):
                    if number == 1 and paginator.prefetch and (steps := paginator.next_page()) is not None:
                        ahead = self._begin(steps)
                    yield document
        finally:
            if ahead is not None:
                ahead.cancel()

    def _begin(self, steps: Steps[T]) -> asyncio.Task[T]:
        task = asyncio.create_task(self._run(steps))
        self._fetches.add(task)
        task.add_done_callback(self._end)
        return task

    def _end(self, task: asyncio.Task[Any]) -> None:
        self._fetches.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, even if the consumer has stopped

    async def _run(self, steps: Steps[T]) -> T:
        reply: Reply = None
        while True:
            try:
                step = steps.send(reply)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            match step:
                case Send():
                    reply = await self._send(step)
                case Sleep(seconds):
                    await self._sleep(seconds)
                    reply = None
                case Concurrently(calls, limit):
                    reply = await map_concurrently(calls, self._run, limit)

    async def _send(self, send: Send) -> Response | Failure:
        outer = sys.exception()
        status = None
        try:
            session = await self._opened()
            async with session.request(
                send.request.method,
                URL(send.request.url, encoded=True),
                headers=send.request.headers,
                data=send.request.body,
                proxy=self._proxy,
                allow_redirects=False,
                timeout=self._timeouts(send.timeout),
            ) as response:
                status = response.status
                return await _read(response, send)
        except aiohttp_failures.ERRORS as error:
            # Returned, not raised: a traceback through the library's frames could show the headers.
            failure = aiohttp_failures.failure(error, outer, status)
            # Through a proxy, the only name that is resolved here is the proxy's.
            of_proxy = self._proxy and failure.kind is FailureKind.NAME_RESOLUTION
            return replace(failure, kind=FailureKind.PROXY) if of_proxy else failure
        except BaseException as error:
            raise without_frames(error, outer)  # noqa: B904 - it is the caught one

    def _timeouts(self, remaining: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(
            total=remaining, sock_connect=self.settings.connect_timeout, sock_read=self.settings.read_timeout
        )

    async def _opened(self) -> aiohttp.ClientSession:
        self._check_process()
        if self._session is None:
            # Reading a CA bundle takes tens of milliseconds, too long for the event loop.
            context: ssl.SSLContext | bool = True
            if "https" in {urlsplit(url).scheme for url in (self.settings.endpoint, self._proxy or "")}:
                context = await asyncio.to_thread(_ssl_context, self.settings.ca_bundle())
            if self._session is None:
                self._session = self._new_session(context)
        return self._session

    def _new_session(self, context: ssl.SSLContext | bool) -> aiohttp.ClientSession:
        session = aiohttp.ClientSession(
            auto_decompress=False,
            connector=Connector(ssl=context, limit=self._max_connections),
            cookie_jar=aiohttp.DummyCookieJar(),
            max_field_size=_MAX_LINE,
            max_line_size=_MAX_LINE,
        )
        # aiohttp would retry a GET, PUT or DELETE by itself, unseen by the protocol.
        session._retry_connection = False
        return session


async def _read(response: aiohttp.ClientResponse, send: Send) -> Response | Failure:
    """Read the body, up to the size limit; the deadline is the session's."""
    try:
        _check(response)
    except MalformedResponseError:
        response.close()
        return Failure(FailureKind.INVALID)
    headers = {name.lower(): ", ".join(response.headers.getall(name)) for name in response.headers}
    body = Body(headers.get("content-encoding", ""), send.max_bytes, headers.get("content-length", ""))
    try:
        async for chunk in response.content.iter_any():
            body.add(chunk)
        return Response(response.status, headers, body.decoded())
    except TooLargeError as error:
        response.close()  # do not read the rest to keep the connection
        return Failure(FailureKind.TOO_LARGE, str(error), response.status)
    except zlib.error:
        response.close()
        return Failure(FailureKind.BROKEN, status=response.status)


def _check(response: aiohttp.ClientResponse) -> None:
    """Refuse what aiohttp's parser accepts and the blocking client does not."""
    if response.version not in (aiohttp.HttpVersion10, aiohttp.HttpVersion11) or response.status < 100:
        raise MalformedResponseError("the status line is not valid")
    check_headers(response.raw_headers)
    headers = response.headers
    check_framing(response.status, headers.getall("Content-Length", []), headers.getall("Transfer-Encoding", []))


def _ssl_context(ca_bundle: str | bool) -> ssl.SSLContext | bool:
    if isinstance(ca_bundle, bool):
        return ca_bundle
    if Path(ca_bundle).is_dir():
        return ssl.create_default_context(capath=ca_bundle)
    return ssl.create_default_context(cafile=ca_bundle)
