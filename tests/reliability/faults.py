"""Faults between a client and Vi: their effect on the wire, and the reaction that the client must show.

A fault specifies which error it causes if it persists, which calls retry it, and whether the server has applied the
request. ``matrix`` derives the expected outcome of each operation from these three.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate
from enum import Enum, auto
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qs

from tests.documents import wire_bytes, wire_spec
from tests.reliability.fault_proxy import ConnectMode, Effect, Exchange, Response
from tests.scripted_server import Received, http_bytes
from vi_airflow_provider.api.errors import (
    ViCertificateError,
    ViConflictError,
    ViError,
    ViNetworkError,
    ViRateLimitError,
    ViResponseError,
    ViServerError,
    ViTimeoutError,
)


class Retried(Enum):
    """Which calls are retried."""

    ALL = auto()  # the server has certainly not applied the request
    IDEMPOTENT = auto()  # not PATCH
    NONE = auto()


@dataclass(frozen=True)
class Fault:
    """A fault and the expected reaction.

    :param name: row of the table
    :param error: error raised if the fault persists; ``None`` if it does no harm
    :param retried: which calls are retried
    :param applied: does the server apply the affected request?
    :param connect: effect on connections
    :param effect: effect on a request
    :param delay: bounds of the delay before the next attempt, in seconds
    :param listing_only: it affects the pages of a listing after the first
    :param status_arrives: the status line arrives intact, so a DELETE with a 2xx is done whatever follows
    :param concurrent_changes: it includes changes by another client
    :param timeout_setting: the connection setting that bounds its duration
    """

    name: str
    error: type[ViError] | None = None
    retried: Retried = Retried.NONE
    applied: bool = False
    connect: ConnectMode = ConnectMode.ACCEPT
    effect: Effect | None = None
    delay: tuple[float, float] = (0.0, 1.0)
    listing_only: bool = False
    status_arrives: bool = False
    concurrent_changes: bool = False
    timeout_setting: str | None = None


# --- on the wire ---------------------------------------------------------------------------------------------------

_MIB: Final = 1 << 20
#: Decoded MiB of a response that is too large.
HUGE: Final = 300


async def _reset(exchange: Exchange) -> None:
    exchange.reset()


async def _reset_after(exchange: Exchange) -> None:
    await exchange.forward()
    exchange.reset()


async def _close(_: Exchange) -> None:
    """Send nothing; the proxy closes the connection."""


async def _no_response(_: Exchange) -> None:
    await asyncio.Event().wait()


async def _truncate(exchange: Exchange) -> None:
    response = await _with_body(exchange)
    await exchange.send(response.wire[: -(len(response.body) // 2)])


async def _slow_body(exchange: Exchange) -> None:
    response = await _with_body(exchange)
    await exchange.send(http_bytes(response.status, response.body, response.headers, missing=_MIB))
    await _send_slowly(exchange)


async def _slow_headers(exchange: Exchange) -> None:
    await exchange.forward()
    await exchange.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    await _send_slowly(exchange)


async def _send_slowly(exchange: Exchange) -> None:
    while True:
        await exchange.send(b"x")
        await asyncio.sleep(0.01)


async def _early_hints(exchange: Exchange) -> None:
    response = await exchange.forward()
    await exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n" + response.wire)


async def _long_header(exchange: Exchange) -> None:
    response = await exchange.forward()
    await exchange.send(replace(response, headers=(*response.headers, ("X-Long", "x" * 100_000))).wire)


async def _two_lengths(exchange: Exchange) -> None:
    response = await _with_body(exchange)
    await exchange.send(replace(response, headers=(*response.headers, ("Content-Length", "7"))).wire)


async def _not_http(exchange: Exchange) -> None:
    await exchange.forward()
    await exchange.send(b"\x16\x03\x01 this is not HTTP\r\n\r\n")


async def _huge(exchange: Exchange) -> None:
    await exchange.forward()
    await exchange.send(f"HTTP/1.1 200 OK\r\nContent-Length: {HUGE * _MIB}\r\n\r\n".encode() + b'{"items":[')
    for _ in range(HUGE):
        await exchange.send(b" " * _MIB)


async def _gzip_bomb(exchange: Exchange) -> None:
    await exchange.forward()
    await exchange.send(http_bytes(200, _bomb(), [("Content-Encoding", "gzip")]))


@cache
def _bomb() -> bytes:
    """Return the body of ``_huge`` as about 300 kB of gzip."""
    compressor = zlib.compressobj(wbits=31)
    # After a full flush, a block does not depend on previous ones, so the second block can be repeated.
    first, other = (compressor.compress(block) + compressor.flush(zlib.Z_FULL_FLUSH) for block in _blocks())
    return first + other * (HUGE - 1)


def _blocks() -> tuple[bytes, bytes]:
    return b'{"items":['.ljust(_MIB), b" " * _MIB


async def _with_body(exchange: Exchange) -> Response:
    """Forward the request; a response without a body gets one, so that there is something to alter."""
    response = await exchange.forward()
    return response if response.body else Response(200, response.headers, b"{}".ljust(100))


def _respond(status: int, body: bytes | None = None, *, forwarded: bool = False, **headers: str) -> Effect:
    """Respond with a status, without forwarding the request or (``forwarded``) after the server has applied it."""

    async def effect(exchange: Exchange) -> None:
        if forwarded:
            await exchange.forward()
        content = wire_bytes({"message": "made to fail"}) if body is None else body
        await exchange.send(http_bytes(status, content, [(k.replace("_", "-"), v) for k, v in headers.items()]))

    return effect


async def _retry_after_date(exchange: Exchange) -> None:
    later = formatdate(time.time() + 7, usegmt=True)
    await exchange.send(http_bytes(429, b"", [("Retry-After", later)]))


def _alter_body(alter: Callable[[bytes], bytes]) -> Effect:
    """Forward the request, and alter the body of the response."""

    async def effect(exchange: Exchange) -> None:
        response = await _with_body(exchange)
        await exchange.send(replace(response, body=alter(response.body)).wire)

    return effect


def _invalid_utf8(body: bytes) -> bytes:
    return body.replace(b'"name":"', b'"name":"\xff\xfe') if b'"name"' in body else b"\xff\xfe"


def _wrong_kind(body: bytes) -> bytes:
    flow, run = b'"kind":"Flow"', b'"kind":"Run"'
    return body.replace(flow, run) if flow in body else body.replace(run, flow)


async def _same_item_again(exchange: Exchange) -> None:
    """Repeat the newest item, which was on the first page, at the top of this page."""
    first = replace(exchange.request, target=exchange.request.target.partition("?")[0] + "?s=1")
    newest = json.loads((await exchange.send_upstream(first)).body)["items"]
    response = await exchange.forward()
    page = json.loads(response.body)
    await exchange.send(replace(response, body=wire_bytes({**page, "items": newest + page["items"]})).wire)


async def _same_cursor_again(exchange: Exchange) -> None:
    response = await exchange.forward()
    cursor = parse_qs(exchange.request.target.partition("?")[2])["p"][0]
    await exchange.send(replace(response, body=wire_bytes({**json.loads(response.body), "nextPage": cursor})).wire)


#: What another client creates (prefix of the ids) and deletes while a listing is read: flows, or runs.
CREATED_BY_OTHERS: Final = "other-"
DELETED_BY_OTHERS: Final = ("fresh-1", "fresh-3")


async def _concurrent_changes(exchange: Exchange) -> None:
    listing = exchange.request.target.partition("?")[0]

    def request(method: str, document_id: str, body: bytes = b"") -> Received:
        return replace(exchange.request, method=method, target=f"{listing}/{document_id}", body=body)

    for document_id in DELETED_BY_OTHERS:
        await exchange.send_upstream(request("DELETE", document_id))
    spec = wire_spec(name="other")
    body = {"spec": {"flow": spec} if listing.endswith("/runs") else spec}
    await exchange.send_upstream(request("PUT", f"{CREATED_BY_OTHERS}{uuid.uuid4()}", wire_bytes(body)))
    await exchange.send((await exchange.forward()).wire)


# --- the faults, by what they affect -------------------------------------------------------------------------------


def _network(name: str, **details: Any) -> Fault:
    return Fault(name, ViNetworkError, Retried.ALL, **details)


def _broken(name: str, effect: Effect, *, applied: bool, **details: Any) -> Fault:
    return Fault(name, ViNetworkError, Retried.IDEMPOTENT, applied, effect=effect, **details)


def _status(status: int, error: type[ViError], retried: Retried, **details: Any) -> Fault:
    return Fault(str(status), error, retried, effect=_respond(status), **details)


def _limited(name: str, effect: Effect, *delay: float) -> Fault:
    return Fault(
        f"429, `Retry-After` {name}", ViRateLimitError, Retried.ALL, effect=effect, delay=(delay[0], delay[-1])
    )


def _unusable(name: str, effect: Effect, *, applied: bool, **details: Any) -> Fault:
    return Fault(name, ViResponseError, applied=applied, effect=effect, **details)


def _malformed(name: str, effect: Effect) -> Fault:
    return Fault(name, ViResponseError, Retried.IDEMPOTENT, applied=True, effect=effect)


GROUPS: Final[Mapping[str, tuple[Fault, ...]]] = {
    "No connection": (
        _network("host name does not resolve", connect=ConnectMode.UNRESOLVED),
        _network("connection refused", connect=ConnectMode.REFUSE),
        Fault(
            "connect timeout", ViTimeoutError, Retried.ALL,
            connect=ConnectMode.IGNORE, timeout_setting="connect_timeout",
        ),
        Fault("TLS: certificate of another host", ViCertificateError, connect=ConnectMode.WRONG_HOST),
        Fault("TLS: unknown CA", ViCertificateError, connect=ConnectMode.UNKNOWN_CA),
    ),
    "The connection breaks": (
        _broken("reset before the response", _reset, applied=False),
        _broken("closed before the response", _close, applied=False),
        _broken("reset after the change was applied", _reset_after, applied=True),
        _broken("truncated body", _truncate, applied=True, status_arrives=True),
    ),
    "The response does not arrive": (
        Fault("no response", ViTimeoutError, Retried.IDEMPOTENT, effect=_no_response, timeout_setting="read_timeout"),
        Fault(
            "endless slow body", ViTimeoutError, Retried.NONE, True,
            effect=_slow_body, status_arrives=True, timeout_setting="retry_budget",
        ),
        Fault(
            "endless slow headers", ViTimeoutError, Retried.NONE, True,
            effect=_slow_headers, timeout_setting="retry_budget",
        ),
    ),
    "The server or a proxy refuses": (
        _status(408, ViTimeoutError, Retried.IDEMPOTENT),
        _status(409, ViConflictError, Retried.NONE),
        _limited("7 seconds", _respond(429, Retry_After="7"), 7),
        _limited("a date 7 seconds ahead", _retry_after_date, 3, 7),
        _limited("a date in the past", _respond(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), 0),
        _limited("10²⁰ seconds", _respond(429, Retry_After="1" + "0" * 20), 60),
        _limited("not a time", _respond(429, Retry_After="soon"), 0, 1),
        *(_status(status, ViServerError, Retried.IDEMPOTENT) for status in (500, 502, 503, 504, 520)),
        Fault(
            "504 after the change was applied", ViServerError, Retried.IDEMPOTENT, True,
            effect=_respond(504, forwarded=True),
        ),
    ),
    "The response is malformed or unexpected": (
        _unusable(
            "200 with an HTML page", _respond(200, b"<html>Sign in</html>", Content_Type="text/html"), applied=False,
        ),
        _unusable("200, empty", _respond(200, b""), applied=False),
        _unusable("invalid UTF-8", _alter_body(_invalid_utf8), applied=True, status_arrives=True),
        _unusable("wrong `kind`", _alter_body(_wrong_kind), applied=True, status_arrives=True),
        _unusable(f"gzip bomb ({HUGE} MiB)", _gzip_bomb, applied=True, status_arrives=True),
        _unusable(f"body of {HUGE} MiB", _huge, applied=True, status_arrives=True),
        _malformed("not HTTP", _not_http),
        _malformed("header of 100 kB", _long_header),
        _malformed("two different `Content-Length` headers", _two_lengths),
        Fault("103 Early Hints before the response", applied=True, effect=_early_hints),
    ),
    "The listing is inconsistent or changes": (
        Fault("the same item on two pages", effect=_same_item_again, listing_only=True),
        _unusable("repeated cursor", _same_cursor_again, applied=False, listing_only=True),
        Fault(
            "items created and deleted between pages",
            effect=_concurrent_changes, listing_only=True, concurrent_changes=True,
        ),
    ),
}  # fmt: skip
FAULTS: Final = tuple(fault for faults in GROUPS.values() for fault in faults)
