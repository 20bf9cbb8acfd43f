"""When a gate polls next: pauses, backoff, shared ticks."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.api.failed_polls import MAX_PAUSE
from vi_airflow_provider.gates.pacing import MAX_DRIFT, MIN_INTERVAL, Pace, next_poll, next_tick, pause_after_failure

#: From the shortest interval to an unreasonable one; Airflow accepts any.
INTERVALS: Final = st.sampled_from([0.1, 0.3, 1.0, 7.0, 60.0, 90.5, 3600.0, 604_800.0])
TIMES: Final = st.floats(min_value=1.6e9, max_value=4.1e9)

# --- shared ticks ---------------------------------------------------------------------------------------------------


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
def test_polls_due_within_one_interval_share_a_tick(one: float, interval: float, part: float) -> None:
    tick = next_tick(one, interval)
    assert next_tick(tick - part * interval * 0.999, interval) == tick


def test_a_tick_in_a_distant_future_is_found() -> None:
    assert next_tick(1.8e9 + 1e300, 60.0) >= 1e300


@pytest.mark.parametrize(
    ("after", "pause"),
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
def test_retry_after_extends_the_pause_up_to_an_hour(after: float | None, pause: float) -> None:
    assert pause_after_failure(ViError("x", retry_after=after), 60.0) == pytest.approx(pause)


@given(earliest=TIMES, interval=INTERVALS, offset=st.floats(0, 1))
def test_a_poll_is_delayed_by_at_most_the_drift(earliest: float, interval: float, offset: float) -> None:
    due = next_poll(earliest, interval, offset * interval)
    assert -1e-4 * interval - 1e-6 <= due - earliest <= MAX_DRIFT * interval + 1e-6


@given(begin=TIMES, interval=st.sampled_from([1.0, 7.0, 60.0, 3600.0]), offset=st.floats(0, 0.1))
def test_polls_meet_the_ticks_after_a_while_and_keep_to_them(begin: float, interval: float, offset: float) -> None:
    moments = [begin]
    for _ in range(30):
        moments.append(next_poll(moments[-1] + interval, interval, offset * interval))
    pauses = [two - one for one, two in pairwise(moments)]
    assert max(pauses) <= (1 + MAX_DRIFT) * interval + 1e-5
    assert pauses[-5:] == pytest.approx([interval] * 5, abs=1e-4 * interval)
    phase = (moments[-1] - offset * interval) / interval
    assert phase == pytest.approx(round(phase), abs=1e-4)


# --- pauses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("elapsed", [0.0, 1.0, 1e9, -5.0])
@pytest.mark.parametrize(("given", "pause"), [(0, MIN_INTERVAL), (0.01, MIN_INTERVAL), (0.5, 0.5), (90, 90)])
def test_the_interval_has_a_lower_bound(given: float, pause: float, elapsed: float) -> None:
    assert Pace(given).pause(elapsed) == pause


def test_backoff_doubles_the_pause_after_each_poll() -> None:
    elapsed, pauses = 0.0, []
    for _ in range(6):
        pauses.append(Pace(60.0, exponential_backoff=True).pause(elapsed))
        elapsed += pauses[-1] + 0.5  # the poll itself takes time
    assert pauses == [60, 120, 240, 480, 960, 1920]


@pytest.mark.parametrize(
    ("max_wait", "longest"), [(None, math.inf), (0.0, math.inf), (300.0, 300.0), (1.0, 1.0), (0.001, MIN_INTERVAL)]
)
def test_max_wait_limits_the_backoff(max_wait: float | None, longest: float) -> None:
    pace = Pace(60.0, exponential_backoff=True, max_wait=max_wait)
    for elapsed in (0.0, 1e3, 1e6, 1e300):
        assert pace.pause(elapsed) <= longest
    assert pace.pause(1e6) >= min(longest, 1e5)


def test_max_wait_has_no_effect_without_backoff() -> None:
    assert Pace(60.0, max_wait=1.0).pause(1e6) == 60.0


def test_a_failure_never_shortens_the_pause() -> None:
    assert pause_after_failure(ViError("x", retry_after=1.0), 2 * MAX_PAUSE) == 2 * MAX_PAUSE
