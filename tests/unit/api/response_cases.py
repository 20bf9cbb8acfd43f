"""Cases of ``test_same_decisions``: redirects, bodies of any shape and size, and what a good response means."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from tests.documents import FLOW_ID, wire_bytes, wire_flow, wire_page
from tests.scripted_server import http_bytes
from tests.transports import (
    CREATE,
    DELETE,
    EXISTS,
    FIND,
    FIND_TWIN,
    GET,
    LIST,
    REPLACE,
    UPDATE,
    Case,
    case,
    http,
    raw,
    truncated,
)
from tests.unit.api.canned_responses import DELETED, DOCUMENT, FLOW, NO_CONTENT, NOT_A_FLOW, NOT_A_PAGE, page
from vi_airflow_provider.api.errors import (
    ViNotFoundError,
    ViPermissionError,
    ViResponseError,
    ViValidationError,
)
from vi_airflow_provider.api.protocol.messages import Failure, FailureKind, Response


def redirects() -> Iterator[Case]:
    for status in (301, 302, 303, 307, 308):
        refused: dict[str, Any] = {"raises": ViResponseError, "status": status}
        for target in ("/v2/flow", "flow?x=1", "http://{here}/v2", "//{here}/v2"):
            name = f"{status} to {target} is followed"
            yield case(name, GET, http(status, Location=target), FLOW, gives=FLOW_ID)
        for target in ("http://{elsewhere}/v2", "//{elsewhere}/v2", "https://{here}/v2", "http://me@{here}/v2"):
            yield case(f"{status} to {target} is refused", GET, http(status, Location=target), **refused)
        for call in (DELETE, REPLACE, UPDATE):
            for target in ("/v2/flow", "http://{here}/v2", "http://{elsewhere}/v2"):
                yield case(f"{status} to {target} is refused", call, http(status, Location=target), **refused)
        yield case(f"{status} to nowhere is an error", GET, http(status), **refused)
    yield case("300 with an address is followed", GET, http(300, Location="/v2/flow"), FLOW, gives=FLOW_ID)
    bad = http(400, Location="/v2/flow")
    yield case("an address in an error is ignored", GET, bad, raises=ViValidationError, status=400)
    yield case("an address in a success is ignored", CREATE, http(201, wire_flow(), Location="/v2"), gives=FLOW_ID)
    again = http(302, Location="/again")
    yield case("the fifth redirect is followed", GET, *[again] * 5, FLOW, gives=FLOW_ID)
    yield case("the sixth redirect is one too many", GET, *[again] * 6, raises=ViResponseError, status=302)
    yield case("a redirect to 404 is a 404", GET, again, http(404), raises=ViNotFoundError, status=404)
    yield case("a redirect to 500 is retried", GET, again, http(500), FLOW, gives=FLOW_ID, slept=(1,))
    for target in ("http://[::1", "http://{here}:port/", "javascript:alert(1)", "http://\xff/"):
        name = f"a redirect to {target!r} is refused"
        yield case(name, GET, http(302, Location=target), raises=ViResponseError, status=302)


def wrong_shapes() -> Iterator[Case]:
    wrong: dict[str, Any] = {"raises": ViResponseError, "status": 200}
    for what, body in NOT_A_PAGE.items():
        yield case(f"{what} is an error, and never an empty list", LIST, http(200, body), **wrong)
    for what, body in NOT_A_FLOW.items():
        yield case(f"{what} is an error", GET, http(200, body), **wrong)
    for call in (EXISTS, FIND, CREATE, UPDATE):
        yield case("HTML is an error", call, http(200, NOT_A_FLOW["HTML"]), **wrong)
    for call in (GET, LIST, REPLACE):
        yield case("204 is an error", call, NO_CONTENT, raises=ViResponseError, status=204)


def sizes_and_codings() -> Iterator[Case]:
    large: dict[str, Any] = {"raises": ViResponseError, "status": 200, "max_response_bytes": 4096}
    too_large = Failure(FailureKind.TOO_LARGE, status=200)
    document = wire_flow(spec__settings={"x": "x" * 5000})
    plain = http_bytes(200, wire_bytes(document))
    packed = http_bytes(200, gzip.compress(wire_bytes(document)), [("Content-Encoding", "gzip")])
    assert len(packed) < 4096
    yield case("a response beyond the limit is refused at once", GET, raw(plain, too_large), **large)
    yield case("a response that decodes beyond the limit is refused", GET, raw(packed, too_large), **large)
    yield case("a response of exactly the limit is read", GET, FLOW, gives=FLOW_ID, max_response_bytes=len(DOCUMENT))
    yield case(
        "200 is success, whatever the size", DELETE, raw(plain, too_large), gives=DELETED, max_response_bytes=4096
    )
    codings: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}
    for name, coding in codings.items():
        coded = http(200, DOCUMENT, coded=coding, Content_Encoding=name)
        yield case(f"{name} is decoded", GET, coded, gives=FLOW_ID)
        coded = http(500, DOCUMENT, coded=coding, Content_Encoding=name)
        yield case(f"{name} of an error is decoded", GET, coded, FLOW, gives=FLOW_ID, slept=(1,))
    broken = Failure(FailureKind.BROKEN, status=200)
    for what, body in {"no gzip": DOCUMENT, "damaged gzip": gzip.compress(DOCUMENT)[:60] + b"\x00" * 60}.items():
        answer = http_bytes(200, body, [("Content-Encoding", "gzip")])
        yield case(f"{what} is retried", GET, raw(answer, broken), FLOW, gives=FLOW_ID, slept=(1,))


def framings() -> Iterator[Case]:
    ok, body = b"HTTP/1.1 200 OK\r\n", Response(200, {}, DOCUMENT)
    chunked = ok + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%b\r\n" % (len(DOCUMENT), DOCUMENT)
    broken = Failure(FailureKind.BROKEN, status=200)
    yield case("chunks are put together", GET, raw(chunked + b"0\r\n\r\n", body), gives=FLOW_ID)
    yield case("chunks without an end is retried", GET, raw(chunked, broken), FLOW, gives=FLOW_ID, slept=(1,))
    yield case(
        "a chunk without a size is retried", GET, raw(chunked + b"x\r\n", broken), FLOW, gives=FLOW_ID, slept=(1,)
    )
    yield case("a body may end with the connection", GET, raw(ok + b"\r\n" + DOCUMENT, body), gives=FLOW_ID)
    proceed = b"HTTP/1.1 100 Continue\r\n\r\n"
    yield case("100 is passed over", GET, raw(proceed + FLOW.act.send, body), gives=FLOW_ID)
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    yield case("103 is passed over", GET, raw(proceed + hints + hints + FLOW.act.send, body), gives=FLOW_ID)
    filler = http_bytes(200, DOCUMENT, [("X-Filler", "x" * 60_000)])
    yield case("a header of 60 kB is read", GET, raw(filler, body), gives=FLOW_ID)
    invalid = Failure(FailureKind.INVALID)
    malformed = {
        "a header of 100 kB": http_bytes(200, DOCUMENT, [("X-Filler", "x" * 100_000)]),
        "two lengths that differ": http_bytes(200, DOCUMENT, [("Content-Length", "7")]),
    }
    for what, answer in malformed.items():
        yield case(f"{what} is retried", GET, raw(answer, invalid), FLOW, gives=FLOW_ID, slept=(1,))
        yield case(f"{what} is not retried", UPDATE, raw(answer, invalid), raises=ViResponseError)


def listings() -> Iterator[Case]:
    last: dict[str, dict[str, Any]] = {"absent": {}, "null": {"nextPage": None}, "empty": {"nextPage": ""}}
    for what, envelope in last.items():
        yield case(f"a cursor that is {what} ends the listing", LIST, page("a", **envelope), gives=["a"])
    yield case("no flows are no error", LIST, page(), gives=[])
    with_holes = (page("a", nextPage="2"), page(nextPage="3"), page(nextPage="4"), page("b"))
    yield case("empty pages in the middle do not end it", LIST, *with_holes, gives=["a", "b"])
    loop: dict[str, Any] = {"raises": ViResponseError, "status": 200, "attempts": 1}
    first, second = page("a", nextPage="2"), page("b", nextPage="3")
    yield case("a cursor that comes back at once is an error", LIST, first, first, **loop)
    yield case("a cursor that comes back later is an error", LIST, first, second, first, **loop)
    bad_network = (first, http(502), truncated(200), page("b"))
    yield case("a page in the middle may fail twice", LIST, *bad_network, gives=["a", "b"], slept=(1, 2))
    forbidden: dict[str, Any] = {"raises": ViPermissionError, "status": 403, "attempts": 1}
    yield case("a page in the middle may be forbidden", LIST, first, http(403), **forbidden)


def questions() -> Iterator[Case]:
    yield case("a flow is a yes", EXISTS, FLOW, gives=True)
    yield case("404 is a no", EXISTS, http(404), gives=False)
    yield case("an id finds its flow", FIND, FLOW, gives=FLOW_ID)
    yield case("an id without a flow finds none", FIND, http(404), gives=None)
    old, new, middle = (
        wire_flow(flowId=name, spec__name="twin", metadata__lastUpdated=time)
        for name, time in {"old": 1, "new": 3, "middle": 2}.items()
    )
    other = wire_flow(metadata__lastUpdated=9)
    pages = http(200, wire_page(old, other, nextPage="2")), http(200, wire_page(new, middle))
    yield case("a name finds the flow that was updated last", FIND_TWIN, *pages, gives="new")
    yield case("a name that no flow has finds none", FIND_TWIN, page("a"), gives=None)
