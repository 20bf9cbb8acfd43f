"""What a gate waits for at a training run: its text for logs, the verdict, and targets that cannot be meant."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.documents import FLOW_ID, RUN_ID, wire_run
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.models import Run
from vi_airflow_provider.gates.condition import Verdict
from vi_airflow_provider.gates.run_condition import RunCondition, RunGate, RunTarget

ENDED: Final = {"lastTransitionTime": 1, "message": "CUDA out\nof memory"}
CONDITIONS: Final[dict[str, list[dict[str, Any]]]] = {
    "is queued": [],
    "is running": [{"condition": "Started", "status": "Reached", **ENDED}],
    "has succeeded": [{"condition": "Finished", "status": "Reached", **ENDED}],
    "has failed": [{"condition": "Finished", "status": "FailedReach", **ENDED}],
}


def judged(verb: str, **condition: Any) -> Verdict:
    run = Run.model_validate(wire_run(status__conditions=CONDITIONS[verb]))
    return RunCondition(**condition).judge(run, None)  # type: ignore[arg-type]  # a run has no age


@pytest.mark.parametrize(
    ("verb", "cause", "met", "failed"),
    [
        ("is queued", "", False, False),
        ("is running", "", False, False),
        ("has succeeded", "", True, False),
        ("has failed", ": CUDA out of memory", False, True),
    ],
)
def test_verdict_gives_the_state_and_the_cause_of_a_failure(verb: str, cause: str, met: bool, failed: bool) -> None:
    assert judged(verb) == Verdict(met, f"run {RUN_ID} {verb}{cause}", failed)


def test_failure_without_a_reason_has_no_cause() -> None:
    conditions = [{"condition": "Finished", "status": "FailedReach", "lastTransitionTime": 1}]
    run = Run.model_validate(wire_run(status__conditions=conditions))
    assert RunCondition().judge(run, None) == Verdict(False, f"run {RUN_ID} has failed", True)  # type: ignore[arg-type]


def test_gate_for_a_failure_opens_on_it() -> None:
    assert judged("has failed", states=["failed"])[::2] == (True, False)
    assert judged("has succeeded", states=["failed"])[::2] == (False, False)
    assert judged("has succeeded", states="failed", fail_on="succeeded")[::2] == (False, True)


@pytest.mark.parametrize(
    ("verb", "states", "reason"),
    [
        ("has succeeded", ["running"], "run {} has succeeded; it will not be running any more"),
        ("has succeeded", ["queued", "running"], "run {} has succeeded; it will not be queued or running any more"),
        ("has failed", "running", "run {} has failed: CUDA out of memory; it will not be running any more"),
        ("has succeeded", ["failed"], "run {} has succeeded"),
    ],
)
def test_wait_for_a_state_that_has_passed_fails(verb: str, states: Any, reason: str) -> None:
    run = Run.model_validate(wire_run(status__conditions=CONDITIONS[verb]))
    known = RunGate.build({"run_id": RUN_ID}, {"states": states, "fail_on": None}, newest=False)
    assert known.condition.judge(run, None) == Verdict(False, reason.format(RUN_ID), True)  # type: ignore[arg-type]
    stored = RunGate.model_validate(known.model_dump(mode="json"))  # as for the trigger
    assert stored == known


def test_newest_run_and_the_choice_of_the_user_may_still_come() -> None:
    run = Run.model_validate(wire_run(status__conditions=CONDITIONS["has succeeded"]))
    newest = RunGate.build({"flow_id": FLOW_ID}, {"states": ["running"]}, newest=True)
    chosen = RunGate.build({"run_id": RUN_ID}, {"states": ["running"], "fail_on": ["failed"]}, newest=False)
    for gate in (newest, chosen):
        assert gate.condition.judge(run, None)[::2] == (False, False)  # type: ignore[arg-type]


def test_missing_run_does_not_open_a_gate() -> None:
    assert RunCondition().judge(None, None) == Verdict(False, "it does not exist")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (RunTarget(run_id="r1"), "run r1"),
        (RunTarget(flow_id="f1"), "newest run of flow f1"),
        (RunTarget(training_project="weld"), "newest run in training project 'weld'"),
        (RunTarget(attributes={"line": "3"}), "newest run with attributes {'line': '3'}"),
        (
            RunTarget(flow_id="f1", training_project="weld", attributes={"line": "3"}),
            "newest run of flow f1 in training project 'weld' with attributes {'line': '3'}",
        ),
    ],
    ids=str,
)
def test_target_has_a_text_for_logs(target: RunTarget, text: str) -> None:
    assert str(target) == text


@pytest.mark.parametrize(
    ("target", "newest", "message"),
    [
        ({}, False, "give either run_id, or at least one of flow_id, training_project and attributes"),
        ({"run_id": RUN_ID, "flow_id": FLOW_ID}, True, "give either run_id, or at least one"),
        ({"run_id": RUN_ID}, True, "newest: leave it out: run_id=.* names the only run that can be meant"),
        ({"flow_id": FLOW_ID}, False, "newest: set it to True: of the runs that match"),
        ({"run_id": "a/b"}, False, "'a/b' is not a valid run id"),
        ({"flow_id": "a/b"}, True, "'a/b' is not a valid flow id"),
    ],
    ids=str,
)
def test_targets_that_cannot_be_meant_are_refused(target: dict[str, Any], newest: bool, message: str) -> None:
    with pytest.raises(ViValidationError, match=message):
        RunGate.build(target, {}, newest=newest)


def test_gate_needs_a_state() -> None:
    with pytest.raises(ViValidationError, match="states: at least one is required"):
        RunGate.build({"run_id": RUN_ID}, {"states": []}, newest=False)
