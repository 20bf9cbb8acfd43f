"""What can go wrong between a client and Vi: what happens on the wire, and what it has to mean.

A fault says which error it is if it stays, which calls try again because of it, and whether the server has carried
the request out. ``matrix`` derives from these three what each operation must make of it.
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
from tests.reliability.fault_proxy import Door, Exchange, Reply, Strike
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


class Again(Enum):
    """Which calls are sent once more."""

    ALL = auto()  # it is certain that the server did not act
    IDEMPOTENT = auto()  # not PATCH
    NONE = auto()


@dataclass(frozen=True)
class Fault:
    """A fault.

    :param name: row of the table
    :param error: what it is if it stays; ``None`` if it does no harm
    :param again: which calls try again
    :param applied: does the server carry out the request that is hit?
    :param door: what it does to connections
    :param strike: what it does to a request
    :param wait: seconds between which the wait before the next attempt must be
    :param of_listing: it is about the pages after the first of a listing
    :param status_arrives: a DELETE is done when a 2xx has arrived, whatever follows
    :param others: what somebody else does at the same time is part of it
    :param limit: the setting of the connection that ends it
    """

    name: str
    error: type[ViError] | None = None
    again: Again = Again.NONE
    applied: bool = False
    door: Door = Door.OPEN
    strike: Strike | None = None
    wait: tuple[float, float] = (0.0, 1.0)
    of_listing: bool = False
    status_arrives: bool = False
    others: bool = False
    limit: str | None = None


# --- on the wire ---------------------------------------------------------------------------------------------------

_MIB: Final = 1 << 20
#: Decoded MiB of an answer that is too large.
HUGE: Final = 300


async def _reset(exchange: Exchange) -> None:
    exchange.reset()


async def _reset_after(exchange: Exchange) -> None:
    await exchange.carry_out()
    exchange.reset()


async def _close(_: Exchange) -> None:
    """Say nothing; the line closes the connection."""


async def _silence(_: Exchange) -> None:
    await asyncio.Event().wait()


async def _truncate(exchange: Exchange) -> None:
    reply = await _with_body(exchange)
    await exchange.send(reply.wire[: -(len(reply.body) // 2)])


async def _drip_body(exchange: Exchange) -> None:
    reply = await _with_body(exchange)
    await exchange.send(http_bytes(reply.status, reply.body, reply.headers, missing=_MIB))
    await _drip(exchange)


async def _drip_head(exchange: Exchange) -> None:
    await exchange.carry_out()
    await exchange.send(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    await _drip(exchange)


async def _drip(exchange: Exchange) -> None:
    while True:
        await exchange.send(b"x")
        await asyncio.sleep(0.01)


async def _early_hints(exchange: Exchange) -> None:
    reply = await exchange.carry_out()
    await exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n" + reply.wire)


async def _long_header(exchange: Exchange) -> None:
    reply = await exchange.carry_out()
    await exchange.send(replace(reply, headers=(*reply.headers, ("X-Long", "x" * 100_000))).wire)


async def _two_lengths(exchange: Exchange) -> None:
    reply = await _with_body(exchange)
    await exchange.send(replace(reply, headers=(*reply.headers, ("Content-Length", "7"))).wire)


async def _no_http(exchange: Exchange) -> None:
    await exchange.carry_out()
    await exchange.send(b"\x16\x03\x01 this is no HTTP\r\n\r\n")


async def _huge(exchange: Exchange) -> None:
    await exchange.carry_out()
    await exchange.send(f"HTTP/1.1 200 OK\r\nContent-Length: {HUGE * _MIB}\r\n\r\n".encode() + b'{"items":[')
    for _ in range(HUGE):
        await exchange.send(b" " * _MIB)


async def _gzip_bomb(exchange: Exchange) -> None:
    await exchange.carry_out()
    await exchange.send(http_bytes(200, _bomb(), [("Content-Encoding", "gzip")]))


@cache
def _bomb() -> bytes:
    """Return the same 300 MiB as 300 kB of gzip."""
    compressor = zlib.compressobj(wbits=31)
    # After a full flush, a block depends on nothing before it: the second one can stand for all that follow.
    first, other = (compressor.compress(block) + compressor.flush(zlib.Z_FULL_FLUSH) for block in _blocks())
    return first + other * (HUGE - 1)


def _blocks() -> tuple[bytes, bytes]:
    return b'{"items":['.ljust(_MIB), b" " * _MIB


async def _with_body(exchange: Exchange) -> Reply:
    """Carry the request out. An answer that has no body gets one, to have something to spoil."""
    reply = await exchange.carry_out()
    return reply if reply.body else Reply(200, reply.headers, b"{}".ljust(100))


def _says(status: int, body: bytes | None = None, *, carried_out: bool = False, **headers: str) -> Strike:
    """Response with this status, in place of the server or (``carried_out``) behind its back."""

    async def strike(exchange: Exchange) -> None:
        if carried_out:
            await exchange.carry_out()
        content = wire_bytes({"message": "made to fail"}) if body is None else body
        await exchange.send(http_bytes(status, content, [(k.replace("_", "-"), v) for k, v in headers.items()]))

    return strike


async def _asks_for_a_date(exchange: Exchange) -> None:
    later = formatdate(time.time() + 7, usegmt=True)
    await exchange.send(http_bytes(429, b"", [("Retry-After", later)]))


def _spoils(spoil: Callable[[bytes], bytes]) -> Strike:
    """Carry the request out, and change the body of the answer."""

    async def strike(exchange: Exchange) -> None:
        reply = await _with_body(exchange)
        await exchange.send(replace(reply, body=spoil(reply.body)).wire)

    return strike


def _invalid_utf8(body: bytes) -> bytes:
    return body.replace(b'"name":"', b'"name":"\xff\xfe') if b'"name"' in body else b"\xff\xfe"


def _wrong_kind(body: bytes) -> bytes:
    return body.replace(b'"kind":"Flow"', b'"kind":"Run"')


async def _same_item_again(exchange: Exchange) -> None:
    """Let the page begin with the newest flow, which was on the first one."""
    first = replace(exchange.request, target=exchange.request.target.partition("?")[0] + "?s=1")
    newest = json.loads((await exchange.ask(first)).body)["items"]
    reply = await exchange.carry_out()
    page = json.loads(reply.body)
    await exchange.send(replace(reply, body=wire_bytes({**page, "items": newest + page["items"]})).wire)


async def _same_cursor_again(exchange: Exchange) -> None:
    reply = await exchange.carry_out()
    cursor = parse_qs(exchange.request.target.partition("?")[2])["p"][0]
    await exchange.send(replace(reply, body=wire_bytes({**json.loads(reply.body), "nextPage": cursor})).wire)


#: Flows that somebody else creates (ids that begin so) and deletes while a listing is read.
CREATED_BY_OTHERS: Final = "other-"
DELETED_BY_OTHERS: Final = ("fresh-1", "fresh-3")


async def _others_at_work(exchange: Exchange) -> None:
    flows = exchange.request.target.partition("?")[0]

    def request(method: str, flow_id: str, body: bytes = b"") -> Received:
        return replace(exchange.request, method=method, target=f"{flows}/{flow_id}", body=body)

    for flow_id in DELETED_BY_OTHERS:
        await exchange.ask(request("DELETE", flow_id))
    new = f"{CREATED_BY_OTHERS}{uuid.uuid4()}"
    await exchange.ask(request("PUT", new, wire_bytes({"spec": wire_spec(name="other")})))
    await exchange.send((await exchange.carry_out()).wire)


# --- the faults, by what they are about ----------------------------------------------------------------------------


def _network(name: str, **how: Any) -> Fault:
    return Fault(name, ViNetworkError, Again.ALL, **how)


def _broken(name: str, strike: Strike, *, applied: bool, **how: Any) -> Fault:
    return Fault(name, ViNetworkError, Again.IDEMPOTENT, applied, strike=strike, **how)


def _status(status: int, error: type[ViError], again: Again, **how: Any) -> Fault:
    return Fault(str(status), error, again, strike=_says(status), **how)


def _limited(name: str, strike: Strike, *wait: float) -> Fault:
    return Fault(f"429, `Retry-After` {name}", ViRateLimitError, Again.ALL, strike=strike, wait=(wait[0], wait[-1]))


def _unusable(name: str, strike: Strike, *, applied: bool, **how: Any) -> Fault:
    return Fault(name, ViResponseError, applied=applied, strike=strike, **how)


def _malformed(name: str, strike: Strike) -> Fault:
    return Fault(name, ViResponseError, Again.IDEMPOTENT, applied=True, strike=strike)


GROUPS: Final[Mapping[str, tuple[Fault, ...]]] = {
    "No connection": (
        _network("the name does not resolve", door=Door.UNRESOLVED),
        _network("refused", door=Door.CLOSED),
        Fault("connect timeout", ViTimeoutError, Again.ALL, door=Door.FULL, limit="connect_timeout"),
        Fault("TLS: certificate of another host", ViCertificateError, door=Door.WRONG_HOST),
        Fault("TLS: unknown CA", ViCertificateError, door=Door.UNKNOWN_CA),
    ),
    "The connection breaks": (
        _broken("reset before the answer", _reset, applied=False),
        _broken("closed before the answer", _close, applied=False),
        _broken("reset after the change was applied", _reset_after, applied=True),
        _broken("truncated body", _truncate, applied=True, status_arrives=True),
    ),
    "The answer does not come": (
        Fault("silence", ViTimeoutError, Again.IDEMPOTENT, strike=_silence, limit="read_timeout"),
        Fault(
            "a body that drips for ever", ViTimeoutError, Again.NONE, True,
            strike=_drip_body, status_arrives=True, limit="retry_budget",
        ),
        Fault(
            "headers that drip for ever", ViTimeoutError, Again.NONE, True,
            strike=_drip_head, limit="retry_budget",
        ),
    ),
    "The server or a proxy says no": (
        _status(408, ViTimeoutError, Again.IDEMPOTENT),
        _status(409, ViConflictError, Again.NONE),
        _limited("7 seconds", _says(429, Retry_After="7"), 7),
        _limited("a date in 7 seconds", _asks_for_a_date, 3, 7),
        _limited("a date in the past", _says(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), 0),
        _limited("absurd (10²⁰ seconds)", _says(429, Retry_After="1" + "0" * 20), 60),
        _limited("garbage", _says(429, Retry_After="soon"), 0, 1),
        *(_status(status, ViServerError, Again.IDEMPOTENT) for status in (500, 502, 503, 504, 520)),
        Fault(
            "504 after the change was applied", ViServerError, Again.IDEMPOTENT, True,
            strike=_says(504, carried_out=True),
        ),
    ),
    "The answer is not what it should be": (
        _unusable("200 with HTML", _says(200, b"<html>Sign in</html>", Content_Type="text/html"), applied=False),
        _unusable("200, empty", _says(200, b""), applied=False),
        _unusable("invalid UTF-8", _spoils(_invalid_utf8), applied=True, status_arrives=True),
        _unusable("wrong `kind`", _spoils(_wrong_kind), applied=True, status_arrives=True),
        _unusable(f"a gzip bomb ({HUGE} MiB)", _gzip_bomb, applied=True, status_arrives=True),
        _unusable(f"{HUGE} MiB", _huge, applied=True, status_arrives=True),
        _malformed("no HTTP at all", _no_http),
        _malformed("a header of 100 kB", _long_header),
        _malformed("two `Content-Length` that differ", _two_lengths),
        Fault("103 Early Hints before the answer", applied=True, strike=_early_hints),
    ),
    "The listing changes or lies": (
        Fault("the same item on two pages", strike=_same_item_again, of_listing=True),
        _unusable("a cursor that repeats", _same_cursor_again, applied=False, of_listing=True),
        Fault("flows created and deleted between pages", strike=_others_at_work, of_listing=True, others=True),
    ),
}  # fmt: skip
FAULTS: Final = tuple(fault for faults in GROUPS.values() for fault in faults)
