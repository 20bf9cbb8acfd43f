"""Overrides, limits, summaries and events: values that are checked row by row."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.documents import wire_run, wire_run_output, wire_spec
from vi_airflow_provider.api.errors import ViResponseError, ViServerError, ViValidationError
from vi_airflow_provider.api.models import FlowSpec, Run, RunOutput
from vi_airflow_provider.selection.arguments import optional_seconds
from vi_airflow_provider.selection.xcom import refuse_reserved_keys
from vi_airflow_provider.training.overrides import apply_overrides, merge_patch
from vi_airflow_provider.training.summary import BestMetric, described_outputs, summarize
from vi_airflow_provider.training.waiting import RunEnd, WaitEnd, build_event, read_event
from vi_airflow_provider.training.watch import Limit, Limits, RunWatch

SPEC: Final = FlowSpec.complete(wire_spec())

# --- overrides -----------------------------------------------------------------------------------------------------


def test_override_changes_a_copy_of_the_spec() -> None:
    before = SPEC.to_wire()
    changed = apply_overrides(
        SPEC, {"settings": {"seed": 8}, "blocks": {"vlm-model": {"settings": {"evaluation": {"temperature": None}}}}}
    )
    assert changed.settings == {"seed": 8}
    assert changed.blocks[1].settings["evaluation"] == {"max_new_tokens": 512}
    assert changed.blocks[1].settings["architecture"] == {"name": "qwen3vl", "size": "4B"}
    assert changed.blocks[0].to_wire() == SPEC.blocks[0].to_wire()
    assert SPEC.to_wire() == before


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"blocks": {"trainer": {"settings": {}}}}, "no block of type 'trainer'; it has system-prompt, vlm-model"),
        ({"blocks": [{"block": "vlm-model"}]}, "name the blocks by their type"),
        ({"blocks": {"vlm-model": {"epochs": 3}}}, "overrides.blocks.vlm-model: unknown 'epochs'; choose from"),
        ({"seed": 8}, "overrides: unknown 'seed'"),
        ([1], "overrides: an object expected, list given"),
    ],
)
def test_override_that_would_change_nothing_is_refused(overrides: Any, message: str) -> None:
    with pytest.raises(ViValidationError, match=message):
        apply_overrides(SPEC, overrides)


def test_block_type_that_stands_twice_is_refused() -> None:
    wire = wire_spec()
    wire["blocks"].append(wire["blocks"][1])
    with pytest.raises(ViValidationError, match="2 blocks of type 'vlm-model'"):
        apply_overrides(FlowSpec.complete(wire), {"blocks": {"vlm-model": {"settings": {"x": 1}}}})


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_follows_rfc_7386(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


# --- limits --------------------------------------------------------------------------------------------------------

CREATED: Final = 1_783_210_000.0
QUEUED: Final[list[dict[str, Any]]] = []
RUNNING: Final = [{"condition": "Running", "status": "Reached", "lastTransitionTime": (CREATED + 100) * 1000}]


def run(conditions: list[dict[str, Any]], skew: float = 0.0) -> Run:
    stamp = str(round((CREATED - skew) * 1000))
    conditions = [dict(c, lastTransitionTime=int(c["lastTransitionTime"])) for c in conditions]
    return Run.model_validate(
        wire_run(
            status__conditions=conditions,
            metadata__timeCreated=int(CREATED * 1000),
            metadata__attributes={"vi_airflow.started_by_clock": stamp},
        )
    )


@pytest.mark.parametrize(
    ("limits", "conditions", "end", "limit"),
    [
        (Limits(max_queue_time=60), QUEUED, 60, Limit.MAX_QUEUE_TIME),
        (Limits(max_queue_time=60), RUNNING, None, None),
        (Limits(max_duration=60), QUEUED, None, None),
        (Limits(max_duration=60), RUNNING, 160, Limit.MAX_DURATION),
        (Limits(wait_deadline=CREATED + 500), QUEUED, 500, Limit.TIMEOUT),
        (Limits(wait_deadline=CREATED + 500), RUNNING, 500, Limit.TIMEOUT),
        (Limits(task_deadline=CREATED + 30), RUNNING, 30, Limit.EXECUTION_TIMEOUT),
        (Limits(), RUNNING, None, None),
    ],
)
@pytest.mark.parametrize("skew", [0.0, 7200.0, -7200.0])
def test_limits_hold_whatever_the_clocks(
    limits: Limits, conditions: list[dict[str, Any]], end: float | None, limit: Limit | None, skew: float
) -> None:
    of_the_wait = limits.task_deadline is not None or limits.wait_deadline is not None
    local = CREATED if of_the_wait else CREATED - skew
    watch, observed = RunWatch(limits), run(conditions, skew)
    for offset in (0.0, (end or 1e6) - 0.01):
        assert watch.judge(observed, local + offset).exceeded is None
    if end is not None:
        verdict = watch.judge(observed, local + end)
        assert verdict.exceeded is limit
        assert verdict.next_limit == pytest.approx(local + end)


def test_ended_run_has_exceeded_nothing() -> None:
    ended = [{"condition": "Succeeded", "status": "Reached", "lastTransitionTime": CREATED * 1000}]
    verdict = RunWatch(Limits(wait_deadline=1)).judge(run(ended), CREATED + 1e9)
    assert (verdict.ended, verdict.exceeded) == (True, None)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (60, 60.0),
        (0.5, 0.5),
        ("90", 90.0),
        ("PT1H", 3600.0),
        (timedelta(minutes=2), 120.0),
        ("0:01:30", 90.0),
        (None, None),
    ],
)
def test_time_span_is_seconds_a_timedelta_or_a_text(value: Any, seconds: float | None) -> None:
    assert optional_seconds("timeout", value) == seconds


@pytest.mark.parametrize("value", [True, -1, math.nan, math.inf, "soon", "", [], "-5", timedelta(seconds=-1)])
def test_what_is_no_time_span_is_refused_by_name(value: Any) -> None:
    with pytest.raises(ViValidationError, match=r"^timeout: "):
        optional_seconds("timeout", value)


# --- summary -------------------------------------------------------------------------------------------------------


def output(name: str, epoch: int, **metrics: Any) -> RunOutput:
    return RunOutput.model_validate(
        wire_run_output(runOutputId=name, spec__epoch=epoch, spec__evaluationMetrics=metrics)
    )


def test_summary_is_small_json_whatever_a_run_holds() -> None:
    metrics = {f"metric-{number:05}" + "x" * 500: float(number) for number in range(5_000)} | {"bad": math.inf}
    wire = wire_run(
        spec__flow__settings={"x": "y" * 10_000_000},
        spec__flow__name="n" * 10_000,
        status__log="https://s.example/?X-Amz-Signature=secret",
    )
    outputs = [output(f"ckpt-{number}", number, **metrics) for number in range(3)]
    summary = summarize(
        Run.model_validate(wire), outputs, BestMetric("bad", "max"), adopted=True, url="https://ui.example/x"
    )
    text = json.dumps(summary, allow_nan=False)
    assert len(text) <= 8_192
    assert "Signature" not in text
    assert summary["outputs"] == 3
    assert summary["model"]["run_output_id"] == "ckpt-2"
    assert summary["model"]["non_finite"] == ["bad"]


#: Text of a server: long, with characters that JSON escapes, or with a secret.
HUGE: Final = st.sampled_from(
    ["", "x", "ü" * 3_000, "🙂" * 3_000, "\x1b[2K" * 999, "https://s.example/a?X-Amz-Signature=s3cret", '"' * 9_000]
)
NUMBERS: Final = st.sampled_from([0.5, math.nan, -math.inf, 10**400, 10**300, 1e308, 7])


@given(texts=st.lists(HUGE, min_size=8, max_size=8), numbers=st.lists(NUMBERS, max_size=60), long=st.booleans())
def test_summary_of_any_run_is_small_and_has_no_secret(texts: list[str], numbers: list[float], long: bool) -> None:
    stamps = {f"vi_airflow.{name}": texts[0] for name in ("flow_id", "flow_digest", "namespace", "run_number")}
    failed = {"condition": "Failed", "status": "Reached", "reason": texts[1], "message": texts[2]}
    wire = wire_run(
        spec__flow__name=texts[3],
        spec__trainingProject=texts[4],
        metadata__attributes=stamps,
        status__conditions=[{**failed, "lastTransitionTime": 10**4_000}],
        status__log="https://s.example/?sig=s3cret",
    )
    metrics = {f"{texts[5] if long else ''}{number}": value for number, value in enumerate(numbers)}
    checkpoint = RunOutput.model_validate(
        wire_run_output(
            runOutputId="ckpt-" + "1" * 5_000,
            spec__kind=texts[6],
            spec__epoch=10**4_000,
            spec__evaluationMetrics=metrics,
            status__storageObject=texts[7],
        )
    )
    summary = summarize(Run.model_validate(wire), [checkpoint], BestMetric("0", "max"), adopted=False, url="")
    text = json.dumps(summary, allow_nan=False)
    assert len(text) <= 8_000
    assert "s3cret" not in text
    for size in (1_000, 7_000):
        checkpoints = described_outputs([checkpoint] * 40, None, size)
        assert len(json.dumps(checkpoints, allow_nan=False)) <= size
        assert len(checkpoints["checkpoints"]) + checkpoints["omitted"] == 40


def test_metric_of_the_choice_is_shown_among_thousands() -> None:
    outputs = [output(str(n), n, **{f"a{number:04}": 1.0 for number in range(5_000)}, zeta=float(-n)) for n in range(3)]
    summary = summarize(Run.model_validate(wire_run()), outputs, BestMetric("zeta", "max"), adopted=False, url="")
    assert summary["best"]["metrics"]["zeta"] == 0.0
    assert len(summary["best"]["metrics"]) == 50
    assert summary["best"]["metrics_omitted"] == 4_951


@pytest.mark.parametrize("value", [0.5, math.nan])
def test_summary_omits_metrics_whose_names_airflow_reserves(value: float) -> None:
    reserved = dict.fromkeys(("__id__", "__classname__", "__type", "__var"), value)
    outputs = [output("a", 1, **reserved, f1=0.9)]
    summary = summarize(Run.model_validate(wire_run()), outputs, BestMetric("f1", "max"), adopted=False, url="")
    refuse_reserved_keys(summary)
    for checkpoint in (summary["model"], summary["best"]):
        assert checkpoint["metrics"] == {"f1": 0.9}
        assert checkpoint["metrics_omitted"] == len(reserved)


def test_run_without_a_model_has_a_summary() -> None:
    summary = summarize(Run.model_validate(wire_run()), [], None, adopted=False, url="")
    assert (summary["model"], summary["best"], summary["outputs"]) == (None, None, 0)
    assert (summary["state"], summary["queued_seconds"], summary["running_seconds"]) == ("running", 95.0, None)


# --- events --------------------------------------------------------------------------------------------------------

ENDS: Final = [
    WaitEnd("run", RunEnd.ENDED),
    WaitEnd("run", RunEnd.ENDED, adopted=True),
    WaitEnd("run", RunEnd.EXCEEDED, Limit.MAX_DURATION),
    WaitEnd("run", RunEnd.GONE),
]


@pytest.mark.parametrize("end", ENDS, ids=str)
def test_event_says_the_same_on_both_sides(end: WaitEnd) -> None:
    assert read_event(json.loads(json.dumps(build_event(end)))) == end


def test_event_carries_an_error() -> None:
    end = WaitEnd("run", RunEnd.FAILED, error=ViServerError("down", status_code=503, attempts=2))
    read = read_event(json.loads(json.dumps(build_event(end))))
    assert isinstance(read.error, ViServerError)
    assert str(read.error) == str(end.error)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"outcome": "won"},
        {"limit": "timeout"},
        {"error": {"type": "ViError", "message": "x"}},
        {"run_id": 5},
    ],
)
def test_event_that_is_not_understood_is_a_failure(change: dict[str, Any]) -> None:
    with pytest.raises(ViResponseError, match="not understood"):
        read_event(build_event(ENDS[0]) | change)


@given(st.none() | st.integers() | st.text() | st.dictionaries(st.text(), st.text()))
def test_foreign_event_is_never_a_success(event: Any) -> None:
    with pytest.raises(ViResponseError):
        read_event(event)
