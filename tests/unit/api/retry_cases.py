"""Cases of ``test_same_decisions``: which status or failure is retried, and after which wait."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tests.documents import FLOW_ID, wire_flow
from tests.scripted_server import http_bytes
from tests.transports import (
    CLOSED,
    CREATE,
    DELETE,
    EXISTS,
    GARBAGE,
    GET,
    LIST,
    REFUSED,
    REPLACE,
    RESET,
    SILENT,
    UPDATE,
    Case,
    Outcome,
    case,
    http,
    raw,
    stalled,
    truncated,
)
from tests.unit.api.canned_responses import DELETED, FLOW, NO_CONTENT, NOT_THERE, page
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
from vi_airflow_provider.api.protocol.messages import Response

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
