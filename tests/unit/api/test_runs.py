"""The calls for runs: what is sent, what is repeated, and what a response may be.

The server is a function from a request to an outcome, and the protocol is driven without a client: a client adds
nothing to these decisions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.documents import (
    FLOW_ID,
    ORGANIZATION_ID,
    RUN_ID,
    wire_bytes,
    wire_page,
    wire_run,
    wire_run_output,
    wire_spec,
)
from tests.transports import Clock, settings_for, upper_bound
from vi_airflow_provider.api.errors import ViConflictError, ViError, ViResponseError, ViServerError, ViValidationError
from vi_airflow_provider.api.models import DeletedRun, Run, RunState
from vi_airflow_provider.api.protocol.messages import Failure, FailureKind, Outcome, Request, Response, Send, Steps
from vi_airflow_provider.api.protocol.paging import Paginator
from vi_airflow_provider.api.verbs import ViProtocol

T = TypeVar("T")
Server = Callable[[Request], Outcome]

RUNS: Final = f"/workspaces/{ORGANIZATION_ID}/runs"
LOST: Final = (Response(500), Response(503), Failure(FailureKind.TIMEOUT), Failure(FailureKind.BROKEN))
ENDED: Final = [{"condition": "Succeeded", "status": "Reached", "lastTransitionTime": 1_783_219_000_000}]


def ok(document: Any) -> Response:
    return Response(200, {"content-type": "application/json"}, wire_bytes(document))


class Driver:
    """Carries out the steps of a call against a server, on a clock of its own."""

    def __init__(self, server: Server, **settings: Any) -> None:
        self.clock = Clock()
        self.sent: list[Request] = []
        self.calls = ViProtocol(settings_for("https://vi.example", **settings), clock=self.clock, jitter=upper_bound)
        self._server = server

    def run(self, steps: Steps[T]) -> T:
        reply: Any = None
        while True:
            try:
                step = steps.send(reply)
            except StopIteration as done:
                value: T = done.value
                return value
            reply = None
            if isinstance(step, Send):
                self.sent.append(step.request)
                reply = self._server(step.request)
            else:
                self.clock.sleep(step.seconds)  # type: ignore[union-attr]

    def all(self, paginator: Paginator[Any]) -> list[Any]:
        found: list[Any] = []
        while (steps := paginator.next_page()) is not None:
            found += self.run(steps).documents()
        return found

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.sent]


class RunServer:
    """A server with one run at most, whose writes may fail before or after they take effect."""

    def __init__(self, run: dict[str, Any] | None = None, fates: Iterable[tuple[bool, Outcome | None]] = ()) -> None:
        self.run = run
        self.starts = 0
        self._fates = iter(fates)

    def __call__(self, request: Request) -> Outcome:
        if request.method == "GET":
            return Response(404) if self.run is None else ok(self.run)
        applied, outcome = next(self._fates, (True, None))
        if applied:
            self._write(request.method, json.loads(request.body or b"{}"))
        return ok(self.run) if outcome is None else outcome

    def _write(self, method: str, body: dict[str, Any]) -> None:
        if method == "PUT":
            self.starts += 1
            self.run = wire_run(spec__flow=body["spec"]["flow"])
        elif self.run is not None:
            self.run["spec"] |= body["spec"]


def start(driver: Driver) -> Run:
    return driver.run(driver.calls.start_run(wire_spec(), run_id=RUN_ID, attributes={"a": "b"}))


# --- start ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", LOST, ids=str)
def test_lost_response_to_a_start_that_was_applied_starts_nothing_else(outcome: Outcome) -> None:
    server = RunServer(fates=[(True, outcome)])
    driver = Driver(server)
    assert start(driver).run_id == RUN_ID
    assert (server.starts, driver.methods) == (1, ["PUT", "GET"])


@pytest.mark.parametrize("outcome", [*LOST, Response(429), Failure(FailureKind.CONNECT)], ids=str)
def test_start_that_was_not_applied_is_sent_again_after_a_read(outcome: Outcome) -> None:
    server = RunServer(fates=[(False, outcome)])
    driver = Driver(server)
    start(driver)
    assert (server.starts, driver.methods) == (1, ["PUT", "GET", "PUT"])


@pytest.mark.parametrize("outcome", LOST, ids=str)
def test_run_is_read_once_more_when_no_retry_is_left(outcome: Outcome) -> None:
    server = RunServer(fates=[(True, outcome)])
    driver = Driver(server, max_retries=0)
    assert start(driver).run_id == RUN_ID
    assert (server.starts, driver.methods) == (1, ["PUT", "GET"])


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"items":[', b"{}", wire_bytes(wire_run(kind="Flow"))], ids=repr)
def test_unreadable_response_to_a_start_is_confirmed_by_a_read(body: bytes) -> None:
    server = RunServer(fates=[(True, Response(200, {}, body))])
    driver = Driver(server)
    assert start(driver).run_id == RUN_ID
    assert (server.starts, driver.methods) == (1, ["PUT", "GET"])


def test_confirming_read_has_time_when_the_retry_budget_is_used_up() -> None:
    server = RunServer(fates=[(True, Failure(FailureKind.TIMEOUT))])
    calls = ViProtocol(settings_for("https://vi.example", retry_budget=5, read_timeout=7), clock=(clock := Clock()))
    steps = calls.start_run(wire_spec(), run_id=RUN_ID)
    put = next(steps)
    assert isinstance(put, Send)
    clock.now += 5
    read = steps.send(server(put.request))
    assert isinstance(read, Send)
    assert (read.request.method, read.timeout) == ("GET", 7)


def test_start_that_cannot_be_confirmed_fails_with_the_first_error() -> None:
    server = RunServer(fates=[(False, Response(500))])
    driver = Driver(server, max_retries=0)
    with pytest.raises(ViServerError):
        start(driver)
    assert driver.methods == ["PUT", "GET"]


@pytest.mark.parametrize("status", [400, 401, 403, 402, 409, 422])
def test_refused_start_is_not_repeated(status: int) -> None:
    driver = Driver(RunServer(fates=[(False, Response(status))]))
    with pytest.raises(ViError):
        start(driver)
    assert driver.methods == ["PUT"]


def test_conflict_after_a_lost_response_is_our_own_run() -> None:
    run = wire_run()
    reads = iter([Response(404), ok(run)])  # read-after-write delay
    puts = iter([Response(502), Response(409)])
    driver = Driver(lambda request: next(reads if request.method == "GET" else puts))
    assert start(driver).run_id == RUN_ID
    assert driver.methods == ["PUT", "GET", "PUT", "GET"]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([*LOST, Response(429)])), max_size=6))
def test_no_sequence_of_faults_starts_a_second_run(fates: list[tuple[bool, Outcome]]) -> None:
    server = RunServer(fates=fates)
    try:
        start(Driver(server))
    except ViError:
        assert server.run is None  # an error means that nothing runs
    assert server.starts <= 1


def test_start_sends_the_documented_body() -> None:
    driver = Driver(RunServer())
    spec = wire_spec()
    calls = driver.calls
    driver.run(calls.start_run(spec, run_id=RUN_ID, training_project="weld", attributes={"a": "b"}))
    assert driver.sent[0].path == f"{RUNS}/{RUN_ID}"
    assert json.loads(driver.sent[0].body or b"") == {
        "spec": {"flow": spec, "trainingProject": "weld"},
        "metadata": {"attributes": {"a": "b"}},
    }


# --- kill ----------------------------------------------------------------------------------------------------------


def test_kill_sends_a_time_that_is_not_before_the_creation() -> None:
    server = RunServer(wire_run(metadata__timeCreated=9_999_999_999_999))
    driver = Driver(server)
    assert driver.run(driver.calls.kill_run(RUN_ID)).state is RunState.KILLED
    assert json.loads(driver.sent[1].body or b"") == {"spec": {"killedAt": 9_999_999_999_999}}


@pytest.mark.parametrize("run", [wire_run(status__conditions=ENDED), wire_run(spec__killedAt=1_783_210_100_000)])
def test_ended_or_killed_run_is_not_killed_again(run: dict[str, Any]) -> None:
    driver = Driver(RunServer(run))
    assert driver.run(driver.calls.kill_run(RUN_ID)).state.is_ended
    assert driver.methods == ["GET"]


@pytest.mark.parametrize("outcome", LOST, ids=str)
def test_kill_whose_response_is_lost_is_confirmed_by_a_read(outcome: Outcome) -> None:
    driver = Driver(RunServer(wire_run(), [(True, outcome)]))
    assert driver.run(driver.calls.kill_run(RUN_ID)).state is RunState.KILLED
    assert driver.methods == ["GET", "PATCH", "GET"]


@pytest.mark.parametrize("outcome", LOST, ids=str)
def test_kill_that_was_not_applied_is_repeated_after_a_read(outcome: Outcome) -> None:
    driver = Driver(RunServer(wire_run(), [(False, outcome)]))
    assert driver.run(driver.calls.kill_run(RUN_ID)).state is RunState.KILLED
    assert driver.methods == ["GET", "PATCH", "GET", "PATCH"]


def test_run_that_ends_while_it_is_being_killed_is_a_success() -> None:
    reads = iter([ok(wire_run()), ok(wire_run(status__conditions=ENDED))])
    driver = Driver(lambda request: next(reads) if request.method == "GET" else Response(409))
    assert driver.run(driver.calls.kill_run(RUN_ID)).state is RunState.SUCCEEDED


def test_conflict_of_an_active_run_is_an_error() -> None:
    driver = Driver(lambda request: ok(wire_run()) if request.method == "GET" else Response(409))
    with pytest.raises(ViConflictError):
        driver.run(driver.calls.kill_run(RUN_ID))


def test_run_that_does_not_match_is_not_killed() -> None:
    driver = Driver(RunServer(wire_run()))
    assert driver.run(driver.calls.kill_run_if(RUN_ID, lambda run: False)).spec.killed_at is None
    assert driver.methods == ["GET"]


@pytest.mark.parametrize("outcome", LOST, ids=str)
def test_run_that_changes_before_a_retry_is_not_killed(outcome: Outcome) -> None:
    driver = Driver(RunServer(wire_run(), [(False, outcome)]))
    answers = iter([True, False])
    assert driver.run(driver.calls.kill_run_if(RUN_ID, lambda run: next(answers))).spec.killed_at is None
    assert driver.methods == ["GET", "PATCH", "GET"]


def test_update_is_not_repeated_when_it_may_have_been_applied() -> None:
    driver = Driver(lambda _: Response(500))
    with pytest.raises(ViServerError):
        driver.run(driver.calls.update_run(RUN_ID, attributes={"a": None}))
    assert driver.methods == ["PATCH"]


# --- delete --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "deleted"), [([Response(204)], True), ([Response(404)], False), ([Response(500), Response(404)], True)]
)
def test_delete_reports_whether_it_removed_the_run(outcomes: list[Outcome], deleted: bool) -> None:
    replies = iter(outcomes)
    driver = Driver(lambda _: next(replies))
    result = driver.run(driver.calls.delete_run(RUN_ID))
    assert (result.id, result.deleted, result.already_absent) == (RUN_ID, deleted, not deleted)


def test_delete_of_an_active_run_is_a_conflict() -> None:
    driver = Driver(lambda _: Response(409))
    with pytest.raises(ViConflictError):
        driver.run(driver.calls.delete_run(RUN_ID))


@pytest.mark.parametrize("outcome", LOST, ids=str)
def test_run_that_changes_before_a_retry_is_not_deleted(outcome: Outcome) -> None:
    driver = Driver(RunServer(wire_run(), [(False, outcome)]))
    answers = iter([True, False])
    assert isinstance(driver.run(driver.calls.delete_run_if(RUN_ID, lambda run: next(answers))), Run)
    assert driver.methods == ["GET", "DELETE", "GET"]


@pytest.mark.parametrize(("exists", "deleted"), [(True, True), (False, False)])
def test_guarded_delete_reports_whether_there_was_a_run(exists: bool, deleted: bool) -> None:
    driver = Driver(
        lambda sent: Response(404) if not exists else ok(wire_run()) if sent.method == "GET" else Response(204)
    )
    result = driver.run(driver.calls.delete_run_if(RUN_ID, lambda run: True))
    assert isinstance(result, DeletedRun)
    assert (result.deleted, result.already_absent) == (deleted, not deleted)


def test_guarded_delete_whose_response_was_lost_has_deleted() -> None:
    replies = iter([ok(wire_run()), Response(500), Response(404)])
    driver = Driver(lambda _: next(replies))
    result = driver.run(driver.calls.delete_run_if(RUN_ID, lambda run: True))
    assert isinstance(result, DeletedRun)
    assert result.deleted
    assert driver.methods == ["GET", "DELETE", "GET"]


# --- reads ---------------------------------------------------------------------------------------------------------

CALLS_WITH_ID: Final[dict[str, Callable[[ViProtocol, Any], Any]]] = {
    "get": lambda p, x: p.get_run(x),
    "start": lambda p, x: p.start_run(wire_spec(), run_id=x),
    "update": lambda p, x: p.update_run(x, attributes={}),
    "kill": lambda p, x: p.kill_run(x),
    "delete": lambda p, x: p.delete_run(x),
    "logs": lambda p, x: p.get_run_logs(x),
    "outputs": lambda p, x: p.list_run_outputs(x).next_page(),
    "output": lambda p, x: p.get_run_output(RUN_ID, x),
    "project": lambda p, x: p.get_training_project(x),
    "accelerators": lambda p, x: p.list_accelerators(x),
    "statistics": lambda p, x: p.get_flow_statistics(x),
    "start in a project": lambda p, x: p.start_run(wire_spec(), run_id=RUN_ID, training_project=x),
}


@pytest.mark.parametrize("name", CALLS_WITH_ID)
@pytest.mark.parametrize("bad", ["", "../x", "a/b", "a\n", "a?x=1", 5, None])
def test_bad_id_is_refused_before_any_request(name: str, bad: Any) -> None:
    if name == "start in a project" and bad is None:
        return
    driver = Driver(lambda _: Response(500))
    with pytest.raises(ViValidationError):
        driver.run(CALLS_WITH_ID[name](driver.calls, bad))
    assert driver.sent == []


@pytest.mark.parametrize("change", [{"runId": "another"}, {"workspaceId": "another"}], ids=["run", "organization"])
def test_response_about_something_else_is_refused(change: dict[str, Any]) -> None:
    driver = Driver(lambda _: ok(wire_run(**change)))
    with pytest.raises(ViResponseError, match="'another'"):
        driver.run(driver.calls.get_run(RUN_ID))


def test_listing_refuses_a_run_of_another_organization() -> None:
    driver = Driver(lambda _: ok(wire_page(wire_run(workspaceId="another"))))
    with pytest.raises(ViResponseError, match="'another'"):
        driver.all(driver.calls.list_runs())


def test_page_without_items_is_an_error() -> None:
    driver = Driver(lambda _: ok({"error": "x"}))
    for listing in (driver.calls.list_runs(), driver.calls.list_run_outputs(RUN_ID), driver.calls.list_simple_runs()):
        with pytest.raises(ViResponseError):
            driver.all(listing)


@given(st.booleans(), st.booleans())
def test_listed_run_equals_the_one_that_is_read_alone(unknown: bool, killed: bool) -> None:
    wire = wire_run(spec__killedAt=5 if killed else None)
    if unknown:
        wire["spec"]["priority"] = wire["status"]["node"] = wire["status"]["conditions"][0]["hint"] = {"x": [1]}
    driver = Driver(lambda request: ok(wire_page(wire) if "?" in request.path else wire))
    (listed,) = driver.all(driver.calls.list_runs())
    read = driver.run(driver.calls.get_run(RUN_ID))
    assert listed.state is read.state  # before more of it is decoded
    assert listed.to_wire() == wire
    assert listed == read
    assert repr(listed) == repr(read)


def test_found_runs_match_and_come_newest_first() -> None:
    runs = [
        wire_run(runId="old", metadata__timeCreated=1, metadata__attributes={"vi_airflow.flow_id": FLOW_ID}),
        wire_run(runId="new", metadata__timeCreated=3, metadata__attributes={"vi_airflow.flow_id": FLOW_ID}),
        wire_run(runId="new", metadata__timeCreated=3, metadata__attributes={"vi_airflow.flow_id": FLOW_ID}),
        wire_run(runId="ended", metadata__timeCreated=2, status__conditions=ENDED),
        wire_run(runId="foreign", metadata__timeCreated=4, metadata__attributes={}),
    ]
    driver = Driver(lambda _: ok(wire_page(*runs)))

    def found(**wanted: Any) -> list[str]:
        return [run.run_id for run in driver.run(driver.calls.find_runs(**wanted))]

    assert found() == ["foreign", "new", "ended", "old"]
    assert found(flow_id=FLOW_ID) == ["new", "ended", "old"]
    assert found(flow_id=FLOW_ID, state="running") == ["new", "old"]
    assert found(state=[RunState.SUCCEEDED, "killed"]) == ["ended"]
    assert found(training_project="elsewhere") == []
    with pytest.raises(ViValidationError, match="'paused'"):
        found(state="paused")


# --- checkpoints ---------------------------------------------------------------------------------------------------


def test_checkpoints_of_all_pages_are_read_with_metrics_that_json_does_not_know() -> None:
    pages = {
        None: wire_page(wire_run_output(runOutputId="a"), nextPage="two"),
        "two": wire_page(wire_run_output(runOutputId="b", spec__evaluationMetrics={"loss": float("nan")})),
    }

    def server(request: Request) -> Outcome:
        query = parse_qs(urlsplit(request.path).query)
        assert query["intent"] == ["sdkLocalDeploy"]
        return ok(pages[query.get("p", [None])[0]])

    driver = Driver(server)
    first, second = driver.all(driver.calls.list_run_outputs(RUN_ID))
    assert (first.run_output_id, second.run_output_id, second.non_finite_metrics) == ("a", "b", ["loss"])


@pytest.mark.parametrize("wrapped", [False, True], ids=["document", "page of one"])
def test_checkpoint_comes_as_a_document_or_as_a_page_of_one(wrapped: bool) -> None:
    output = wire_run_output(status__contents={"downloadUrl": {"url": "https://s.example/?sig=1", "expiresAt": 5}})
    driver = Driver(lambda _: ok(wire_page(output) if wrapped else output))
    read = driver.run(driver.calls.get_run_output(RUN_ID, "ckpt-40", contents=True))
    assert read.run_output_id == "ckpt-40"
    assert driver.sent[0].path == f"{RUNS}/{RUN_ID}/outputs/ckpt-40?intent=sdkLocalDeploy&contents=y"


@pytest.mark.parametrize(
    "page", [wire_page(), wire_page(wire_run_output(runOutputId="ckpt-10")), wire_page(*[wire_run_output()] * 2)]
)
def test_page_without_exactly_the_requested_checkpoint_is_refused(page: Any) -> None:
    driver = Driver(lambda _: ok(page))
    with pytest.raises(ViResponseError, match="checkpoints of this id"):
        driver.run(driver.calls.get_run_output(RUN_ID, "ckpt-40"))


def test_checkpoint_of_another_run_is_refused() -> None:
    driver = Driver(lambda _: ok(wire_run_output(runId="another")))
    with pytest.raises(ViResponseError, match="'another'"):
        driver.run(driver.calls.get_run_output(RUN_ID, "ckpt-40"))


# --- logs ----------------------------------------------------------------------------------------------------------

JSON_TYPE: Final = {"content-type": "application/json; charset=utf-8"}


@pytest.mark.parametrize(
    ("response", "lines"),
    [
        (Response(200, JSON_TYPE, b'{"items":[{"line":"a","timestamp":5},{"line":"b"}]}'), ["a", "b"]),
        (Response(200, JSON_TYPE, b'{"data":"a\\nb"}'), ["a", "b"]),
        (Response(200, JSON_TYPE, b'["a","b"]'), ["a", "b"]),
        (Response(200, JSON_TYPE, b'{"items":[]}'), []),
        (Response(200, JSON_TYPE, b'{"items":[{"message":"a"},{"other":1}]}'), ["a", '{"other": 1}']),
        (Response(200, {"content-type": "text/plain"}, b"a\nb\xff\n"), ["a", "b\N{REPLACEMENT CHARACTER}"]),
        (Response(200, {}, b""), []),
    ],
)
def test_logs_of_every_known_shape_are_lines(response: Response, lines: list[str]) -> None:
    driver = Driver(lambda _: response)
    logs = driver.run(driver.calls.get_run_logs(RUN_ID, since="5", limit=10))
    assert [item.line for item in logs.lines] == lines
    assert driver.sent[0].path.endswith("/logs?since=5&limit=10")


def test_what_a_server_sends_beside_a_line_is_kept() -> None:
    driver = Driver(lambda _: Response(200, JSON_TYPE, b'{"items":[{"line":"a","cursor":"x/1"}]}'))
    (line,) = driver.run(driver.calls.get_run_logs(RUN_ID)).lines
    assert line.model_dump() == {"line": "a", "cursor": "x/1"}


def test_web_page_is_no_log() -> None:
    driver = Driver(lambda _: Response(200, {"content-type": "text/html"}, b"<html>Sign in</html>"))
    with pytest.raises(ViResponseError, match="web page"):
        driver.run(driver.calls.get_run_logs(RUN_ID))
