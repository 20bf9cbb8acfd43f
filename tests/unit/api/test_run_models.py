"""Documents of runs: the state that conditions amount to, and what is read of checkpoints and logs."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.documents import wire_run, wire_run_output
from vi_airflow_provider.api.models import Run, RunCondition, RunOutput, RunState, classify

#: Names and statuses of one vocabulary after the other (VI_API.md section 5), with the state they amount to.
LIVES: list[tuple[list[tuple[str, str]], RunState]] = [
    ([], RunState.QUEUED),
    ([("Queued", "Reached")], RunState.QUEUED),
    ([("Queued", "Reached"), ("Starting", "Reached")], RunState.RUNNING),
    ([("Queued", "Reached"), ("Starting", "Reached"), ("Running", "Reached")], RunState.RUNNING),
    ([("Running", "Reached"), ("Completed", "Reached")], RunState.SUCCEEDED),
    ([("Running", "Reached"), ("Failed", "Reached")], RunState.FAILED),
    ([("Running", "Reached"), ("Killed", "Reached")], RunState.KILLED),
    ([("Pending", "Reached")], RunState.QUEUED),
    ([("Pending", "Reached"), ("Running", "Reached")], RunState.RUNNING),
    ([("Running", "Reached"), ("Succeeded", "Reached")], RunState.SUCCEEDED),
    ([("Running", "Reached"), ("Error", "Reached")], RunState.FAILED),
    ([("Running", "Reached"), ("Cancelled", "Reached")], RunState.KILLED),
    ([("Finished", "Waiting"), ("Started", "Waiting")], RunState.QUEUED),
    ([("Finished", "Waiting"), ("Started", "Reached")], RunState.RUNNING),
    ([("Finished", "Reached"), ("Started", "Reached")], RunState.SUCCEEDED),
    ([("Finished", "FailedReach"), ("Started", "Reached")], RunState.FAILED),
    ([("Finished", "Waiting"), ("Started", "FailedReach")], RunState.FAILED),
    ([("running", "Reached"), ("completed", "Reached")], RunState.SUCCEEDED),
    ([("running", "Reached"), ("canceled", "Reached")], RunState.KILLED),
    ([("Failed", "Waiting"), ("Running", "Reached")], RunState.RUNNING),
    ([("Succeeded", "Waiting")], RunState.QUEUED),
    ([("Evaluating", "Reached"), ("Running", "Reached")], RunState.RUNNING),
    ([("Running", "Reached"), ("Succeeded", "Vorbei")], RunState.RUNNING),
]


def conditions(names: Any, start: int = 1_783_210_000_000) -> list[RunCondition]:
    return [
        RunCondition(condition=name, status=status, last_transition_time=start + number)
        for number, (name, status) in enumerate(names)
    ]


@pytest.mark.parametrize(("names", "state"), LIVES)
def test_state_follows_from_conditions_in_any_order(names: list[tuple[str, str]], state: RunState) -> None:
    for order in itertools.permutations(names):
        assert classify(conditions(order), killed=False) is state


@pytest.mark.parametrize(("names", "state"), LIVES)
def test_kill_request_ends_every_run_but_a_succeeded_one(names: list[tuple[str, str]], state: RunState) -> None:
    expected = RunState.SUCCEEDED if state is RunState.SUCCEEDED else RunState.KILLED
    assert classify(conditions(names), killed=True) is expected


WORDS = st.text(max_size=12).filter(
    lambda word: word.lower() not in {name.lower() for life, _ in LIVES for name, _ in life}
)


@given(st.lists(st.tuples(WORDS, st.sampled_from(["Reached", "Waiting", "Odd"]))))
def test_unknown_words_never_end_a_run(names: list[tuple[str, str]]) -> None:
    assert not classify(conditions(names), killed=False).is_ended


def test_times_and_reason_come_from_the_conditions_that_matter() -> None:
    run = Run.model_validate(
        wire_run(
            status__conditions=[
                {"condition": "Started", "status": "Reached", "lastTransitionTime": 2000},
                {
                    "condition": "Finished",
                    "status": "FailedReach",
                    "lastTransitionTime": 5000,
                    "reason": "OutOfMemory",
                    "message": "The GPU ran out of memory.",
                },
            ]
        )
    )
    assert (run.state, run.started_at, run.ended_at) == (RunState.FAILED, 2000, 5000)
    assert run.reason == "OutOfMemory: The GPU ran out of memory."


def test_active_run_has_no_end() -> None:
    run = Run.model_validate(wire_run())
    assert (run.state.is_ended, run.ended_at, run.reason) == (False, None, None)


def test_run_survives_the_round_trip_with_unknown_fields() -> None:
    wire = wire_run(spec__priority="high", status__node={"gpu": 1}, sibling=[1, 2])
    run = Run.model_validate(wire)
    assert run.to_wire() == wire
    assert Run.model_validate(run.model_dump(mode="json")).to_wire() == wire


def test_log_location_is_not_shown() -> None:
    secret = "https://storage.example/log?signature=abc"
    assert secret not in repr(Run.model_validate(wire_run(status__log=secret)))


# --- checkpoints ---------------------------------------------------------------------------------------------------


def test_metrics_are_finite_numbers_and_the_others_are_named() -> None:
    metrics = {"f1": 0.87, "loss": math.nan, "perplexity": math.inf, "steps": 3, "passed": True, "note": "fine"}
    output = RunOutput.model_validate(wire_run_output(spec__evaluationMetrics=metrics))
    assert output.metrics == {"f1": 0.87, "steps": 3}
    assert output.non_finite_metrics == ["loss", "perplexity"]


def test_latest_checkpoint_is_the_one_of_the_highest_epoch() -> None:
    outputs = [
        RunOutput.model_validate(wire_run_output(runOutputId=name, spec__epoch=epoch, metadata__timeCreated=time))
        for name, epoch, time in [("a", 10, 1), ("b", 40, 2), ("c", 40, 3), ("d", None, 9)]
    ]
    assert max(outputs, key=lambda output: output.age_key).run_output_id == "c"


def test_download_url_is_never_shown() -> None:
    url = "https://storage.example/model?signature=abc"
    contents = {"downloadUrl": {"url": url, "expiresAt": 1783219000000}}
    output = RunOutput.model_validate(wire_run_output(status__contents=contents))
    assert output.status.contents is not None
    assert output.status.contents.download_url is not None
    assert output.status.contents.download_url.url.get_secret_value() == url
    for shown in (
        repr(output),
        str(output),
        output.model_dump_json(),
        str(output.model_dump(mode="json")),
        str(output.to_wire()),
    ):
        assert "signature" not in shown
