"""Carries out fault rules on real connections."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vi_airflow_provider.emulator.backend import Backend
from vi_airflow_provider.emulator.fault_rules import ActiveFault, Fault
from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.listing import Cursor
from vi_airflow_provider.emulator.store.schema import encode
from vi_airflow_provider.emulator.store.store import Store

# Closing with this linger discards what is unsent and sends RST instead of FIN.
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Answer:
    """A whole answer, in hand before any of it goes out."""

    status: int
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    @property
    def start(self) -> Message:
        """The ASGI message that opens it."""
        return {"type": "http.response.start", "status": self.status, "headers": self.headers}


def misbehaving(app: ASGIApp, backend: Backend) -> ASGIApp:
    """The layer where latency passes and fault rules strike; without either it only passes on."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        if backend.settings.latency_ms:
            await asyncio.sleep(backend.settings.latency_ms / 1000)
        token = _cursor(scope)
        active = backend.faults.match(scope["method"], scope["path"], has_cursor=token is not None)
        if active is None:
            await app(scope, receive, send)
            return
        await _mutate(backend.store, active)
        answer = await _answer(app, active.fault, scope, receive)
        if answer is None:
            await _reset_connection(scope, receive)
            return
        if active.fault.repeat_cursor or active.fault.empty_page:
            answer = _spoil_page(answer, active.fault, token, scope["path"])
        await _deliver(answer, active.fault, scope, receive, send)

    return layer


async def _mutate(store: Store, active: ActiveFault) -> None:
    fault = active.fault
    if fault.create_flows:
        await asyncio.to_thread(store.create_flows, fault.create_flows)
    if fault.delete_flows:
        await asyncio.to_thread(store.delete_some_flows, fault.delete_flows, active.rng)


async def _answer(app: ASGIApp, fault: Fault, scope: Scope, receive: Receive) -> Answer | None:
    """The emulator's answer, or what the rule puts in its place; None is no answer at all."""
    own = None
    if fault.when == "before":
        await asyncio.sleep(fault.latency_ms / 1000)
    if fault.when == "after" or not fault.replaces_answer:
        own = await _capture(app, scope, receive)
    if fault.when == "after":
        await asyncio.sleep(fault.latency_ms / 1000)
    if fault.drop:
        return None
    return _replacement(fault) if fault.replaces_answer else own


def _cursor(scope: Scope) -> str | None:
    query = scope["query_string"]
    return parse_qs(query.decode("latin-1")).get("p", [None])[-1] if query else None


async def _capture(app: ASGIApp, scope: Scope, receive: Receive) -> Answer:
    """Let the application answer, but keep the answer here."""
    messages: list[Message] = []

    async def keep(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, keep)
    start, *rest = messages
    return Answer(start["status"], list(start["headers"]), b"".join(message.get("body", b"") for message in rest))


def _replacement(fault: Fault) -> Answer:
    """The answer that a rule describes; the application was not asked, or not listened to."""
    status = fault.status or 307
    headers = {name.lower(): value for name, value in (fault.headers or {}).items()}
    if fault.redirect is not None:
        headers["location"] = fault.redirect
    if fault.retry_after is not None:
        headers["retry-after"] = fault.retry_after
    body = b"" if fault.body is None else fault.body.encode()
    if fault.body is None and status >= 400:
        body = encode(ApiError(status, "Made to fail by a fault rule").body)
        headers.setdefault("content-type", "application/json")
    if fault.content_type is not None:
        headers["content-type"] = fault.content_type
    if status not in (204, 304):
        headers["content-length"] = str(len(body))
    return Answer(status, [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()], body)


def _spoil_page(answer: Answer, fault: Fault, token: str | None, path: str) -> Answer:
    """Rewrite a page; anything else (an error, a single document) stays as it is."""
    page = json.loads(answer.body) if answer.status == 200 else None
    if not (isinstance(page, dict) and "items" in page):
        return answer
    listing = path.rpartition("/")[2]
    if fault.repeat_cursor:
        page["nextPage"] = token
    else:
        asked = Cursor(listing, None) if token is None else Cursor.decode(token, listing)
        page |= {"items": [], "nextPage": asked.next_turn().encode()}
    body = encode(page)
    headers = [(name, value) for name, value in answer.headers if name != b"content-length"]
    return replace(answer, headers=[*headers, (b"content-length", str(len(body)).encode())], body=body)


async def _deliver(answer: Answer, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
    await send(answer.start)
    if fault.truncate:
        await send(_part(answer.body[: len(answer.body) // 2], more=True))
        scope["state"]["transport"].close()  # after what is written so far
        await _gone(receive)
    elif fault.drip_ms is not None:
        await _drip(answer.body, fault.drip_ms / 1000, receive, send)
    else:
        await send(_part(answer.body, more=False))


async def _drip(body: bytes, pause: float, receive: Receive, send: Send) -> None:
    gone = asyncio.ensure_future(_gone(receive))
    try:
        for index in range(len(body)):
            await send(_part(body[index : index + 1], more=True))
            await asyncio.wait({gone}, timeout=pause)
            if gone.done():
                return
        await send(_part(b"", more=False))
    finally:
        gone.cancel()


async def _reset_connection(scope: Scope, receive: Receive) -> None:
    transport: asyncio.Transport = scope["state"]["transport"]
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()
    await _gone(receive)


async def _gone(receive: Receive) -> None:
    """Wait until the connection is closed: only then may the application return without a full answer."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _part(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}
