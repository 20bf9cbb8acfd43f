"""Errors: their messages, their attributes, and which of them a retry can resolve."""

from __future__ import annotations

import pickle
from copy import copy
from typing import Any, Final

import pytest

from vi_airflow_provider.api import errors
from vi_airflow_provider.api.errors import ViError, ViNetworkError, ViServerError, ViValidationError, one_line, refusing

FAMILY: Final = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, ViError) and value is not ViError
}
#: Where the same call, made again, fails again: a task of Airflow need not be retried.
FOR_GOOD: Final = {"ViConfigurationError", "ViValidationError", "ViAuthenticationError", "ViPermissionError"}
PASSING: Final = {
    *("ViNotFoundError", "ViConflictError", "ViRateLimitError", "ViServerError"),
    *("ViTimeoutError", "ViNetworkError", "ViResponseError"),
}


def test_each_error_tells_whether_a_retry_can_help() -> None:
    told = {name: kind.retryable for name, kind in FAMILY.items()}
    assert {name: told[name] for name in FOR_GOOD | PASSING} == {
        **dict.fromkeys(FOR_GOOD, False),
        **dict.fromkeys(PASSING, True),
    }


@pytest.mark.parametrize("name", [name for name in FAMILY if name not in ("ViConfigurationError", "ViValidationError")])
def test_each_error_of_a_response_has_one_sentence_of_advice(name: str) -> None:
    advice = FAMILY[name].advice
    assert advice.endswith(".")
    assert "\n" not in advice


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "it broke. The service has a problem; try again later."),
        (
            {"method": "GET", "path": "/x", "trace_id": "t", "attempts": 3, "status_code": 500},
            "GET /x: it broke. The service has a problem; try again later. (trace t, 3 attempts)",
        ),
        ({"attempts": 1}, "it broke. The service has a problem; try again later."),
        ({"trace_id": "t"}, "it broke. The service has a problem; try again later. (trace t)"),
    ],
)
def test_a_message_is_one_line_of_place_cause_and_advice(given: dict[str, Any], text: str) -> None:
    assert str(ViServerError("it broke", **given)) == text


@pytest.mark.parametrize(("said", "shown"), [("a", "a."), ("a.", "a."), ("a?", "a?")])
def test_a_message_ends_with_one_punctuation_mark(said: str, shown: str) -> None:
    assert str(ViError(said)) == shown


def test_an_error_survives_pickling_and_copying() -> None:
    facts = {"status_code": 503, "method": "GET", "path": "/x", "trace_id": "t", "attempts": 3, "retry_after": 2.5}
    error = ViNetworkError("it broke", **facts)  # type: ignore[arg-type]
    for twin in (pickle.loads(pickle.dumps(error)), copy(error)):  # noqa: S301
        assert type(twin) is ViNetworkError
        assert str(twin) == str(error)
        assert {name: getattr(twin, name) for name in facts} == facts


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain", "plain"),
        (" a\r\nb\tc\x00\x1b[31md\x85\u2028e ", "a b c [31md e"),
        ("ä" * 300, "ä" * 300),
        ("x" * 301, "x" * 300 + "…"),
        ("", ""),
    ],
    ids=["plain", "control characters", "just fits", "too long", "empty"],
)
def test_foreign_text_becomes_one_bounded_line(text: str, line: str) -> None:
    assert one_line(text) == line


@pytest.mark.parametrize(
    "mark",
    ["\x1b", "\x9b", "\x7f", "\u2028", "\u202e", "\u2066", "\u200f", "\u200b", "\ufeff", "\U000e0041"],
    ids=ascii,
)
def test_foreign_text_has_no_control_characters(mark: str) -> None:
    assert one_line(f"a{mark}{mark}b") == "a b"


def test_only_the_beginning_of_a_huge_text_is_processed() -> None:
    assert one_line("\x00" * 50_000_000) == ""


def test_refusing_replaces_an_error_without_cause_or_context() -> None:
    with (
        pytest.raises(ViValidationError, match="bad: 5") as caught,
        refusing(ViValidationError, ValueError, KeyError, describe=lambda error: f"bad: {error}"),
    ):
        raise ValueError(5)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_refusing_lets_other_errors_and_results_pass() -> None:
    with pytest.raises(ZeroDivisionError), refusing(ViValidationError, ValueError):
        raise ZeroDivisionError
    with refusing(ViValidationError, ValueError):
        value = 5
    assert value == 5


def test_an_error_may_give_advice_of_its_own() -> None:
    assert str(ViServerError("broken", advice="Correct the flow.")) == "broken. Correct the flow."
    assert ViServerError("broken").advice == ViServerError.advice != ""
