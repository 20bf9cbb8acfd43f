"""Cases of ``test_same_decisions``: deletes, and writes that depend on what was read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tests.documents import FLOW_ID, wire_flow
from tests.transports import (
    DELETE,
    DELETE_IF,
    GARBAGE,
    MATCHING,
    REFUSED,
    REPLACE_IF,
    RESET,
    RESTORE_IF,
    Call,
    Case,
    Outcome,
    case,
    http,
)
from tests.unit.api.canned_responses import DELETED, DOCUMENT, NO_CONTENT, NOT_A_FLOW, NOT_THERE
from tests.unit.api.retry_cases import NO_ANSWER, PASSING_STATUSES
from vi_airflow_provider.api.errors import (
    ViConflictError,
    ViPermissionError,
    ViRateLimitError,
    ViResponseError,
    ViServerError,
)


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
