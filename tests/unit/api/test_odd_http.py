"""One table of odd HTTP, sent byte by byte to both clients: the same decision for each response.

A response is read as the flow that it holds, or refused with the same error, whatever parser meets it.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Any, Final

import pytest

from tests.documents import FLOW_ID, wire_bytes, wire_flow
from tests.scripted_server import Act, ScriptedServer
from tests.transports import settings_for
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.errors import ViError

BODY: Final = wire_bytes(wire_flow())
SIZE: Final = len(BODY)
OK: Final = b"HTTP/1.1 200 OK\r\n"
GZIP: Final = gzip.compress(BODY)
DEFLATE: Final = zlib.compress(BODY)
RAW_DEFLATE: Final = DEFLATE[2:-4]
CODED: Final = b"Transfer-Encoding: chunked"


def length(size: int = SIZE) -> bytes:
    return b"Content-Length: %d\r\n" % size


def framed(*lines: bytes, body: bytes = BODY, first: bytes = OK) -> bytes:
    """A response with a length, and these header lines before it."""
    return first + b"".join(line + b"\r\n" for line in lines) + length(len(body)) + b"\r\n" + body


def in_one_chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def after_informational(count: int, *statuses: int) -> bytes:
    """A response that follows informational ones, which have these statuses in turn."""
    heads = (b"HTTP/1.1 %d X\r\nLink: </a>\r\n\r\n" % statuses[at % len(statuses)] for at in range(count))
    return b"".join(heads) + framed()


CHUNKED: Final = in_one_chunk(BODY)


def chunked(*lines: bytes, body: bytes = CHUNKED) -> bytes:
    """A response with a body in chunks, and these header lines."""
    return OK + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


#: How both clients refuse a response: the beginning of the message, and the status of the error.
INVALID: Final = ("the response is not valid HTTP", None)
BROKEN: Final = ("the connection broke before the response was complete", 200)
NOT_JSON: Final = ("the response is not JSON", 200)

ACCEPTED: Final = {
    "plain": framed(),
    "Content-Length leading zeros": OK + b"Content-Length: 000%d\r\n\r\n" % SIZE + BODY,
    "no length": OK + b"\r\n" + BODY,
    "chunked": chunked(CODED),
    "chunked upper": chunked(b"Transfer-Encoding: CHUNKED"),
    "chunk ext": chunked(CODED, body=b"%x;a=b\r\n%b\r\n0\r\n\r\n" % (SIZE, BODY)),
    "chunk size spaces": chunked(CODED, body=b"%x  \r\n%b\r\n0\r\n\r\n" % (SIZE, BODY)),
    "chunk leading zeros": chunked(CODED, body=b"000%x\r\n%b\r\n0\r\n\r\n" % (SIZE, BODY)),
    "chunk upper hex": chunked(CODED, body=b"%X\r\n%b\r\n0\r\n\r\n" % (SIZE, BODY)),
    "chunk trailers": chunked(CODED, body=b"%x\r\n%b\r\n0\r\nX: y\r\n\r\n" % (SIZE, BODY)),
    "gzip": framed(b"Content-Encoding: gzip", body=GZIP),
    "x-gzip": framed(b"Content-Encoding: x-gzip", body=GZIP),
    "GZIP": framed(b"Content-Encoding: GZIP", body=GZIP),
    "deflate": framed(b"Content-Encoding: deflate", body=DEFLATE),
    "raw deflate": framed(b"Content-Encoding: deflate", body=RAW_DEFLATE),
    "CE identity": framed(b"Content-Encoding: identity"),
    "CE empty": framed(b"Content-Encoding:"),
    "CE unknown": framed(b"Content-Encoding: zip"),
    "CE br not asked": framed(b"Content-Encoding: br"),
    "CE zstd": framed(b"Content-Encoding: zstd"),
    "CE identity, gzip": framed(b"Content-Encoding: identity, gzip", body=GZIP),
    "gzip two members": framed(b"Content-Encoding: gzip", body=gzip.compress(BODY[:50]) + gzip.compress(BODY[50:])),
    "gzip chunked": chunked(b"Content-Encoding: gzip", CODED, body=in_one_chunk(GZIP)),
    "gzip spaces": framed(b"Content-Encoding:  gzip ", body=GZIP),
    "folded": framed(b"X-A: a\r\n b"),
    "folded first": OK + b" x: y\r\n" + length() + b"\r\n" + BODY,
    "latin1 value": framed(b"X-A: \xe4"),
    "utf8 value": framed("X-A: ü€".encode()),
    "ctl value": framed(b"X-A: a\x01b"),
    "del value": framed(b"X-A: a\x7fb"),
    "LF only head": b"HTTP/1.1 200 OK\nContent-Length: %d\n\n" % SIZE + BODY,
    "mixed LF": b"HTTP/1.1 200 OK\r\nContent-Length: %d\n\r\n" % SIZE + BODY,
    "HTTP/1.0": framed(first=b"HTTP/1.0 200 OK\r\n"),
    "no reason": framed(first=b"HTTP/1.1 200\r\n"),
    "no reason blank": framed(first=b"HTTP/1.1 200 \r\n"),
    "leading blank line": framed(first=b"\r\nHTTP/1.1 200 OK\r\n"),
    "latin1 reason": framed(first=b"HTTP/1.1 200 \xe4\r\n"),
    "100 headers": b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" + framed(),
    "102": b"HTTP/1.1 102 Processing\r\n\r\n" + framed(),
    "199": b"HTTP/1.1 199 X\r\n\r\n" + framed(),
    "100 times 100": after_informational(100, 100),
    "100 times 103": after_informational(100, 103),
    "100 informational": after_informational(100, 100, 102, 103, 199),
    "205": framed(first=b"HTTP/1.1 205 Reset\r\n"),
    "206": framed(first=b"HTTP/1.1 206 Partial\r\n"),
    "90 headers": OK + b"".join(b"X-%d: a\r\n" % i for i in range(90)) + length() + b"\r\n" + BODY,
    "long reason": framed(first=b"HTTP/1.1 200 " + b"x" * 9000 + b"\r\n"),
    "header 64k": framed(b"X: " + b"x" * 65400),
    "name 60k": framed(b"x" * 60000 + b": a"),
    "total 300k": OK + b"".join(b"X-%d: %s\r\n" % (i, b"a" * 6000) for i in range(50)) + length() + b"\r\n" + BODY,
    "total 3M": OK + b"".join(b"X-%d: %s\r\n" % (i, b"a" * 60000) for i in range(50)) + length() + b"\r\n" + BODY,
    "set-cookie": framed(b"Set-Cookie: a=b; Path=/"),
    "bad cookie": framed(b"Set-Cookie: \xff=;;;"),
    "bad content-type": framed(b"Content-Type: ;;;"),
    "keep-alive": framed(b"Connection: keep-alive"),
    "upgrade hdr": framed(b"Upgrade: h2c", b"Connection: Upgrade"),
}
INVALID_RESPONSES: Final = {
    "equal duplicate Content-Length": framed(b"Content-Length: %d" % SIZE),
    "Content-Length n, n": OK + b"Content-Length: %d, %d\r\n\r\n" % (SIZE, SIZE) + BODY,
    "differing lengths": framed(b"Content-Length: 7"),
    "Content-Length n,m": OK + b"Content-Length: %d, 7\r\n\r\n" % SIZE + BODY,
    "Content-Length +n": OK + b"Content-Length: +%d\r\n\r\n" % SIZE + BODY,
    "Content-Length -1": OK + b"Content-Length: -1\r\n\r\n" + BODY,
    "Content-Length empty": OK + b"Content-Length:\r\n\r\n" + BODY,
    "Content-Length hex": OK + b"Content-Length: 0x10\r\n\r\n" + BODY,
    "Content-Length 1_0": OK + b"Content-Length: 1_0\r\n\r\n" + BODY,
    "Content-Length text": OK + b"Content-Length: many\r\n\r\n" + BODY,
    "Content-Length n.0": OK + b"Content-Length: %d.0\r\n\r\n" % SIZE + BODY,
    "Content-Length huge": OK + b"Content-Length: 99999999999999999999\r\n\r\n" + BODY,
    "length and chunked": OK + length() + CODED + b"\r\n\r\n" + CHUNKED,
    "chunked twice": chunked(CODED, CODED),
    "chunked, chunked": chunked(b"Transfer-Encoding: chunked, chunked"),
    "identity": framed(b"Transfer-Encoding: identity"),
    "TE gzip": framed(b"Transfer-Encoding: gzip"),
    "TE gzip, chunked": chunked(b"Transfer-Encoding: gzip, chunked", body=in_one_chunk(GZIP)),
    "TE identity, chunked": chunked(b"Transfer-Encoding: identity, chunked"),
    "TE xchunked": chunked(b"Transfer-Encoding: xchunked"),
    "TE chunked;q": chunked(b"Transfer-Encoding: chunked;q=1"),
    "TE space": chunked(b"Transfer-Encoding : chunked"),
    "TE empty": framed(b"Transfer-Encoding:"),
    "chunk leading space": chunked(CODED, body=b"  %x\r\n%b\r\n0\r\n\r\n" % (SIZE, BODY)),
    "chunk 0x": chunked(CODED, body=b"0x%x\r\n%b\r\n0\r\n\r\n" % (SIZE, BODY)),
    "chunk plus": chunked(CODED, body=b"+%x\r\n%b\r\n0\r\n\r\n" % (SIZE, BODY)),
    "chunk minus": chunked(CODED, body=b"-%x\r\n%b\r\n0\r\n\r\n" % (SIZE, BODY)),
    "chunk underscore": chunked(
        CODED, body=b"%b\r\n%b\r\n0\r\n\r\n" % ((b"%x" % SIZE)[:1] + b"_" + (b"%x" % SIZE)[1:], BODY)
    ),
    "chunk LF only": chunked(CODED, body=b"%x\n%b\n0\n\n" % (SIZE, BODY)),
    "chunk data missing crlf": chunked(CODED, body=b"%x\r\n%b0\r\n\r\n" % (SIZE, BODY)),
    "chunk too big": chunked(CODED, body=b"ffffffffffffffffff\r\n%b\r\n0\r\n\r\n" % BODY),
    "chunk empty size": chunked(CODED, body=b"\r\n%b\r\n0\r\n\r\n" % BODY),
    "blank in header name": framed(b"X Filler: a"),
    "blank before colon": framed(b"X-Filler : a"),
    "tab in name": framed(b"X\tF: a"),
    "empty name": framed(b": a"),
    "no colon": framed(b"garbage"),
    "non-ascii name": framed(b"X-\xe4: a"),
    "nul value": framed(b"X-A: a\x00b"),
    "bare CR value": framed(b"X-A: a\rb"),
    "paren name": framed(b"X(A): a"),
    "quote name": framed(b'"X": a'),
    "at name": framed(b"X@A: a"),
    "CR only": b"HTTP/1.1 200 OK\rContent-Length: %d\r\r" % SIZE + BODY,
    "HTTP/0.9": BODY,
    "HTTP/2.0": framed(first=b"HTTP/2.0 200 OK\r\n"),
    "HTTP/1.2": framed(first=b"HTTP/1.2 200 OK\r\n"),
    "HTTP/1": framed(first=b"HTTP/1 200 OK\r\n"),
    "http lower": framed(first=b"http/1.1 200 OK\r\n"),
    "HTTP/1.10": framed(first=b"HTTP/1.10 200 OK\r\n"),
    "HTTP/11.1": framed(first=b"HTTP/11.1 200 OK\r\n"),
    "HTTP/3.0": framed(first=b"HTTP/3.0 200 OK\r\n"),
    "status 2000": framed(first=b"HTTP/1.1 2000 OK\r\n"),
    "status 20": framed(first=b"HTTP/1.1 20 OK\r\n"),
    "status 099": framed(first=b"HTTP/1.1 099 OK\r\n"),
    "status abc": framed(first=b"HTTP/1.1 abc OK\r\n"),
    "two blanks": framed(first=b"HTTP/1.1  200 OK\r\n"),
    "tab": framed(first=b"HTTP/1.1\t200\tOK\r\n"),
    "leading blank": framed(first=b" HTTP/1.1 200 OK\r\n"),
    "status +200": framed(first=b"HTTP/1.1 +200 OK\r\n"),
    "204 with body": b"HTTP/1.1 204 No Content\r\n" + length() + b"\r\n" + BODY,
    "100 headers 200": OK + b"".join(b"X-%d: a\r\n" % i for i in range(200)) + length() + b"\r\n" + BODY,
    "reason 70k": framed(first=b"HTTP/1.1 200 " + b"x" * 70000 + b"\r\n"),
    "101 times 100": after_informational(101, 100),
    "101 times 103": after_informational(101, 103),
    "101 informational": after_informational(101, 100, 102, 103, 199),
    "informational header 66k": b"HTTP/1.1 103 X\r\nX: " + b"x" * 66000 + b"\r\n\r\n" + framed(),
    "informational no colon": b"HTTP/1.1 103 X\r\ngarbage\r\n\r\n" + framed(),
    "informational paren name": b"HTTP/1.1 103 X\r\nX(A): a\r\n\r\n" + framed(),
    "header 66k": framed(b"X: " + b"x" * 66000),
}
BROKEN_RESPONSES: Final = {
    "length too long": OK + length(SIZE + 5) + b"\r\n" + BODY,
    "chunk no end": chunked(CODED, body=b"%x\r\n%b\r\n" % (SIZE, BODY)),
    "chunk end no blank": chunked(CODED, body=b"%x\r\n%b\r\n0\r\n" % (SIZE, BODY)),
    "gzip trailing garbage": framed(b"Content-Encoding: gzip", body=GZIP + b"xxxx"),
    "gzip truncated": framed(b"Content-Encoding: gzip", body=GZIP[:-10]),
    "gzip bad crc": framed(b"Content-Encoding: gzip", body=GZIP[:-8] + b"\x00" * 8),
}
NOT_JSON_RESPONSES: Final = {
    "TE vertical tab": chunked(b"Transfer-Encoding: \x0bchunked"),
    "CE gzip, gzip": framed(b"Content-Encoding: gzip, gzip", body=gzip.compress(GZIP)),
    "CE gzip twice lines": framed(b"Content-Encoding: gzip", b"Content-Encoding: gzip", body=gzip.compress(GZIP)),
    "CE deflate, gzip": framed(b"Content-Encoding: deflate, gzip", body=gzip.compress(DEFLATE)),
    "BOM": framed(body=b"\xef\xbb\xbf" + BODY),
}
REFUSED: Final[dict[str, tuple[bytes, tuple[str, int | None]]]] = {
    **{name: (response, INVALID) for name, response in INVALID_RESPONSES.items()},
    **{name: (response, BROKEN) for name, response in BROKEN_RESPONSES.items()},
    **{name: (response, NOT_JSON) for name, response in NOT_JSON_RESPONSES.items()},
    "an empty gzip body": (framed(b"Content-Encoding: gzip", body=b""), ("the response is empty", 200)),
    "status 600": (framed(first=b"HTTP/1.1 600 X\r\n"), ("600", 600)),
    "status 999": (framed(first=b"HTTP/1.1 999 X\r\n"), ("999", 999)),
    "101": (OK.replace(b"200 OK", b"101 Switching Protocols") + b"Upgrade: x\r\n\r\n" + framed(), ("101", 101)),
}


def by_client(url: str) -> Any:
    with ViClient(settings_for(url, max_retries=0)) as vi:
        return vi.get_flow(FLOW_ID)


def by_async_client(url: str) -> Any:
    async def run() -> Any:
        async with AsyncViClient(settings_for(url, max_retries=0)) as vi:
            return await vi.get_flow(FLOW_ID)

    return asyncio.run(run())


both_clients: Final = pytest.mark.parametrize("ask", [by_client, by_async_client])


@both_clients
@pytest.mark.parametrize("name", ACCEPTED)
def test_a_harmless_oddity_is_read(name: str, ask: Any) -> None:
    with ScriptedServer([Act(ACCEPTED[name])]) as server:
        assert ask(server.url).to_wire() == wire_flow()


@both_clients
@pytest.mark.parametrize("name", REFUSED)
def test_a_response_that_can_be_read_in_two_ways_is_refused(name: str, ask: Any) -> None:
    response, (message, status) = REFUSED[name]
    with ScriptedServer([Act(response)]) as server, pytest.raises(ViError) as caught:
        ask(server.url)
    assert str(caught.value.args[0]).startswith(message)
    assert caught.value.status_code == status


@both_clients
def test_a_length_that_is_too_short_is_refused(ask: Any) -> None:
    # The only known difference: one client notices the rest of the body, the other that the JSON breaks off.
    with ScriptedServer([Act(OK + length(SIZE - 5) + b"\r\n" + BODY)]) as server, pytest.raises(ViError) as caught:
        ask(server.url)
    assert str(caught.value.args[0]).startswith((INVALID[0], NOT_JSON[0]))


def test_the_table_is_large() -> None:
    assert len(ACCEPTED) + len(REFUSED) > 125
