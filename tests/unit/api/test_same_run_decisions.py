"""The table of ``test_same_decisions`` for runs: protocol and clients must decide the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from tests.documents import RUN_ID, wire_bytes, wire_page, wire_run, wire_run_output
from tests.transports import (
    CLOSED,
    DELETE_RUN,
    GARBAGE,
    GET_RUN,
    KILL_RUN,
    LIST_RUNS,
    LOGS,
    OUTPUTS,
    REFUSED,
    RESET,
    START_RUN,
    WAYS,
    Case,
    Verdict,
    case,
    http,
    truncated,
)
from vi_airflow_provider.api.errors import (
    ViConflictError,
    ViNetworkError,
    ViNotFoundError,
    ViResponseError,
    ViServerError,
    ViValidationError,
)
from vi_airflow_provider.api.models import DeletedRun, RunState

#: Created in the future, so that each kill of it sends the same time.
FUTURE: Final = 9_999_999_999_999
ACTIVE: Final = http(200, wire_run(metadata__timeCreated=FUTURE))
KILLED: Final = http(200, wire_run(spec__killedAt=FUTURE))
FINISHED: Final = http(
    200,
    wire_run(status__conditions=[{"condition": "Succeeded", "status": "Reached", "lastTransitionTime": 1}]),
)
RUNNING: Final = (RUN_ID, RunState.RUNNING)
ABSENT: Final = http(404)

#: The server may have acted on the request.
AMBIGUOUS: Final = {
    "a 500": http(500),
    "a 503": http(503),
    "a reset": RESET,
    "a close": CLOSED,
    "garbage": GARBAGE,
    "a truncated 200": truncated(200),
}


def starts() -> Iterator[Case]:
    yield case("200 with the run is success", START_RUN, ACTIVE, gives=RUNNING)
    for what, lost in AMBIGUOUS.items():
        name = f"a run that exists after {what} has been started"
        yield case(name, START_RUN, lost, ACTIVE, gives=RUNNING, slept=(1,))
        again = (lost, ABSENT, ACTIVE)
        yield case(f"404 after {what} means that it has not", START_RUN, *again, gives=RUNNING, slept=(1,))
        yield case(f"the last attempt ends with {what}", START_RUN, lost, ACTIVE, gives=RUNNING, max_retries=0)
    for what, outcome in (("429", http(429)), ("a refused connection", REFUSED)):
        name = f"{what} is retried after a read"
        yield case(name, START_RUN, outcome, ABSENT, ACTIVE, gives=RUNNING, slept=(1,))
    for what, body in (("no body", b""), ("HTML", b"<html>"), ("another run", wire_bytes(wire_run(runId="other")))):
        yield case(f"200 with {what} is confirmed by a read", START_RUN, http(200, body), ACTIVE, gives=RUNNING)
        unreadable: dict[str, Any] = {"raises": ViResponseError, "status": 200, "attempts": 1}
        yield case(f"200 with {what}, and no run", START_RUN, http(200, body), ABSENT, **unreadable)
    for status, error in ((400, ViValidationError), (409, ViConflictError)):
        yield case(f"{status} is final", START_RUN, http(status), raises=error, status=status)
    final: dict[str, Any] = {"raises": ViNetworkError, "attempts": 1, "max_retries": 0}
    yield case("a reset without a run is an error", START_RUN, RESET, ABSENT, **final)


def kills() -> Iterator[Case]:
    killed = (RUN_ID, RunState.KILLED)
    succeeded = (RUN_ID, RunState.SUCCEEDED)
    yield case("an active run is killed", KILL_RUN, ACTIVE, KILLED, gives=killed)
    yield case("an ended run is returned", KILL_RUN, FINISHED, gives=succeeded)
    yield case("a killed run is returned", KILL_RUN, KILLED, gives=killed)
    yield case("a run that ends in between is returned", KILL_RUN, ACTIVE, http(409), FINISHED, gives=succeeded)
    refused: dict[str, Any] = {"raises": ViConflictError, "status": 409, "attempts": 1}
    yield case("409 of an active run is an error", KILL_RUN, ACTIVE, http(409), ACTIVE, **refused)
    yield case("an absent run is an error", KILL_RUN, ABSENT, raises=ViNotFoundError, status=404)
    for what, lost in AMBIGUOUS.items():
        yield case(f"{what} is confirmed by a read", KILL_RUN, ACTIVE, lost, KILLED, gives=killed, slept=(1,))
        again = (ACTIVE, lost, ACTIVE, KILLED)
        yield case(f"{what} is repeated after a read", KILL_RUN, *again, gives=killed, slept=(1,))


def deletes() -> Iterator[Case]:
    deleted = DeletedRun(id=RUN_ID, deleted=True, already_absent=False)
    absent = DeletedRun(id=RUN_ID, deleted=False, already_absent=True)
    yield case("204 is success", DELETE_RUN, http(204), gives=deleted)
    yield case("404 means absent", DELETE_RUN, ABSENT, gives=absent)
    yield case("404 after a 500 means deleted", DELETE_RUN, http(500), ABSENT, gives=deleted, slept=(1,))
    yield case("409 is a conflict", DELETE_RUN, http(409), raises=ViConflictError, status=409)


def reads() -> Iterator[Case]:
    refused: dict[str, Any] = {"raises": ViResponseError, "status": 200}
    yield case("a 503 is retried", GET_RUN, http(503), ACTIVE, gives=RUNNING, slept=(1,))
    yield case("a 500 at every attempt", GET_RUN, http(500), raises=ViServerError, status=500, max_retries=0)
    yield case("another run is refused", GET_RUN, http(200, wire_run(runId="other")), **refused)
    yield case(
        "NaN in a run is refused", GET_RUN, http(200, wire_run(spec__flow__settings={"x": float("nan")})), **refused
    )
    pages = (http(200, wire_page(wire_run(), nextPage="2")), http(503), http(200, wire_page(wire_run(runId="b"))))
    both = [RUNNING, ("b", RunState.RUNNING)]
    yield case("all pages are read", LIST_RUNS, *pages, gives=both, slept=(1,))
    yield case("a page without items is refused", LIST_RUNS, http(200, {"error": "x"}), **refused)
    other = wire_run(workspaceId="other")
    yield case("a run of another organization is refused", LIST_RUNS, http(200, wire_page(other)), **refused)


def results() -> Iterator[Case]:
    refused: dict[str, Any] = {"raises": ViResponseError, "status": 200}
    diverged = wire_run_output(spec__evaluationMetrics={"loss": float("nan"), "f1": 0.5, "x": float("-inf")})
    pages = (http(200, wire_page(diverged, nextPage="2")), http(200, wire_page()))
    shown = ("ckpt-40", {"f1": 0.5}, ["loss", "x"])
    yield case("metrics may be NaN", OUTPUTS, *pages, gives=[shown])
    yield case("a page without items is refused", OUTPUTS, http(200, {"error": "x"}), **refused)
    yield case("JSON has lines", LOGS, http(200, {"items": [{"line": "a"}, {"line": "b"}]}), gives="a\nb")
    yield case("text has lines", LOGS, http(200, b"a\nb", Content_Type="text/plain"), gives="a\nb")
    yield case("a web page is refused", LOGS, http(200, b"<html>", Content_Type="text/html"), **refused)


CASES: Final = [*starts(), *kills(), *deletes(), *reads(), *results()]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.behaviour)
def test_protocol_and_clients_decide_the_same_about_runs(
    case: Case, way: Callable[[Case, pytest.MonkeyPatch], Verdict], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert way(case, monkeypatch) == case.expected


def test_no_two_cases_have_the_same_name() -> None:
    names = sorted(case.behaviour for case in CASES)
    assert names == sorted(set(names))
