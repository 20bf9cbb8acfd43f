"""Guarded writes under arbitrary faults, with a colleague who writes between any two requests.

The server below is a single document. A write may fail before or after it took effect, and the colleague may edit,
delete or restore at any time. No sequence of events may lead to a write that the last read did not allow.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.documents import FLOW_ID, RUN_ID, wire_bytes, wire_flow, wire_run
from tests.transports import Clock, settings_for, upper_bound
from tests.unit.api.run_driver import Driver, ok
from vi_airflow_provider.api.errors import ViError, ViResponseError, ViServerError
from vi_airflow_provider.api.models import DeletedFlow, Flow, GuardedWrite
from vi_airflow_provider.api.protocol.messages import Failure, FailureKind, Outcome, Request, Response, Send, Steps
from vi_airflow_provider.api.verbs import ViProtocol

ORIGINAL: Final = wire_flow(spec__name="original")
ARCHIVED: Final = wire_flow(spec__name="archived", metadata__attributes={"from": "archive"})


def is_original(flow: Flow | None) -> bool:
    return flow is not None and flow.spec.name == "original"


def is_absent(flow: Flow | None) -> bool:
    return flow is None


Guarded = tuple[Callable[[ViProtocol], Steps[Any]], Callable[[Flow | None], bool]]
CALLS: Final[dict[str, Guarded]] = {
    "delete": (lambda p: p.delete_flow_if(FLOW_ID, is_original), is_original),
    "restore if absent": (lambda p: p.restore_flow_if(ARCHIVED, is_absent), is_absent),
    "restore over the original": (lambda p: p.restore_flow_if(ARCHIVED, is_original), is_original),
    "replace": (
        lambda p: p.put_flow_if(FLOW_ID, ARCHIVED["spec"], {"from": "archive"}, matches=is_original),
        is_original,
    ),
}

UNCERTAIN: Final = [Response(500), Response(503), Failure(FailureKind.BROKEN), Failure(FailureKind.TIMEOUT)]
NOT_APPLIED: Final = [*UNCERTAIN, Response(429), Response(409), Failure(FailureKind.CONNECT)]


class Colleague(RuleBasedStateMachine):
    """One guarded write against one document; each rule is a request's fate or an act of the colleague."""

    def __init__(self) -> None:
        super().__init__()
        self.document: dict[str, Any] | None = wire_flow(spec__name="original")
        self.generation = 4
        self.last_read: Flow | None = None
        self.may_write = False
        self.uncertain = self.applied = self.seen_absent = False
        self.pending: Send | None = None
        self.result: Any = None
        self.steps: Steps[Any]
        self.allowed: Callable[[Flow | None], bool]

    @initialize(name=st.sampled_from(sorted(CALLS)))
    def begin(self, name: str) -> None:
        call, self.allowed = CALLS[name]
        clock = Clock()
        self.steps = call(ViProtocol(settings_for("https://vi.example"), clock=clock, jitter=upper_bound))
        self._proceed(None)

    def _proceed(self, reply: Response | Failure | None) -> None:
        self.pending = None
        try:
            step = self.steps.send(reply)
            while not isinstance(step, Send):
                step = self.steps.send(None)
        except StopIteration as done:
            self.result = done.value
            self._check_result()
        except ViError as error:
            self.result = error
        else:
            if step.request.method != "GET":
                assert self.may_write, "a write was sent without a matching read after the last attempt"
                self.may_write = False
            self.pending = step

    def _check_result(self) -> None:
        match self.result:
            case DeletedFlow(deleted=True):
                assert self.uncertain or self.applied
            case DeletedFlow():
                assert self.seen_absent
                assert not self.applied
            case GuardedWrite(written=True, flow=flow):
                assert self.applied or self.uncertain
                assert flow is not None
                assert flow.spec.name == "archived"
            case GuardedWrite(written=False, flow=flow) | (Flow() as flow):
                assert not self.allowed(flow)
                assert (flow and flow.etag) == (self.last_read and self.last_read.etag)
            case other:
                raise AssertionError(other)

    def _store(self, document: dict[str, Any] | None) -> None:
        self.generation += 1
        self.document = document and {**document, "etag": f"{self.generation}"}

    # --- the colleague ---

    @rule(name=st.sampled_from(["edited", "original", "archived"]))
    def colleague_writes(self, name: str) -> None:
        self._store(wire_flow(spec__name=name))

    @rule()
    def colleague_deletes(self) -> None:
        self._store(None)

    # --- the fate of the request in flight ---

    @precondition(lambda self: self.pending is not None)
    @rule()
    def server_responds(self) -> None:
        assert self.pending is not None
        request = self.pending.request
        self.seen_absent |= self.document is None
        if request.method == "GET":
            content = None if self.document is None else wire_bytes(self.document)
            self.last_read = None if content is None else Flow.model_validate_json(content)
            self.may_write = self.allowed(self.last_read)
            self._proceed(Response(404) if content is None else Response(200, {}, content))
        elif request.method == "DELETE" and self.document is None:
            self._proceed(Response(404))
        else:
            self._apply()
            self._proceed(Response(204) if self.document is None else Response(200, {}, wire_bytes(self.document)))

    @precondition(lambda self: self.pending is not None)
    @rule(outcome=st.sampled_from(UNCERTAIN))
    def response_is_lost(self, outcome: Response | Failure) -> None:
        assert self.pending is not None
        if self.pending.request.method != "GET":
            self.uncertain = True
            self._apply()
        self._proceed(outcome)

    @precondition(lambda self: self.pending is not None)
    @rule(outcome=st.sampled_from(NOT_APPLIED))
    def request_fails(self, outcome: Response | Failure) -> None:
        assert self.pending is not None
        if self.pending.request.method != "GET":
            self.uncertain |= outcome in UNCERTAIN
        self._proceed(outcome)

    def _apply(self) -> None:
        assert self.pending is not None
        request = self.pending.request
        if request.method == "DELETE":
            self.applied |= self.document is not None
            self._store(None)
        else:
            self.applied = True
            body = json.loads(request.body or b"")
            metadata = {**ORIGINAL["metadata"], **body["metadata"]}
            self._store({**ORIGINAL, "spec": body["spec"], "metadata": metadata})

    def teardown(self) -> None:
        if self.result is None and hasattr(self, "steps"):
            self.steps.close()


