"""Starts, kills and deletes of runs: what is sent, and what is repeated after a failure.

The server is a function from a request to an outcome, and the protocol is driven without a client: a client adds
nothing to these decisions.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.documents import (
    RUN_ID,
    wire_bytes,
    wire_run,
    wire_spec,
)
from tests.transports import Clock, settings_for
from tests.unit.api.run_driver import ENDED, LOST, RUNS, Driver, RunServer, ok, start
from vi_airflow_provider.api.errors import ViConflictError, ViError, ViServerError
from vi_airflow_provider.api.models import DeletedRun, Run, RunState
from vi_airflow_provider.api.protocol.messages import Failure, FailureKind, Outcome, Response, Send
from vi_airflow_provider.api.protocol.runs import RunCalls
from vi_airflow_provider.api.verbs import ViProtocol

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


def test_kill_sends_the_time_in_milliseconds_and_the_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunCalls, "_wall_clock", lambda _: 1_783_300_000.25)
    attributes = {"by": "dag", "note": None}
    for arguments in ((), (lambda run: run.run_id == RUN_ID,)):
        driver = Driver(RunServer(wire_run()))
        kill = driver.calls.kill_run_if if arguments else driver.calls.kill_run
        assert driver.run(kill(RUN_ID, *arguments, attributes=attributes)).state is RunState.KILLED
        assert [request.path for request in driver.sent] == [f"{RUNS}/{RUN_ID}"] * 2
        assert json.loads(driver.sent[1].body or b"") == {
            "spec": {"killedAt": 1_783_300_000_250},
            "metadata": {"attributes": {"by": "dag", "note": None}},
        }


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


def test_guarded_delete_is_about_the_run_that_matches() -> None:
    driver = Driver(lambda request: ok(wire_run()) if request.method == "GET" else Response(404))
    result = driver.run(driver.calls.delete_run_if(RUN_ID, lambda run: run.run_id == RUN_ID))
    assert isinstance(result, DeletedRun)
    assert result.already_absent  # another client was faster
    assert [request.path for request in driver.sent] == [f"{RUNS}/{RUN_ID}"] * 2


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
