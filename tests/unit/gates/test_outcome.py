"""The rules of waiting, one by one: when to look next, when a failure is the end, and what crosses the database."""

from __future__ import annotations

import json
import math
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.documents import SECRET_KEY, wire_flow
from vi_airflow_provider.api import errors
from vi_airflow_provider.api.errors import ViError, ViResponseError
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.gates.outcome import (
    WaitOutcome,
    WaitResult,
    build_event,
    outcome_of_failure,
    read_event,
)
from vi_airflow_provider.gates.pacing import next_tick, pause_after_failure

#: From one event loop to one that nobody would wait for; Airflow takes any.
INTERVALS: Final = st.sampled_from([0.1, 0.3, 1.0, 7.0, 60.0, 90.5, 3600.0, 604_800.0])
TIMES: Final = st.floats(min_value=1.6e9, max_value=4.1e9)

FAMILY: Final = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ViError)]
LASTING: Final = {
    errors.ViAuthenticationError,
    errors.ViPermissionError,
    errors.ViValidationError,
    errors.ViConfigurationError,
}

# --- when to look next ---------------------------------------------------------------------------------------------


@given(earliest=TIMES, interval=INTERVALS)
def test_a_tick_is_the_next_multiple_of_the_interval(earliest: float, interval: float) -> None:
    tick = next_tick(earliest, interval)
    assert tick / interval == pytest.approx(round(tick / interval), abs=1e-4)
    # Times like these are rounded, to less than a microsecond.
    assert -1e-4 * interval - 1e-6 <= tick - earliest < interval + 1e-6


@given(time=TIMES, interval=INTERVALS)
def test_a_tick_is_its_own_next_tick(time: float, interval: float) -> None:
    tick = next_tick(time, interval)
    assert next_tick(tick, interval) == tick
    assert next_tick(tick + interval, interval) == pytest.approx(tick + interval, abs=1e-6)


@given(one=TIMES, interval=INTERVALS, part=st.floats(min_value=0.001, max_value=1))
def test_gates_that_may_look_within_the_same_interval_look_at_the_same_time(
    one: float, interval: float, part: float
) -> None:
    tick = next_tick(one, interval)
    assert next_tick(tick - part * interval * 0.999, interval) == tick


def test_a_tick_is_found_though_nobody_will_live_to_see_it() -> None:
    assert next_tick(1.8e9 + 1e300, 60.0) >= 1e300


@pytest.mark.parametrize(
    ("asked", "pause"),
    [
        (None, 60),
        (0.0, 60),
        (59.0, 60),
        (61.0, 61),
        (3600.0, 3600),
        (86_400.0, 3600),
        (1e300, 3600),
        (math.nextafter(60, 61), 60),
    ],
)
def test_a_failure_pauses_as_usual_or_up_to_an_hour_if_the_server_asks(asked: float | None, pause: float) -> None:
    assert pause_after_failure(ViError("x", retry_after=asked), 60.0) == pytest.approx(pause)


# --- when a failure is the end -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FAMILY)
def test_what_waiting_cannot_mend_ends_it_at_once(kind: type[ViError]) -> None:
    expected = WaitOutcome.REFUSED if kind in LASTING else None
    assert outcome_of_failure(kind("x"), 1, 10) is expected
    assert outcome_of_failure(kind("x"), 1, None) is expected


@pytest.mark.parametrize(
    ("failures", "budget", "outcome"),
    [
        (1, 10, None),
        (9, 10, None),
        (10, 10, WaitOutcome.OUTAGE),
        (11, 10, WaitOutcome.OUTAGE),
        (1, 1, WaitOutcome.OUTAGE),
        (1, 0, WaitOutcome.OUTAGE),
        (10_000, None, None),
    ],
)
def test_the_budget_bounds_the_failures_in_a_row(
    failures: int, budget: int | None, outcome: WaitOutcome | None
) -> None:
    assert outcome_of_failure(errors.ViServerError("x"), failures, budget) is outcome


# --- what crosses the database -------------------------------------------------------------------------------------


def crossed(ended: WaitResult, *, absent: bool = False) -> WaitResult:
    """What a worker reads of what a triggerer wrote."""
    return read_event(json.loads(json.dumps(build_event(ended), allow_nan=False)), absent=absent)


FLOW: Final = Flow.model_validate(wire_flow()).model_dump(mode="json")


@pytest.mark.parametrize(
    ("ended", "absent"),
    [
        (WaitResult(WaitOutcome.OPEN, FLOW), False),
        (WaitResult(WaitOutcome.OPEN), True),
        (WaitResult(WaitOutcome.TIMEOUT), False),
    ],
)
def test_an_end_crosses_unchanged(ended: WaitResult, absent: bool) -> None:
    assert crossed(ended, absent=absent) == ended


def test_a_timeout_is_understood_also_where_an_absence_was_waited_for() -> None:
    assert crossed(WaitResult(WaitOutcome.TIMEOUT), absent=True) == WaitResult(WaitOutcome.TIMEOUT)


@pytest.mark.parametrize("kind", FAMILY)
def test_an_error_crosses_with_its_kind_its_words_and_its_facts(kind: type[ViError]) -> None:
    error = kind("503 Ärger", status_code=503, method="GET", path="/flows/f?x", trace_id="t", attempts=3)
    read = crossed(WaitResult(WaitOutcome.OUTAGE, error=error)).error
    assert type(read) is kind
    assert str(read) == str(error)
    assert vars(read) == vars(error)


@pytest.mark.parametrize("name", ["NoSuchError", "one_line", "Final", "__name__", "Exception"])
def test_an_error_of_an_unknown_kind_is_still_an_error_of_ours(name: str) -> None:
    event = build_event(WaitResult(WaitOutcome.OUTAGE, error=errors.ViServerError("words")))
    event["error"]["type"] = name
    read = read_event(event).error
    assert type(read) is ViError
    assert read.args == ("words",)


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.sampled_from(["version", "outcome", "flow", "error"]), x),
    max_leaves=6,
)


@given(JSON)
def test_no_other_data_is_taken_for_an_end(event: Any) -> None:
    with pytest.raises(ViResponseError, match="not understood"):
        read_event(event)


def test_an_event_is_quoted_in_one_short_line() -> None:
    with pytest.raises(ViResponseError) as caught:
        read_event({"outcome": "x\n" * 1000})
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


def test_an_event_holds_no_more_of_an_error_than_its_description() -> None:
    error = errors.ViAuthenticationError("401", status_code=401)
    error.__cause__ = ValueError(SECRET_KEY)
    assert SECRET_KEY not in json.dumps(build_event(WaitResult(WaitOutcome.REFUSED, error=error)))
