"""Carries out fault rules and a colleague's edits on real connections.

Theory of operation. Every request passes through one layer, in this order:

1. the latency of the emulator passes;
2. the request is matched once with the edits of the colleague (all that fire count) and once with the fault rules
   (the first that fires counts). Most requests match neither and go straight on to the application;
3. edits with the moment "before" are made, then those of the effect `ChangeFlows`;
4. a response is *produced*. With `when="before"` the delay passes first, and a `Respond`, `Redirect` or `Drop` takes
   the place of the application, which never receives the request. With `when="after"` the application handles the
   request first, then the delay passes, and then its response is replaced or lost;
5. the emulator's own response may be *altered*: a page by `RepeatCursor` and `EmptyPage`, a document by
   `OtherDocument`;
6. edits with the moment "after" are made: the client has received nothing yet;
7. the response is *delivered*, whole, truncated or byte by byte, with the edits of the moment "during" made when half
   of the body is sent; or the connection is reset.

Invariants: a response is complete before any of it goes out, so a fault never depends on how the application
writes; the application handles a request at most once; a rule counts a request once, when it is matched after the
latency, so concurrent requests cannot use up one firing twice. The layer is outside of authentication: a fault also
meets clients without a key, as a proxy would. It is inside of the request log, which therefore shows what the client
got.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import ClassVar
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Receive, Scope, Send

from vi_airflow_provider.emulator.backend import Backend
from vi_airflow_provider.emulator.colleague import ActiveHabit, Colleague
from vi_airflow_provider.emulator.effects import ChangeFlows, Delay, Drop, Effect, OtherDocument, RepeatCursor, Respond
from vi_airflow_provider.emulator.fault_rules import ActiveFault, Fault
from vi_airflow_provider.emulator.habits import Moment
from vi_airflow_provider.emulator.http.delivery import Exchange, HeldResponse
from vi_airflow_provider.emulator.matching import RequestLine
from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.listing import Cursor
from vi_airflow_provider.emulator.store.schema import Document, encode
from vi_airflow_provider.emulator.store.store import Store


def injecting_faults(app: ASGIApp, backend: Backend) -> ASGIApp:
    """Apply the latency and the fault rules of a backend to each request."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        if backend.settings.latency_ms:
            await asyncio.sleep(backend.settings.latency_ms / 1000)
        request = _request_line(scope)
        active, visit = backend.faults.match(request), Visit(backend.colleague, request)
        if active is None and not visit:
            await app(scope, receive, send)
            return
        exchange, fault = Exchange(scope, receive, send), None if active is None else active.fault
        await visit.act("before")
        if active is not None:
            await _change_flows(backend.store, active)
        response = await _produce(app, fault, exchange)
        await visit.act("after")
        if response is None:
            await exchange.reset()
            return
        response = _alter(response, _effect(fault, "page"), request, backend.store)
        halfway = visit.act_during if visit.has("during") else None
        await exchange.deliver(response, _effect(fault, "delivery"), halfway)

    return layer


def _effect(fault: Fault | None, slot: str) -> Effect | None:
    return None if fault is None else fault.in_slot(slot)


class Visit:
    """What the colleague does around one request."""

    _delayed: ClassVar[set[asyncio.Task[None]]] = set()  # the event loop itself keeps only weak references

    def __init__(self, colleague: Colleague, request: RequestLine) -> None:
        self._colleague = colleague
        self._request = request
        self._due = colleague.due(request)

    def __bool__(self) -> bool:
        return bool(self._due)

    def has(self, moment: Moment) -> bool:
        """Whether anything happens at this moment."""
        return any(active.habit.moment == moment for active in self._due)

    async def act(self, moment: Moment) -> None:
        """Do what is due at this moment; slow actions go on in the background."""
        for active in self._due:
            if active.habit.moment != moment:
                continue
            if active.habit.delay_ms:
                task = asyncio.create_task(self._act_later(active))
                self._delayed.add(task)
                task.add_done_callback(self._delayed.discard)
            else:
                await asyncio.to_thread(self._colleague.act, active, self._request)

    async def act_during(self) -> None:
        """Do what is due when half of the response is sent."""
        await self.act("during")

    async def _act_later(self, active: ActiveHabit) -> None:
        await asyncio.sleep(active.habit.delay_ms / 1000)
        await asyncio.to_thread(self._colleague.act, active, self._request)


def _request_line(scope: Scope) -> RequestLine:
    query = scope["query_string"]
    cursor = parse_qs(query.decode("latin-1")).get("p", [None])[-1] if query else None
    return RequestLine(scope["method"], scope["path"], cursor)


async def _change_flows(store: Store, active: ActiveFault) -> None:
    change = active.fault.find(ChangeFlows)
    if change is None:
        return
    if change.create:
        await asyncio.to_thread(store.create_flows, change.create)
    if change.delete:
        await asyncio.to_thread(store.delete_some_flows, change.delete, active.rng)


async def _produce(app: ASGIApp, fault: Fault | None, exchange: Exchange) -> HeldResponse | None:
    """The emulator's response, or the one that replaces it; None if there is no response at all."""
    if fault is None:
        return await exchange.capture(app)
    delay = fault.find(Delay) or Delay(0)
    substitute = fault.in_slot("response")
    own = None
    if fault.when == "before":
        await asyncio.sleep(delay.ms / 1000)
    if fault.when == "after" or substitute is None:
        own = await exchange.capture(app)
    if fault.when == "after":
        await asyncio.sleep(delay.ms / 1000)
    if isinstance(substitute, Drop):
        return None
    return _compose(substitute) if isinstance(substitute, Respond) else own


def _compose(respond: Respond) -> HeldResponse:
    """The response that a rule describes."""
    headers = respond.all_headers()
    body = b"" if respond.body is None else respond.body.encode()
    if respond.body is None and respond.status >= 400:
        body = encode(ApiError(respond.status, "Injected by a fault rule").body)
        headers.setdefault("content-type", "application/json")
    if respond.status not in (204, 304):
        headers["content-length"] = str(len(body))
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return HeldResponse(respond.status, raw, body)


def _alter(response: HeldResponse, how: Effect | None, request: RequestLine, store: Store) -> HeldResponse:
    """Rewrite a page, or a document; errors, and what the effect is not for, stay as they are."""
    content = json.loads(response.body) if how is not None and response.status == 200 else None
    if not isinstance(content, dict):
        return response
    is_page = "items" in content
    if isinstance(how, OtherDocument):
        body = None if is_page else _other_document(content, store)
    else:
        body = _altered_page(content, how, request) if is_page else None
    if body is None:
        return response
    headers = [(name, value) for name, value in response.headers if name != b"content-length"]
    return replace(response, headers=[*headers, (b"content-length", str(len(body)).encode())], body=body)


def _other_document(document: Document, store: Store) -> bytes | None:
    match document.get("kind"):
        case "Flow":
            others = (store.get_flow(id_) for id_ in store.flow_ids() if id_ != document["flowId"])
        case "Run":
            others = (store.get_run(id_) for id_ in store.run_ids() if id_ != document["runId"])
        case _:
            return None
    other = next(others, None)
    return None if other is None else encode(other)


def _altered_page(page: Document, how: Effect | None, request: RequestLine) -> bytes:
    listing = request.path.rpartition("/")[2]
    if isinstance(how, RepeatCursor):
        page["nextPage"] = request.cursor
    else:
        requested = Cursor(listing, None) if request.cursor is None else Cursor.decode(request.cursor, listing)
        page |= {"items": [], "nextPage": requested.next_turn().encode()}
    return encode(page, allow_nan=True)  # metrics may be NaN
