"""``ViClient``: carries the protocol's requests with ``requests``."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Self, TypeVar
from weakref import WeakSet

import requests
import urllib3.exceptions as urllib3_errors
from pydantic import BaseModel
from requests.structures import CaseInsensitiveDict

from vi_airflow_provider.api.models import DeletedFlow, Flow, FlowPage, FlowSpec, GuardedWrite, SimpleFlow
from vi_airflow_provider.api.protocol.codec import flow_page
from vi_airflow_provider.api.protocol.flows import ViProtocol
from vi_airflow_provider.api.protocol.messages import (
    Failure,
    FailureKind,
    Request,
    Response,
    Send,
    Steps,
    root_failure,
    system_reason,
)
from vi_airflow_provider.api.protocol.paging import Paginator
from vi_airflow_provider.api.settings import ViSettings
from vi_airflow_provider.api.transport import deadlines
from vi_airflow_provider.api.transport.deadlines import Call, CallEndedError
from vi_airflow_provider.api.transport.prefetch import PagePrefetcher
from vi_airflow_provider.api.validation import checked_id

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

_CHUNK: Final = 1 << 20

#: What the libraries' exceptions mean, where the operating system has not said it; the first that fits counts.
_KINDS: Final = (
    (requests.exceptions.ConnectTimeout, FailureKind.CONNECT_TIMEOUT),
    (requests.exceptions.Timeout, FailureKind.TIMEOUT),
    (urllib3_errors.TimeoutError, FailureKind.TIMEOUT),
    (requests.exceptions.InvalidHeader, FailureKind.INVALID),
)


class _Session(requests.Session):
    """A session that leaves every decision to the protocol."""

    def __init__(self, settings: ViSettings) -> None:
        super().__init__()
        self.trust_env = False  # a netrc file would replace our Authorization header
        self.mount("https://", deadlines.Adapter())
        self.mount("http://", deadlines.Adapter())
        proxy = settings.proxy_url()
        self.send_options: dict[str, Any] = {
            "proxies": {"http": proxy, "https": proxy} if proxy else {},
            "verify": settings.ca_bundle(),
            "allow_redirects": False,
            "stream": True,
        }

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Have no redirect prepared: ``requests`` would read an unbounded body for it."""


