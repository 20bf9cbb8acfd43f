"""When a failed poll ends a wait, and the event that crosses Airflow's database."""

from __future__ import annotations

import json
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
    lookup_failure,
    outcome_of_failure,
    read_event,
)

FAMILY: Final = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ViError)]
LASTING: Final = {
    errors.ViAuthenticationError,
    errors.ViPermissionError,
    errors.ViValidationError,
    errors.ViConfigurationError,
}

# --- when a failed poll ends the wait ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FAMILY)
def test_an_error_that_waiting_cannot_mend_ends_the_wait(kind: type[ViError]) -> None:
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
def test_the_budget_limits_consecutive_failures(failures: int, budget: int | None, outcome: WaitOutcome | None) -> None:
    assert outcome_of_failure(errors.ViServerError("x"), failures, budget) is outcome


def test_a_failed_lookup_names_the_connection_and_hides_the_text_of_the_cause() -> None:
    failure = lookup_failure("vi\n" * 100, KeyError(SECRET_KEY))
    assert str(failure) == (
        f"connection '{'vi ' * 33}v…': Airflow cannot provide it (KeyError). Check that it is defined, and that the "
        "secrets backend responds."
    )
    assert SECRET_KEY not in str(failure)


# --- the event -----------------------------------------------------------------------------------------------------


def crossed(ended: WaitResult, *, absent: bool = False) -> WaitResult:
    """Write the end as a triggerer and read it as a worker."""
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
def test_the_end_of_a_wait_survives_the_database(ended: WaitResult, absent: bool) -> None:
    assert crossed(ended, absent=absent) == ended


def test_a_wait_for_absence_can_time_out() -> None:
    assert crossed(WaitResult(WaitOutcome.TIMEOUT), absent=True) == WaitResult(WaitOutcome.TIMEOUT)


@pytest.mark.parametrize("kind", FAMILY)
def test_an_error_keeps_class_message_and_attributes(kind: type[ViError]) -> None:
    error = kind("503 Ärger", status_code=503, method="GET", path="/flows/f?x", trace_id="t", attempts=3)
    read = crossed(WaitResult(WaitOutcome.OUTAGE, error=error)).error
    assert type(read) is kind
    assert str(read) == str(error)
    assert vars(read) == vars(error)


@pytest.mark.parametrize("name", ["NoSuchError", "one_line", "Final", "__name__", "Exception"])
def test_an_error_of_an_unknown_class_becomes_a_plain_one(name: str) -> None:
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
def test_other_data_is_not_an_event(event: Any) -> None:
    with pytest.raises(ViResponseError, match="not understood"):
        read_event(event)


def test_an_unknown_event_is_quoted_in_one_short_line() -> None:
    with pytest.raises(ViResponseError) as caught:
        read_event({"outcome": "x\n" * 1000})
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


def test_an_event_does_not_contain_the_cause_of_an_error() -> None:
    error = errors.ViAuthenticationError("401", status_code=401)
    error.__cause__ = ValueError(SECRET_KEY)
    assert SECRET_KEY not in json.dumps(build_event(WaitResult(WaitOutcome.REFUSED, error=error)))


#: Events as commit 8fb970b wrote them. A triggerer and a worker may run different versions for a while.
OLD_EVENTS: Final[dict[str, tuple[dict[str, Any], WaitResult]]] = {
    "open": (
        {"version": 1, "outcome": "open", "flow": {"flow_id": "f"}},
        WaitResult(WaitOutcome.OPEN, {"flow_id": "f"}),
    ),
    "timeout": ({"version": 1, "outcome": "timeout", "flow": None}, WaitResult(WaitOutcome.TIMEOUT)),
    "outage": (
        {
            "version": 1,
            "outcome": "outage",
            "flow": None,
            "error": {
                "type": "ViServerError",
                "message": "503 Service Unavailable",
                "status_code": 503,
                "method": "GET",
                "path": "/workspaces/o/flows/f",
                "trace_id": None,
                "attempts": 1,
            },
        },
        WaitResult(
            WaitOutcome.OUTAGE,
            error=errors.ViServerError(
                "503 Service Unavailable", status_code=503, method="GET", path="/workspaces/o/flows/f", attempts=1
            ),
        ),
    ),
}


@pytest.mark.parametrize(("event", "result"), OLD_EVENTS.values(), ids=OLD_EVENTS)
def test_events_of_an_earlier_version_are_read_and_written(event: dict[str, Any], result: WaitResult) -> None:
    read = read_event(event)
    assert (read.outcome, read.found, str(read.error)) == (result.outcome, result.found, str(result.error))
    assert build_event(result) == event


@pytest.mark.parametrize(("event", "result"), OLD_EVENTS.values(), ids=OLD_EVENTS)
def test_fields_of_a_later_version_are_ignored(event: dict[str, Any], result: WaitResult) -> None:
    later = {**event, "polls": 12, "flow": event["flow"] and {**event["flow"], "new": 1}}
    if "error" in event:
        later["error"] = {**event["error"], "retry_after": 5}
    assert read_event(later).outcome is result.outcome
