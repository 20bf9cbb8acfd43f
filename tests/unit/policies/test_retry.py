"""`ViRetryPolicy`: which errors are retried by Airflow 3.3, and when."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from vi_airflow_provider.api.errors import (
    ViAuthenticationError,
    ViConfigurationError,
    ViConflictError,
    ViError,
    ViNetworkError,
    ViPermissionError,
    ViRateLimitError,
    ViServerError,
    ViValidationError,
)
from vi_airflow_provider.policies.retry import ViRetryPolicy

retry_policy = pytest.importorskip("airflow.sdk.definitions.retry_policy", reason="Airflow 3.3 has retry policies")


def decide(error: BaseException, **options: Any) -> Any:
    return ViRetryPolicy(**options).evaluate(error, 1, 3)


@pytest.mark.parametrize("kind", [ViAuthenticationError, ViPermissionError, ViValidationError, ViConfigurationError])
def test_errors_that_cannot_pass_fail_at_once(kind: type[ViError]) -> None:
    decision = decide(kind("refused"))
    assert decision.action is retry_policy.RetryAction.FAIL
    assert decision.reason.startswith(f"{kind.__name__}: refused.")


@pytest.mark.parametrize(
    "error", [ViConflictError("busy"), ViServerError("down"), ViNetworkError("reset"), ValueError("not ours")]
)
def test_other_errors_follow_the_settings_of_the_task(error: Exception) -> None:
    assert decide(error) == retry_policy.RetryDecision.default()


@pytest.mark.parametrize(
    ("asked", "waits"), [(0.0, 0), (90.0, 90), (3600.0, 3600), (1e300, 3600), (float("inf"), 3600)]
)
def test_retry_after_delays_the_next_try_within_bounds(asked: float, waits: int) -> None:
    decision = decide(ViRateLimitError("slow down", retry_after=asked))
    assert decision.action is retry_policy.RetryAction.RETRY
    assert decision.retry_delay == timedelta(seconds=waits)


def test_the_cause_of_an_error_decides() -> None:
    error = RuntimeError("the task failed")
    error.__cause__ = ViAuthenticationError("refused")
    assert decide(error).action is retry_policy.RetryAction.FAIL


def test_a_circle_of_causes_ends() -> None:
    error, other = RuntimeError("a"), RuntimeError("b")
    error.__cause__, other.__cause__ = other, error
    assert decide(error) == retry_policy.RetryDecision.default()


def test_policy_survives_serialization() -> None:
    policy = ViRetryPolicy(max_delay=timedelta(minutes=5))
    assert ViRetryPolicy.deserialize(policy.serialize()).max_delay == timedelta(minutes=5)