class ViClient:
    """Calls the Vi API for one organization. Thread-safe; close it, or use it in a ``with`` block.

    :param settings: whom and how to call
    :param sleep: instead of waiting for a number of seconds between two attempts
    """

    def __init__(self, settings: ViSettings, *, sleep: Callable[[float], None] | None = None) -> None:
        self.settings = settings
        self._protocol = ViProtocol(settings)
        self._session = _Session(settings)
        self._sleep = sleep
        self._listings: WeakSet[PagePrefetcher[Any]] = WeakSet()
        self._lock = threading.Lock()

    def list_flows(
        self, *, page_size: int | None = None, limit: int | None = None, prefetch: bool = True
    ) -> Iterator[Flow]:
        """Yield all flows, newest first, a page at a time as they are consumed.

        :param page_size: flows per request; the connection's setting by default
        :param limit: stop after so many
        :param prefetch: fetch the next page, and no further one, while a page is consumed; False for a consumer that
            will stop when it has found what it looks for
        """
        return self._documents(self._protocol.walk_flows(page_size, limit), prefetch)

    def iter_flow_pages(self, *, page_size: int | None = None, page_token: str | None = None) -> Iterator[FlowPage]:
        """Yield the pages of the listing, from the one behind ``page_token`` on."""
        walk = self._protocol.walk_flows(page_size, token=page_token)
        while (steps := walk.next_page()) is not None:
            yield flow_page(self._run(steps))

    def list_simple_flows(self, *, page_size: int | None = None, limit: int | None = None) -> Iterator[SimpleFlow]:
        """Yield id and name of all flows."""
        return self._documents(self._protocol.walk_simple_flows(page_size, limit), prefetch=True)

    def get_flow(self, flow_id: str) -> Flow:
        """Return one flow.

        :raises ViNotFoundError: there is none with this id
        """
        return self._run(self._protocol.get_flow(flow_id))

    def flow_exists(self, flow_id: str) -> bool:
        """Tell whether a flow exists."""
        return self._run(self._protocol.flow_exists(flow_id))

    def find_flow(
        self, *, flow_id: str | None = None, name: str | None = None, training_project: str | None = None
    ) -> Flow | None:
        """Return the flow with this id, or the latest one of this name; ``None`` where there is none."""
        return self._run(self._protocol.find_flow(flow_id=flow_id, name=name, training_project=training_project))

    def delete_flow(self, flow_id: str) -> DeletedFlow:
        """Delete a flow; one that is absent already is no error.

        :raises ViConflictError: the flow is in use by a run
        """
        return self._run(self._protocol.delete_flow(flow_id))

    def create_flow(
        self,
        spec: FlowSpec | Mapping[str, Any],
        *,
        attributes: Mapping[str, str] | None = None,
        flow_id: str | None = None,
    ) -> Flow:
        """Create a flow under a new id, or under ``flow_id``, where it replaces what may be there."""
        return self._run(self._protocol.put_flow(flow_id, spec, attributes))

    def replace_flow(
        self, flow_id: str, spec: FlowSpec | Mapping[str, Any], *, attributes: Mapping[str, str] | None = None
    ) -> Flow:
        """Replace spec and attributes of a flow as a whole."""
        return self._run(self._protocol.put_flow(checked_id(flow_id), spec, attributes))

    def restore_flow(self, document: Mapping[str, Any]) -> Flow:
        """Write a flow as it was read (``Flow.to_wire()``): under its id, with the fields that we do not know."""
        return self._run(self._protocol.restore_flow(document))

    def update_flow(
        self,
        flow_id: str,
        *,
        spec: FlowSpec | Mapping[str, Any] | None = None,
        attributes: Mapping[str, str | None] | None = None,
    ) -> Flow:
        """Change the given fields of the spec and the given attributes; an attribute of ``None`` is removed."""
        return self._run(self._protocol.patch_flow(flow_id, spec, attributes))

    def delete_flow_if(self, flow_id: str, matches: Callable[[Flow], bool]) -> DeletedFlow | Flow:
        """Delete a flow only while it matches; return the flow, untouched, if it does not.

        Each attempt to delete is preceded by a read: a retry never deletes what somebody changed meanwhile.

        :raises ViConflictError: the flow is in use by a run
        """
        return self._run(self._protocol.delete_flow_if(flow_id, matches))

    def put_flow_if(
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
        return self._run(self._protocol.put_flow_if(flow_id, spec, attributes, matches=matches))

    def restore_flow_if(self, document: Mapping[str, Any], matches: Callable[[Flow | None], bool]) -> GuardedWrite:
        """Write a flow as it was read, only while what is there, or ``None``, matches; see :meth:`put_flow_if`."""
        return self._run(self._protocol.restore_flow_if(document, matches))

    def close(self) -> None:
        """Close the connections to the server, and end what is being fetched ahead."""
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

    def _documents(self, walk: Paginator[M], prefetch: bool) -> Iterator[M]:
        pages = PagePrefetcher(walk, self._run)
        with self._lock:
            self._listings.add(pages)
        try:
            while (page := pages.next()) is not None:
                for number, document in enumerate(page.documents()):
                    if number == 1 and prefetch:  # who asks for a second one is likely to want the rest
                        pages.fetch()
                    yield document
        finally:
            pages.close()

    def _run(self, steps: Steps[T], call: Call | None = None) -> T:
        call = call or Call()
        reply: Response | Failure | None = None
        while True:
            try:
                step = steps.send(reply)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            if isinstance(step, Send):
                reply = self._send(step, call)
                if call.ended:  # whatever came: an answer that was cut off may look complete
                    raise CallEndedError
            else:
                (self._sleep or call.pause)(step.seconds)
                reply = None

    def _send(self, send: Send, call: Call) -> Response | Failure:
        outer = sys.exception()
        call.deadline = time.monotonic() + send.timeout
        deadlines.current.set(call)
        response = None
        try:
            response = self._session.send(
                _prepared(send.request), timeout=self._timeouts(send.timeout), **self._session.send_options
            )
            return _read(response, send, call.deadline)
        except (requests.RequestException, urllib3_errors.HTTPError, OSError, ValueError) as error:
            # Returned, not raised: a traceback through the library's frames could show the headers.
            return _failure(error, outer, None if response is None else response.status_code)
        finally:
            if response is not None:
                response.close()

    def _timeouts(self, remaining: float) -> tuple[float, float]:
        return min(self.settings.connect_timeout, remaining), min(self.settings.read_timeout, remaining)


def _prepared(request: Request) -> requests.PreparedRequest:
    # The parts are ready. prepare() would take the URL apart and put it together again, in seven times the time.
    prepared = requests.PreparedRequest()
    prepared.method, prepared.url, prepared.body = request.method, request.url, request.body
    prepared.headers = CaseInsensitiveDict(request.headers)
    prepared.prepare_content_length(request.body)
    prepared.prepare_cookies({})
    return prepared


def _read(response: requests.Response, send: Send, deadline: float) -> Response | Failure:
    """Read the body, within the deadline and the bound: a server may send a little for ever, or a lot."""
    body = bytearray()
    while chunk := response.raw.read1(_CHUNK, decode_content=True):
        body += chunk
        if len(body) > send.max_bytes:
            return Failure(FailureKind.TOO_LARGE, f"more than {send.max_bytes:,} bytes", response.status_code)
        if time.monotonic() > deadline:
            return Failure(FailureKind.TIMEOUT, "the answer was still arriving", response.status_code)
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Response(response.status_code, headers, bytes(body))


def _failure(error: Exception, outer: BaseException | None, status: int | None) -> Failure:
    reason = getattr(error.args[0], "reason", None) if error.args else None
    # urllib3 blames the proxy also when the connection broke after the request was sent through it.
    broken = isinstance(getattr(reason, "original_error", None), ConnectionError)
    if isinstance(error, requests.exceptions.ProxyError) and not broken:
        return Failure(FailureKind.PROXY, system_reason(error, outer) or _tunnel_reason(error))
    if known := root_failure(error, outer):
        return known
    kind = next((meaning for kind, meaning in _KINDS if isinstance(error, kind)), FailureKind.BROKEN)
    if isinstance(reason, urllib3_errors.NewConnectionError):
        kind = FailureKind.CONNECT
    return Failure(kind, system_reason(error, outer), status)


def _tunnel_reason(error: Exception) -> str:
    """Return what a proxy said to CONNECT ("Tunnel connection failed: 407 …")."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    said = str(getattr(reason, "original_error", ""))
    return said if said.startswith("Tunnel connection failed") else ""