Colleague.TestCase.settings = settings(max_examples=300, stateful_step_count=30, deadline=None)
TestColleague = Colleague.TestCase


@pytest.mark.parametrize("change", [{"spec__blocks__0__style": {"x": 1}}, {"metadata__lastUpdated": 5}, {"etag": "e"}])
def test_layout_and_metadata_do_not_hide_its_own_write(change: dict[str, Any]) -> None:
    names = {"spec__name": "archived", "metadata__attributes": {"from": "archive"}}
    steps = ViProtocol(settings_for("https://vi.example")).restore_flow_if(ARCHIVED, is_original)
    next(steps)
    steps.send(Response(200, {}, wire_bytes(ORIGINAL)))
    steps.send(Failure(FailureKind.BROKEN))
    next(steps)
    with pytest.raises(StopIteration) as done:
        steps.send(Response(200, {}, wire_bytes(wire_flow(**names, **change))))
    assert done.value.value.written


#: What each call reads first, and the call.
GUARDED: Final = {
    "delete a flow": (ORIGINAL, lambda p: p.delete_flow_if(FLOW_ID, is_original)),
    "write a flow": (ORIGINAL, lambda p: p.restore_flow_if(ARCHIVED, is_original)),
    "delete a run": (wire_run(), lambda p: p.delete_run_if(RUN_ID, lambda run: True)),
    "kill a run": (wire_run(), lambda p: p.kill_run_if(RUN_ID, lambda run: True)),
}


@pytest.mark.parametrize(("document", "call"), GUARDED.values(), ids=GUARDED)
def test_reads_before_a_retry_use_the_budget_of_the_write(
    document: dict[str, Any], call: Callable[[ViProtocol], Steps[Any]]
) -> None:
    def server(request: Request) -> Outcome:
        driver.clock.now += 1
        is_first_read = not driver.sent[1:]
        return ok(document) if is_first_read else Response(503)

    driver = Driver(server, retry_budget=10, max_retries=100, max_retry_delay=0.5)
    began = driver.clock.now
    with pytest.raises(ViServerError):
        driver.run(call(driver.calls))
    assert 9 < driver.clock.now - began <= 11  # the last request may end after the budget
    assert len([method for method in driver.methods if method != "GET"]) == 1


@pytest.mark.parametrize(("document", "call"), GUARDED.values(), ids=GUARDED)
def test_error_of_an_unreadable_response_names_its_request(
    document: dict[str, Any], call: Callable[[ViProtocol], Steps[Any]]
) -> None:
    portal = Response(200, {"content-type": "text/html", "x-cloud-trace-context": "trace"}, b"<html>")
    driver = Driver(lambda request: ok(document) if request.method == "GET" else portal)
    with pytest.raises(ViResponseError) as caught:
        driver.run(call(driver.calls))
    assert (caught.value.trace_id, caught.value.method) == ("trace", driver.methods[-1])
