"""`ViRetryPolicy`: which errors are retried by Airflow 3.3, and when."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
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


def decide(error: BaseException, try_number: int = 1, **settings: Any) -> Any:
    """Return the decision about a failure of a task with these settings, without which it is retried at once."""
    task = SimpleNamespace(**{"retry_delay": timedelta(0), **settings})
    context: Any = {"task": task}
    return ViRetryPolicy().evaluate(error, try_number, 3, context)


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
    ("asked", "waits"), [(1.0, 1), (90.0, 90), (3600.0, 3600), (1e300, 3600), (float("inf"), 3600)]
)
def test_retry_after_delays_the_next_try_within_bounds(asked: float, waits: int) -> None:
    decision = decide(ViRateLimitError("slow down", retry_after=asked))
    assert decision.action is retry_policy.RetryAction.RETRY
    assert decision.retry_delay == timedelta(seconds=waits)


MINUTES: Any = {"retry_delay": timedelta(minutes=5)}
BACKOFF: Any = {**MINUTES, "retry_exponential_backoff": 2.0}


@pytest.mark.parametrize(
    ("asked", "try_number", "settings", "waits"),
    [
        (0.0, 1, {}, None),
        (1.0, 1, MINUTES, None),
        (300.0, 1, MINUTES, None),
        (301.0, 1, MINUTES, 301),
        (301.0, 3, MINUTES, 301),
        (1.0, 1, {"retry_delay": timedelta(hours=2)}, None),
        (7200.0, 1, {"retry_delay": timedelta(hours=2)}, None),  # `max_delay` bounds it to one hour
        # Airflow draws the third delay between 20 and 40 minutes.
        (1200.0, 3, BACKOFF, None),
        (1300.0, 3, BACKOFF, 2400),
        (2500.0, 3, BACKOFF, 2500),
        (1300.0, 3, {**BACKOFF, "retry_exponential_backoff": True}, 2400),
        (1300.0, 3, {**BACKOFF, "retry_exponential_backoff": 1.0}, 1300),
        (1300.0, 3, {**BACKOFF, "max_retry_delay": timedelta(minutes=1)}, 1300),
        (1300.0, 3, {**BACKOFF, "max_retry_delay": timedelta(minutes=25)}, 1500),
        (3600.0, 10_000, BACKOFF, None),
    ],
)
def test_retry_after_never_shortens_the_delay_of_the_task(
    asked: float, try_number: int, settings: dict[str, Any], waits: int | None
) -> None:
    decision = decide(ViServerError("down", retry_after=asked), try_number, **settings)
    if waits is None:
        assert decision == retry_policy.RetryDecision.default()
    else:
        assert decision.retry_delay == timedelta(seconds=waits)


def test_unknown_task_counts_as_one_with_the_default_delay() -> None:
    policy = ViRetryPolicy()
    assert policy.evaluate(ViServerError("down", retry_after=1.0), 1, 3) == retry_policy.RetryDecision.default()
    assert policy.evaluate(ViServerError("down", retry_after=301.0), 1, 3).retry_delay == timedelta(seconds=301)


def test_delay_of_a_real_task_is_read() -> None:
    from airflow.sdk import BaseOperator

    context: Any = {"task": BaseOperator(task_id="t", retries=3, retry_delay=400, retry_exponential_backoff=3)}
    error = ViServerError("down", retry_after=1300.0)
    assert ViRetryPolicy().evaluate(error, 2, 3, context).retry_delay == timedelta(seconds=2400)


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
