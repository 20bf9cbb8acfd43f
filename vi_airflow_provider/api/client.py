"""``ViClient``: carries out the protocol's steps with ``requests``, blocking the calling thread."""

from __future__ import annotations

import os
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, Self, TypeVar
from weakref import WeakSet

import requests
from pydantic import BaseModel
from requests.structures import CaseInsensitiveDict

from vi_airflow_provider.api.protocol.messages import (
    Concurrently,
    Failure,
    FailureKind,
    Reply,
    Request,
    Response,
    Send,
    Sleep,
    Steps,
)
from vi_airflow_provider.api.protocol.paging import Paginator
from vi_airflow_provider.api.settings import ViSettings
from vi_airflow_provider.api.transport import deadlines, requests_failures
from vi_airflow_provider.api.transport.content_coding import Body, TooLargeError
from vi_airflow_provider.api.transport.deadlines import Call, CallEndedError
from vi_airflow_provider.api.transport.failures import without_frames
from vi_airflow_provider.api.transport.prefetch import PagePrefetcher
from vi_airflow_provider.api.transport.threads import map_in_threads
from vi_airflow_provider.api.verbs import BlockingVerbs, ViProtocol

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

#: Connections that are kept open, and calls of one ``Concurrently`` in flight.
MAX_CONNECTIONS: Final = 16

#: Bytes that are read at a time; more would stay allocated between two pages.
_CHUNK: Final = 1 << 16

#: Sessions of a parent process, kept because collecting them would close its connections.
_INHERITED: Final[list[requests.Session]] = []


class _Adapter(deadlines.Adapter):
    """The connections of a client, whose requests have one origin and one proxy: their pool is looked up once."""

    _pool: Any = None

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        """Return the pool of connections."""
        if (pool := self._pool) is None:
            self._pool = pool = super().get_connection_with_tls_context(*args, **options)
        return pool

    def close(self) -> None:
        """Close the connections: urllib3 does so once nothing refers to the pool."""
        self._pool = None
        super().close()


class _Session(requests.Session):
    """A session that leaves every decision to the protocol."""

    def __init__(self, settings: ViSettings) -> None:
        super().__init__()
        self.trust_env = False  # a netrc file would replace our Authorization header
        self.mount("https://", _Adapter(pool_maxsize=MAX_CONNECTIONS))
        self.mount("http://", _Adapter(pool_maxsize=MAX_CONNECTIONS))
        proxy = settings.proxy_url()
        self.send_options: dict[str, Any] = {
            "proxies": {"http": proxy, "https": proxy} if proxy else {},
            "verify": settings.ca_bundle(),
            "allow_redirects": False,
            "stream": True,
        }

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Prepare no redirect: ``requests`` would read an unbounded body for it."""


class ViClient(BlockingVerbs):
    """Calls the Vi API for one organization. Thread-safe; close it, or use it in a ``with`` block.

    :param settings: where, as whom and how patiently to call
    :param sleep: replaces the wait between two attempts; takes seconds
    """

    def __init__(self, settings: ViSettings, *, sleep: Callable[[float], None] | None = None) -> None:
        self.settings = settings
        self._protocol = ViProtocol(settings)
        self._sleep = sleep
        self._start_in_this_process()

    def _start_in_this_process(self) -> None:
        self._session = _Session(self.settings)
        self._listings: WeakSet[PagePrefetcher[Any]] = WeakSet()
        self._lock = threading.Lock()
        self._pid = os.getpid()  # last: another thread uses the session once this is set

    def _check_process(self) -> None:
        """Replace the session after a fork: sockets shared with the parent would mix up the responses."""
        if self._pid != os.getpid():
            _INHERITED.append(self._session)
            self._start_in_this_process()

    def close(self) -> None:
        """Close the connections to the server, and end the prefetches in flight."""
        self._check_process()
        try:
            with self._lock:
                listings = list(self._listings)
            for listing in listings:
                listing.close()
        finally:
            self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _calls(self) -> ViProtocol:
        return self._protocol

    def _documents(self, paginator: Paginator[M]) -> Iterator[M]:
        self._check_process()
        pages = PagePrefetcher(paginator, self._run)
        with self._lock:
            self._listings.add(pages)
        try:
            while (page := pages.next()) is not None:
                for number, document in enumerate(paginator.documents(page)):
                    if number == 1 and paginator.prefetch:  # a consumer that takes two is likely to take all
                        pages.fetch()
                    yield document
        finally:
            pages.close()

    def _run(self, steps: Steps[T], call: Call | None = None) -> T:
        call = call or Call()
        reply: Reply = None
        while True:
            try:
                step = steps.send(reply)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            match step:
                case Send():
                    reply = self._send(step, call)
                    if call.ended:  # whatever arrived: a response that was cut off may look complete
                        raise CallEndedError
                case Sleep(seconds):
                    (self._sleep or call.pause)(seconds)
                    reply = None
                case Concurrently(calls, limit):
                    reply = map_in_threads(calls, self._run, min(limit, MAX_CONNECTIONS))

    def _send(self, send: Send, call: Call) -> Response | Failure:
        self._check_process()
        outer = sys.exception()
        call.deadline = time.monotonic() + send.timeout
        deadlines.current.set(call)
        response = None
        try:
            response = self._session.send(
                _prepared(send.request), timeout=self._timeouts(send.timeout), **self._session.send_options
            )
            return _read(response, send, call.deadline)
        except requests_failures.ERRORS as error:
            # Returned, not raised: a traceback through the library's frames could show the headers.
            return requests_failures.failure(error, outer, None if response is None else response.status_code)
        except BaseException as error:
            raise without_frames(error, outer)  # noqa: B904 - it is the caught one
        finally:
            if response is not None:
                response.close()

    def _timeouts(self, remaining: float) -> tuple[float, float]:
        return min(self.settings.connect_timeout, remaining), min(self.settings.read_timeout, remaining)


def _prepared(request: Request) -> requests.PreparedRequest:
    # The parts are ready. prepare() would take the URL apart and put it together again, which takes seven times longer.
    prepared = requests.PreparedRequest()
    prepared.method, prepared.url, prepared.body = request.method, request.url, request.body
    prepared.headers = CaseInsensitiveDict(request.headers)
    prepared.prepare_content_length(request.body)
    return prepared


def _read(response: requests.Response, send: Send, deadline: float) -> Response | Failure:
    """Read the body within the deadline and the size limit: a server may send a little for ever, or a lot."""
    status, headers = response.status_code, {name.lower(): value for name, value in response.headers.items()}
    body = Body(headers.get("content-encoding", ""), send.max_bytes, headers.get("content-length", ""))
    try:
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            body.add(chunk)
            if time.monotonic() > deadline:
                return Failure(FailureKind.TIMEOUT, "the response was still arriving", status)
        return Response(status, headers, body.decoded())
    except TooLargeError as error:
        return Failure(FailureKind.TOO_LARGE, str(error), status)
    except zlib.error:
        return Failure(FailureKind.BROKEN, status=status)
