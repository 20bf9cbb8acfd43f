"""The one table of what responses mean. Each case is played three ways, and all must decide the same.

A case specifies what a script of outcomes means: the value or the error, how many requests were sent, and how long
the waits between them were. See ``tests.transports`` for how a case is played.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from tests.documents import ABSENT, FLOW_ID, wire_bytes, wire_flow, wire_page
from tests.scripted_server import http_bytes
from tests.transports import (
    CLOSED,
    CREATE,
    DELETE,
    DELETE_IF,
    EXISTS,
    FIND,
    FIND_TWIN,
    GARBAGE,
    GET,
    LIST,
    MATCHING,
    REFUSED,
    REPLACE,
    REPLACE_IF,
    RESET,
    RESTORE_IF,
    SILENT,
    UPDATE,
    WAYS,
    Call,
    Case,
    Outcome,
    Verdict,
    case,
    http,
    raw,
    stalled,
    truncated,
)
from vi_airflow_provider.api.errors import (
    ViAuthenticationError,
    ViConflictError,
    ViError,
    ViNetworkError,
    ViNotFoundError,
    ViPermissionError,
    ViRateLimitError,
    ViResponseError,
    ViServerError,
    ViTimeoutError,
    ViValidationError,
)
from vi_airflow_provider.api.models import DeletedFlow
from vi_airflow_provider.api.protocol.messages import Failure, FailureKind, Response

DOCUMENT: Final = wire_bytes(wire_flow())
FLOW: Final = http(200, wire_flow())
NO_CONTENT: Final = http(204)

DELETED: Final = DeletedFlow(id=FLOW_ID, deleted=True, already_absent=False)
NOT_THERE: Final = DeletedFlow(id=FLOW_ID, deleted=False, already_absent=True)


def page(*flow_ids: str, **envelope: Any) -> Outcome:
    return http(200, wire_page(*(wire_flow(flowId=flow_id) for flow_id in flow_ids), **envelope))


FINAL_STATUSES: Final = {
    300: ViResponseError,
    304: ViResponseError,
    400: ViValidationError,
    401: ViAuthenticationError,
    402: ViValidationError,
    403: ViPermissionError,
    404: ViNotFoundError,
    405: ViValidationError,
    409: ViConflictError,
    410: ViValidationError,
    413: ViValidationError,
    415: ViValidationError,
    422: ViValidationError,
    423: ViValidationError,
    451: ViValidationError,
}
PASSING_STATUSES: Final = {
    408: ViTimeoutError,
    500: ViServerError,
    501: ViServerError,
    502: ViServerError,
    503: ViServerError,
    504: ViServerError,
    520: ViServerError,
    599: ViServerError,
}


def statuses() -> Iterator[Case]:
    for status, error in FINAL_STATUSES.items():
        for call in (GET, UPDATE):
            yield case(f"{status} is {error.__name__} at once", call, http(status), raises=error, status=status)
        if status != 404:
            for call in (EXISTS, DELETE):
                yield case(f"{status} is {error.__name__}, too", call, http(status), raises=error, status=status)
    for status, error in PASSING_STATUSES.items():
        for call in (GET, REPLACE):
            yield case(f"{status} is retried", call, http(status), FLOW, gives=FLOW_ID, slept=(1,))
        for call in (GET, DELETE):
            name = f"{status} at every attempt is {error.__name__}"
            yield case(name, call, *[http(status)] * 4, raises=error, status=status, slept=(1, 2, 4))
        yield case(f"{status} is not retried", UPDATE, http(status), raises=error, status=status)
    for status in (200, 201, 202, 203):
        yield case(f"{status} with the flow is success", CREATE, http(status, wire_flow()), gives=FLOW_ID)


RETRY_AFTER: Final = {
    "7": 7,
    "0": 0,
    "1.5": 1.5,
    "-5": 0,
    "60": 60,
    "61": 60,
    "9" * 300: 60,
    "Wed, 21 Oct 2015 07:28:00 GMT": 0,
    "Fri, 31 Dec 9999 23:59:59 GMT": 60,
    # Not usable, so the wait is that of a first retry: 1 second at most.
    "soon": 1,
    "": 1,
    "7 seconds": 1,
    "1e1": 1,
    "0x10": 1,
    "inf": 1,
    "Wed, 99 Oct 2015 07:28:00 GMT": 1,
}


def retry_after() -> Iterator[Case]:
    for text, seconds in RETRY_AFTER.items():
        for status in (429, 503):
            name = f"{status} with Retry-After {text[:30]!r} waits {seconds} s"
            yield case(name, GET, http(status, Retry_After=text), FLOW, gives=FLOW_ID, slept=(seconds,))
    for status in (408, 500, 502, 504):
        name = f"{status} with Retry-After waits as without"
        yield case(name, GET, http(status, Retry_After="7"), FLOW, gives=FLOW_ID, slept=(1,))
    twice = http_bytes(429, headers=(("Retry-After", "7"), ("Retry-After", "9")))
    means = Response(429, {"retry-after": "7, 9"})
    yield case("two different Retry-After are none", GET, raw(twice, means), FLOW, gives=FLOW_ID, slept=(1,))
    later = http(429, Retry_After="2")
    yield case("429 is retried", UPDATE, later, FLOW, gives=FLOW_ID, slept=(2,))
    later = http(503, Retry_After="0")
    yield case("503 is not retried, even with Retry-After", UPDATE, later, raises=ViServerError, status=503)


def patience() -> Iterator[Case]:
    limit, fail = http(429, Retry_After="3"), http(500)
    limited: dict[str, Any] = {"raises": ViRateLimitError, "status": 429}
    failed: dict[str, Any] = {"raises": ViServerError, "status": 500}
    yield case("429 without Retry-After backs off", GET, *[http(429)] * 3, FLOW, gives=FLOW_ID, slept=(1, 2, 4))
    yield case("429 is waited out 20 times by default", GET, *[limit] * 20, FLOW, gives=FLOW_ID, slept=(3,) * 20)
    yield case("and not 21 times", GET, *[limit] * 21, slept=(3,) * 20, **limited)
    yield case("max_rate_limit_retries=2", GET, *[limit] * 3, slept=(3, 3), max_rate_limit_retries=2, **limited)
    yield case("max_rate_limit_retries=0", GET, limit, max_rate_limit_retries=0, **limited)
    yield case("max_retries=0", GET, fail, max_retries=0, **failed)
    yield case("max_retries=1", GET, fail, fail, slept=(1,), max_retries=1, **failed)
    yield case("429 uses up no max_retries", GET, limit, fail, FLOW, gives=FLOW_ID, slept=(3, 1), max_retries=1)
    mixed = [limit, fail] * 4
    yield case("429 and 500 count apart", GET, *mixed, slept=(3, 1, 3, 2, 3, 4, 3), **failed)
    delays: dict[str, Any] = {"max_retries": 5, "max_retry_delay": 3}
    yield case("max_retry_delay bounds a wait", GET, *[fail] * 5, FLOW, gives=FLOW_ID, slept=(1, 2, 3, 3, 3), **delays)
    yield case("max_retry_delay=0 goes on at once", GET, fail, FLOW, gives=FLOW_ID, slept=(0,), max_retry_delay=0)
    long = http(429, Retry_After="10")
    yield case("a wait beyond the budget is not begun", GET, long, retry_budget=10, **limited)
    yield case("a wait within the budget is", GET, long, FLOW, gives=FLOW_ID, slept=(10,), retry_budget=10.1)
    short = http(503, Retry_After="4")
    given_up: dict[str, Any] = {"raises": ViServerError, "status": 503}
    yield case("waits use up the budget", GET, *[short] * 3, slept=(4, 4), retry_budget=10, **given_up)
    pages = (short, page("a", nextPage="2"), short, page("b"))
    yield case("each page has its own budget", LIST, *pages, gives=["a", "b"], slept=(4, 4), retry_budget=5)
    yield case("each page has its own retries", LIST, *pages, gives=["a", "b"], slept=(4, 4), max_retries=1)


NO_ANSWER: Final[dict[str, tuple[Outcome, type[ViError]]]] = {
    "a reset": (RESET, ViNetworkError),
    "a close": (CLOSED, ViNetworkError),
    "garbage": (GARBAGE, ViResponseError),
}


def broken_connections() -> Iterator[Case]:
    for what, (outcome, error) in NO_ANSWER.items():
        for call in (GET, CREATE):
            yield case(f"{what} is retried", call, outcome, FLOW, gives=FLOW_ID, slept=(1,))
        for call in (GET, DELETE):
            name = f"{what} at every attempt is {error.__name__}"
            yield case(name, call, outcome, outcome, raises=error, slept=(1,), max_retries=1)
        yield case(f"{what} is not retried", UPDATE, outcome, raises=error)
    for call in (GET, CREATE):
        yield case("a truncated response is retried", call, truncated(200), FLOW, gives=FLOW_ID, slept=(1,))
    yield case("a truncated response is not retried", UPDATE, truncated(200), raises=ViNetworkError, status=200)
    yield case("a truncated 200 is success", DELETE, truncated(200), gives=DELETED)
    yield case("a truncated 404 is a 404", DELETE, truncated(404), gives=NOT_THERE)
    yield case("a truncated 409 is a conflict", DELETE, truncated(409), raises=ViConflictError, status=409)
    yield case("a truncated 500 is retried", DELETE, truncated(500), NO_CONTENT, gives=DELETED, slept=(1,))
    for call in (GET, CREATE, UPDATE):
        yield case("a refused connection is retried", call, REFUSED, REFUSED, FLOW, gives=FLOW_ID, slept=(1, 2))
    refusals = [REFUSED] * 4
    yield case("refused at every attempt is ViNetworkError", UPDATE, *refusals, raises=ViNetworkError, slept=(1, 2, 4))


def silence() -> Iterator[Case]:
    # The only cases that wait by the clock on the wall: a read timeout is the socket's own. Hence so few.
    soon: dict[str, Any] = {"read_timeout": 0.5}
    late: dict[str, Any] = {"raises": ViTimeoutError, **soon}
    yield case("silence is retried", GET, SILENT, FLOW, gives=FLOW_ID, slept=(1,), **soon)
    yield case("silence is not retried", UPDATE, SILENT, **late)
    yield case("404 after silence means deleted", DELETE, SILENT, http(404), gives=DELETED, slept=(1,), **soon)
    yield case("a stalled response is retried", GET, stalled(200), FLOW, gives=FLOW_ID, slept=(1,), **soon)
    yield case("a stalled response is not retried", UPDATE, stalled(200), status=200, **late)
    yield case("a stalled 200 is success", DELETE, stalled(200), gives=DELETED, **soon)


def deletes() -> Iterator[Case]:
    for status in (200, 202, 203, 204):
        yield case(f"{status} is success", DELETE, http(status), gives=DELETED)
    for body in (b"{}", b"null", b"OK", b"\xff\xfe\x00", b'{"error":"x"}', DOCUMENT):
        yield case(f"200 with {body[:20]!r} is success", DELETE, http(200, body), gives=DELETED)
    page = http(200, NOT_A_FLOW["HTML"])
    yield case("200 with HTML is some login page, and no success", DELETE, page, raises=ViResponseError, status=200)
    yield case("404 with HTML is a 404", DELETE, http(404, NOT_A_FLOW["HTML"]), gives=NOT_THERE)
    yield case("404 at first means absent", DELETE, http(404), gives=NOT_THERE)
    for status in PASSING_STATUSES:
        name = f"404 after {status} means that the first request did it"
        yield case(name, DELETE, http(status), http(404), gives=DELETED, slept=(1,))
    for what, (outcome, _) in NO_ANSWER.items():
        name = f"404 after {what} means that the first request did it"
        yield case(name, DELETE, outcome, http(404), gives=DELETED, slept=(1,))
    name = "means absent: the first request was not processed"
    yield case(f"404 after 429 {name}", DELETE, http(429), http(404), gives=NOT_THERE, slept=(1,))
    yield case(f"404 after a refused connection {name}", DELETE, REFUSED, http(404), gives=NOT_THERE, slept=(1,))
    both = (http(429), http(500), http(404))
    yield case("404 after 429 and 500 means deleted", DELETE, *both, gives=DELETED, slept=(1, 1))
    yield case("409 after 500", DELETE, http(500), http(409), raises=ViConflictError, status=409, slept=(1,))


SEEN: Final = http(200, wire_flow(etag=MATCHING, spec__name="seen"))
EDITED: Final = http(200, wire_flow(etag="edited", spec__name="edited"))
#: What REPLACE_IF and RESTORE_IF write, as a later read shows it: with bookkeeping of the server.
REPLACED: Final = http(200, wire_flow(etag="new", metadata__attributes={"a": "b"}, metadata__generation=9))
RESTORED: Final = http(200, wire_flow(etag="new", metadata__generation=9))


def guarded_deletes() -> Iterator[Case]:
    yield case("a flow that matches is deleted", DELETE_IF, SEEN, NO_CONTENT, gives=DELETED)
    yield case("a flow that does not match is returned", DELETE_IF, EDITED, gives=FLOW_ID)
    yield case("an absent flow is already absent", DELETE_IF, http(404), gives=NOT_THERE)
    yield case("a flow deleted after the read is already absent", DELETE_IF, SEEN, http(404), gives=NOT_THERE)
    yield case("reads are retried", DELETE_IF, http(503), SEEN, NO_CONTENT, gives=DELETED, slept=(1,))
    for what, failed in GUARDED_FAILURES.items():
        yield case(f"after {what} it reads again", DELETE_IF, SEEN, failed, SEEN, NO_CONTENT, gives=DELETED, slept=(1,))
        name = f"an edit after {what} is not deleted"
        yield case(name, DELETE_IF, SEEN, failed, EDITED, gives=FLOW_ID, slept=(1,))
    for what in ("a 500", "a reset"):
        gone = (SEEN, GUARDED_FAILURES[what], http(404))
        yield case(f"absent after {what} means deleted", DELETE_IF, *gone, gives=DELETED, slept=(1,))
    yield case("absent after 429 is already absent", DELETE_IF, SEEN, http(429), http(404), gives=NOT_THERE, slept=(1,))
    yield case("Retry-After is honoured", DELETE_IF, *waits(NO_CONTENT), gives=DELETED, slept=(5,))
    yield from guarded_refusals(DELETE_IF)


def guarded_writes() -> Iterator[Case]:
    for call, result in ((REPLACE_IF, REPLACED), (RESTORE_IF, RESTORED)):
        yield case("an absent flow is written", call, http(404), result, gives=(True, "new"))
        yield case("a flow that matches is overwritten", call, SEEN, result, gives=(True, "new"))
        yield case("a flow that does not match is returned", call, EDITED, gives=(False, "edited"))
        yield case("Retry-After is honoured", call, *waits(result), gives=(True, "new"), slept=(5,))
        for what, failed in GUARDED_FAILURES.items():
            again = (SEEN, failed, SEEN, result)
            yield case(f"after {what} it reads again", call, *again, gives=(True, "new"), slept=(1,))
            name = f"an edit after {what} is not overwritten"
            yield case(name, call, SEEN, failed, EDITED, gives=(False, "edited"), slept=(1,))
        for what in ("a 500", "a reset"):
            found = (SEEN, GUARDED_FAILURES[what], result)
            yield case(f"its own content after {what} is written", call, *found, gives=(True, "new"), slept=(1,))
        name = "its own content after 429 is another writer's"
        yield case(name, call, SEEN, http(429), result, gives=(False, "new"), slept=(1,))
        yield from guarded_refusals(call)


GUARDED_FAILURES: Final = {
    "a 429": http(429),
    "a 500": http(500),
    "a 503": http(503),
    "a reset": RESET,
    "garbage": GARBAGE,
}


def waits(result: Outcome) -> tuple[Outcome, ...]:
    return SEEN, http(503, Retry_After="5"), SEEN, result


def guarded_refusals(call: Call) -> Iterator[Case]:
    conflict: dict[str, Any] = {"raises": ViConflictError, "status": 409, "attempts": 1}
    yield case("409 is raised at once", call, SEEN, http(409), **conflict)
    conflict["attempts"] = 2
    yield case("409 after 500 is raised", call, SEEN, http(500), SEEN, http(409), slept=(1,), **conflict)
    failed: dict[str, Any] = {"raises": ViServerError, "status": 500}
    yield case("without retries it fails at once", call, SEEN, http(500), max_retries=0, attempts=1, **failed)
    once = [SEEN, http(500)]
    yield case("retries are counted over all rounds", call, *once * 4, slept=(1, 2, 4), attempts=4, **failed)
    limited: dict[str, Any] = {"raises": ViRateLimitError, "status": 429, "attempts": 1}
    yield case("without retries 429 fails at once", call, SEEN, http(429), max_rate_limit_retries=0, **limited)
    late = [SEEN, http(503, Retry_After="6")] * 2
    given_up: dict[str, Any] = {"raises": ViServerError, "status": 503, "attempts": 2}
    yield case("waits use up one budget", call, *late, slept=(6,), retry_budget=10, **given_up)
    unread: dict[str, Any] = {"raises": ViResponseError, "status": 200, "attempts": 1}
    yield case("what is no flow writes nothing", call, http(200, NOT_A_FLOW["HTML"]), **unread)
    yield case("a forbidden read writes nothing", call, http(403), raises=ViPermissionError, status=403)


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


NOT_A_PAGE: Final = {
    "an error object": b'{"error":"Internal"}',
    "an array": b"[]",
    "an empty object": b"{}",
    "items as an object": b'{"items":{}}',
    "items as null": b'{"items":null}',
    "items as text": b'{"items":"none"}',
    "a text": b'"items"',
    "null": b"null",
    "HTML": b"<!DOCTYPE html><html><body>Sign in</body></html>",
    "JSON that breaks off": b'{"items":[{"kind":"Flow",',
    "JSON with something behind it": b'{"items":[]} {"items":[]}',
    "nothing": b"",
    "white space": b" \r\n\t",
    "a cursor in invalid UTF-8": b'{"items":[],"nextPage":"\xff"}',
    "a cursor that is a number": b'{"items":[],"nextPage":5}',
    "a cursor that is an object": b'{"items":[],"nextPage":{}}',
    "a cursor that is false": b'{"items":[],"nextPage":false}',
    "deep nesting": b'{"items":' + b"[" * 100_000,
    "a flow that is a number": b'{"items":[5]}',
    "a flow that is null": b'{"items":[null]}',
    "a flow that is an array": b'{"items":[[]]}',
    "a flow of the wrong kind": wire_bytes(wire_page(wire_flow(kind="Run"))),
    "a flow whose kind is in lower case": wire_bytes(wire_page(wire_flow(kind="flow"))),
    "a flow whose kind is null": wire_bytes(wire_page(wire_flow(kind=None))),
    "a flow without etag": wire_bytes(wire_page(wire_flow(etag=ABSENT))),
    "a flow with invalid UTF-8": wire_bytes(wire_page(wire_flow(etag="~"))).replace(b"~", b"\xff"),
    "a flow with NaN": wire_bytes(wire_page(wire_flow(spec__settings={"rate": 0.5}))).replace(b"0.5", b"NaN"),
}
NOT_A_FLOW: Final = {
    "an error object": b'{"error":"Internal"}',
    "an array": wire_bytes([wire_flow()]),
    "a page": wire_bytes(wire_page(wire_flow())),
    "null": b"null",
    "HTML": b"<html></html>",
    "JSON that breaks off": DOCUMENT[:-1],
    "JSON with something behind it": DOCUMENT + b"{}",
    "nothing": b"",
    "the wrong kind": wire_bytes(wire_flow(kind="Run")),
    "invalid UTF-8": wire_bytes(wire_flow(etag="~")).replace(b"~", b"\xff"),
    "half a surrogate pair": wire_bytes(wire_flow(etag="~")).replace(b"~", b"\\ud800"),
    "NaN": wire_bytes(wire_flow(spec__settings={"rate": 0.5})).replace(b"0.5", b"NaN"),
    "minus infinity": wire_bytes(wire_flow(spec__settings={"rate": 0.5})).replace(b"0.5", b"-Infinity"),
}


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


CASES: Final = [
    *statuses(),
    *retry_after(),
    *patience(),
    *broken_connections(),
    *silence(),
    *deletes(),
    *guarded_deletes(),
    *guarded_writes(),
    *redirects(),
    *wrong_shapes(),
    *sizes_and_codings(),
    *framings(),
    *listings(),
    *questions(),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.behaviour)
def test_protocol_and_clients_decide_the_same(
    case: Case, way: Callable[[Case, pytest.MonkeyPatch], Verdict], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert way(case, monkeypatch) == case.expected


def test_no_two_cases_have_the_same_name() -> None:
    names = sorted(case.behaviour for case in CASES)
    assert names == sorted(set(names))
