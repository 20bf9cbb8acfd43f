"""The retry state, without a client: when a call is retried, after which wait, and when it gives up."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transports import upper_bound
from vi_airflow_provider.api.protocol.messages import Failure, FailureKind, Outcome, Request, Response
from vi_airflow_provider.api.protocol.retry import RetryPolicy, RetryState, may_retry

POLICY: Final = RetryPolicy(max_retries=2, max_rate_limit_retries=3, max_delay=60, jitter=upper_bound)
START: Final = RetryState(POLICY, deadline=100)
GET, DELETE, PATCH = (Request(method, "", "", {}) for method in ("GET", "DELETE", "PATCH"))

BUSY: Final = Response(503)
LIMITED: Final = Response(429)
RESET: Final = Failure(FailureKind.BROKEN)
REFUSED: Final = Failure(FailureKind.CONNECT)


def after(*outcomes: Outcome, request: Request = GET, now: float = 0, start: RetryState = START) -> RetryState | None:
    state: RetryState | None = start
    for outcome in outcomes:
        assert state is not None
        state = state.after(request, outcome, now)
    return state


@pytest.mark.parametrize(
    ("outcomes", "delay", "retries", "rate_limit_retries", "may_have_applied"),
    [
        ([BUSY], 1, 1, 0, True),
        ([BUSY, BUSY], 2, 2, 0, True),
        ([RESET], 1, 1, 0, True),
        ([REFUSED], 1, 1, 0, False),
        ([REFUSED, RESET], 2, 2, 0, True),
        ([RESET, REFUSED], 2, 2, 0, True),
        ([LIMITED], 1, 0, 1, False),
        ([LIMITED, LIMITED, LIMITED], 4, 0, 3, False),
        ([LIMITED, BUSY, LIMITED], 2, 1, 2, True),
        ([Response(503, {"retry-after": "9"})], 9, 1, 0, True),
        ([Response(429, {"retry-after": "90"})], 60, 0, 1, False),
        ([Response(429, {"retry-after": "0"})], 0, 0, 1, False),
        ([Response(500, {"retry-after": "9"})], 1, 1, 0, True),
    ],
)
def test_each_outcome_leads_to_the_next_state(
    outcomes: list[Outcome], delay: float, retries: int, rate_limit_retries: int, may_have_applied: bool
) -> None:
    state = after(*outcomes)
    assert state == RetryState(POLICY, 100, retries, rate_limit_retries, delay, may_have_applied)


@pytest.mark.parametrize(
    ("outcomes", "request_", "now"),
    [
        ([BUSY] * 3, GET, 0),
        ([LIMITED] * 4, GET, 0),
        ([Response(404)], GET, 0),
        ([Response(409)], DELETE, 0),
        ([BUSY], PATCH, 0),
        ([RESET], PATCH, 0),
        ([Failure(FailureKind.CERTIFICATE)], GET, 0),
        ([Failure(FailureKind.TOO_LARGE)], GET, 0),
        ([BUSY], GET, 99),
        ([BUSY], GET, 100),
        ([BUSY], GET, 1000),
        ([Response(429, {"retry-after": "50"})], GET, 50),
    ],
)
def test_giving_up_returns_no_state(outcomes: list[Outcome], request_: Request, now: float) -> None:
    assert after(*outcomes, request=request_, now=now) is None


def test_a_patch_is_retried_only_if_the_server_did_not_act() -> None:
    assert after(LIMITED, request=PATCH) is not None
    assert after(REFUSED, request=PATCH) is not None


def test_a_wait_that_ends_before_the_deadline_is_taken() -> None:
    assert after(BUSY, now=98.9) is not None


def test_without_retries_the_first_failure_is_final() -> None:
    impatient = RetryState(RetryPolicy(0, 0, 60, upper_bound), deadline=100)
    assert after(BUSY, start=impatient) is None
    assert after(LIMITED, start=impatient) is None


def test_a_state_is_immutable() -> None:
    state = after(BUSY)
    assert START.retries == 0
    with pytest.raises(FrozenInstanceError):
        state.retries = 0  # type: ignore[union-attr, misc]


OUTCOMES: Final = st.sampled_from(
    [*(Response(status) for status in (200, 404, 408, 409, 429, 500, 503)), *(Failure(kind) for kind in FailureKind)]
)


@given(st.lists(OUTCOMES), st.sampled_from([GET, DELETE, PATCH]))
def test_any_sequence_ends_within_the_bounds(outcomes: list[Outcome], request_: Request) -> None:
    state: RetryState | None = START
    for outcome in outcomes:
        previous = state
        state = previous.after(request_, outcome, 0) if previous else None
        if state is None:
            break
        assert may_retry(request_, outcome)
        assert state.retries <= POLICY.max_retries
        assert state.rate_limit_retries <= POLICY.max_rate_limit_retries
        assert 0 <= state.delay <= POLICY.max_delay
        assert state.may_have_applied >= previous.may_have_applied  # type: ignore[union-attr]
