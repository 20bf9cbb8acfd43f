"""Arguments in each form in which Airflow passes them: literals, rendered texts, native objects, pendulum, proxies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Final

import lazy_object_proxy  # type: ignore[import-untyped]
import pendulum
import pytest
from pydantic import TypeAdapter, ValidationError

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.selection import arguments
from vi_airflow_provider.selection.arguments import AttributeValue, Duration, Instant, Items, Text

NOW: Final = datetime(2026, 7, 1, 12, 30, 15, 250, tzinfo=UTC)
START: Final = pendulum.datetime(2026, 1, 1)


class OwnDelta(timedelta):
    """A subclass with an arithmetic of its own, as pendulum's."""

    def __floordiv__(self, other: Any) -> Any:
        raise AttributeError("_to_microseconds")


class OwnText(str):
    __slots__ = ()


def proxy(value: Any) -> Any:
    """A value as Airflow passes the times of the previous run."""
    return lazy_object_proxy.Proxy(lambda: value)


DURATIONS: Final[list[tuple[Any, timedelta]]] = [
    (timedelta(days=90), timedelta(days=90)),
    ("P90D", timedelta(days=90)),
    ("90 days, 0:00:00", timedelta(days=90)),
    (pendulum.duration(days=90), timedelta(days=90)),
    (pendulum.duration(weeks=2, microseconds=7), timedelta(days=14, microseconds=7)),
    (pendulum.duration(months=2, days=1), timedelta(days=61)),
    (pendulum.datetime(2026, 7, 1, 3) - START, timedelta(days=181, hours=3)),
    (pendulum.interval(START, pendulum.datetime(2026, 1, 2)), timedelta(days=1)),
    (OwnDelta(hours=1), timedelta(hours=1)),
    (proxy(timedelta(hours=1)), timedelta(hours=1)),
    (proxy(pendulum.duration(hours=1)), timedelta(hours=1)),
    (OwnText("PT1H"), timedelta(hours=1)),
]


@pytest.mark.parametrize(("value", "expected"), DURATIONS, ids=repr)
def test_a_duration_becomes_a_plain_timedelta(value: Any, expected: timedelta) -> None:
    checked = TypeAdapter(Duration).validate_python(value)
    assert (type(checked), checked) == (timedelta, expected)
    assert checked // timedelta(milliseconds=1) == expected // timedelta(milliseconds=1)


INSTANTS: Final[list[tuple[Any, datetime]]] = [
    (NOW, NOW),
    (NOW.astimezone(timezone(timedelta(hours=9))), NOW),
    ("2026-07-01 12:30:15.000250+00:00", NOW),
    ("2026-07-01T12:30:15.000250Z", NOW),
    (pendulum.instance(NOW), NOW),
    (str(pendulum.instance(NOW)), NOW),
    (pendulum.instance(NOW).in_timezone("Europe/Berlin"), NOW),
    (pendulum.datetime(2026, 10, 25, 2, 30, tz="Europe/Berlin", fold=1), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
    (pendulum.datetime(2026, 10, 25, 2, 30, tz="Europe/Berlin", fold=0), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
    (proxy(NOW), NOW),
    (proxy(pendulum.instance(NOW)), NOW),
]


@pytest.mark.parametrize(("value", "expected"), INSTANTS, ids=str)
def test_a_time_becomes_a_plain_datetime(value: Any, expected: datetime) -> None:
    checked = TypeAdapter(Instant).validate_python(value)
    assert type(checked) is datetime
    # A time in a fold is equal to no time of another zone.
    assert checked.astimezone(UTC) == expected
    assert arguments.milliseconds(checked) == arguments.milliseconds(expected)


COUNTS: Final[list[tuple[Any, int | None]]] = [
    (5, 5),
    (0, 0),
    ("5", 5),
    ("05", 5),
    (OwnText("5"), 5),
    (proxy(5), 5),
    (None, None),
    (proxy(None), None),
]


@pytest.mark.parametrize(("value", "expected"), COUNTS, ids=repr)
def test_a_count_becomes_a_plain_int(value: Any, expected: int | None) -> None:
    checked = arguments.optional_count("limit", value)
    assert (type(checked), checked) == (type(expected), expected)


@pytest.mark.parametrize(("value", "low"), [("3", 1), (1, 1), (0, 0), (proxy(3), 3), ("9" * 18, 0)], ids=repr)
def test_a_required_count_has_a_lower_bound(value: Any, low: int) -> None:
    assert arguments.count("concurrency", value, low) == int(value)


@pytest.mark.parametrize(("value", "low"), [(None, 0), (0, 1), ("2", 3), ("9" * 19, 0), (True, 0), (-1, 0)], ids=repr)
def test_a_count_below_its_bound_is_refused(value: Any, low: int) -> None:
    with pytest.raises(ViValidationError, match=r"^concurrency: .* is not a whole number"):
        arguments.count("concurrency", value, low)


def test_the_error_about_a_count_names_value_and_bound() -> None:
    assert arguments.count("concurrency", "0") == 0
    assert refusal(arguments.count, 2, 3) == "x: 2 is not a whole number of at least 3"
    assert refusal(arguments.count, None) == "x: None is not a whole number of at least 0"
    assert refusal(arguments.count, None, 3) == "x: None is not a whole number of at least 3"
    assert refusal(arguments.count, "ten", 3) == "x: 'ten' is not a whole number of at least 3"


NO_DURATION: Final = "is not a timedelta or an ISO 8601 duration; write "


def refusal(check: Callable[..., Any], *values: Any) -> str:
    """The reason for which a check refuses an argument ``x``."""
    with pytest.raises(ViValidationError) as caught:
        check("x", *values)
    return str(caught.value.args[0])


@pytest.mark.parametrize(
    ("check", "values", "reason"),
    [
        (arguments.optional_count, [-3], "-3 is not a whole number of at least 0"),
        (arguments.duration, ["90 d"], "'90 d' is not a timedelta or an ISO 8601 duration; write 'P90D' for 90 days"),
        (arguments.duration, ["30"], f"'30' {NO_DURATION}'P30D', if days are meant"),
        (arguments.duration, ["P7"], f"'P7' {NO_DURATION}'P7D', if days are meant"),
        (arguments.instant, ["2026-07-01"], "'2026-07-01' has no time zone; write '2026-07-01T00:00:00+00:00' for UTC"),
        (arguments.optional_text, [""], "'' is empty; a template may have rendered to nothing"),
        (arguments.fraction, [2], "2 is not a number from 0 to 1; write 0.5 for 50 %"),
        (arguments.fraction, ["half"], "'half' is not a number from 0 to 1"),
        (arguments.fraction, ["30%"], "'30%' is not a number from 0 to 1; write 0.5 for 50 %"),
        (arguments.fraction, [100], "100 is not a number from 0 to 1; write 0.5 for 50 %"),
        (arguments.fraction, [101], "101 is not a number from 0 to 1"),
        (arguments.boolean, ["maybe"], "'maybe' is not true or false"),
        (arguments.flag, [1], "1 is not True or False"),
        (arguments.boolean, ["Yes"], "'Yes' is not true or false; write True"),
        (arguments.choice, ["z", ("a", "b")], "'z' is not one of 'a', 'b'"),
        (arguments.choice, ["flow", ("flows", "ids")], "'flow' is not one of 'flows', 'ids'; did you mean 'flows'?"),
        (arguments.optional_seconds, [-1], "-1 is not a time span"),
        (arguments.seconds, [None], "None is not a time span; 0 is one"),
        (arguments.interval, ["PT0S"], "'PT0S' is not longer than 0; write 60 or timedelta(minutes=1)"),
        (arguments.optional_text, [b"a"], "b'a' is not text"),
        (arguments.optional_text, ["None"], "'None' is given, or the template rendered to None"),
    ],
)
def test_a_refusal_names_argument_value_and_expectation(check: Any, values: list[Any], reason: str) -> None:
    assert refusal(check, *values) == f"x: {reason}"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("90", 90.0), ("1.5", 1.5), (0, 0.0), (999_999_999_999, 999_999_999_999.0), ("PT1H", 3600.0), (None, None)],
    ids=repr,
)
def test_a_time_span_may_be_a_number_of_seconds(value: Any, seconds: float | None) -> None:
    assert arguments.optional_seconds("grace", value) == seconds
    assert arguments.optional_seconds("grace", timedelta(minutes=2)) == 120.0


@pytest.mark.parametrize("value", [1e12, -1, float("nan"), "٣", "1e3", "1234567890123", True, "soon"], ids=repr)
def test_another_number_is_no_time_span(value: Any) -> None:
    with pytest.raises(ViValidationError, match=r"^grace: .* is not a (time span|number of seconds)"):
        arguments.optional_seconds("grace", value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.29, Fraction(29, 100)),
        ("0.29", Fraction(29, 100)),
        (0, Fraction(0)),
        (1, Fraction(1)),
        ("1/3", Fraction(1, 3)),
        (Decimal("0.5"), Fraction(1, 2)),
        (proxy(0.5), Fraction(1, 2)),
    ],
    ids=repr,
)
def test_a_fraction_is_exact(value: Any, expected: Fraction) -> None:
    checked = arguments.fraction("max_delete_fraction", value)
    assert (type(checked), checked) == (Fraction, expected)


# Of the last two, the exact value would take hours to compute.
@pytest.mark.parametrize(
    "value",
    [1.01, -0.01, "half", "1/0", "nan", "inf", None, True, "", [], "1e-999999999", "1E9_999_999"],
    ids=repr,
)
def test_a_value_that_is_no_fraction_is_refused(value: Any) -> None:
    with pytest.raises(ViValidationError, match=r"^max_delete_fraction: .* is not a number from 0 to 1"):
        arguments.fraction("max_delete_fraction", value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (False, False), ("True", True), ("false", False), ("FALSE", False), (proxy(True), True)],
    ids=repr,
)
def test_a_boolean_becomes_a_plain_bool(value: Any, expected: bool) -> None:
    assert arguments.boolean("dry_run", value) is expected


@pytest.mark.parametrize(
    ("value", "expected"), [("a", "a"), (OwnText("a"), "a"), (proxy("a"), "a"), (None, None), (proxy(None), None)]
)
def test_a_text_is_returned(value: Any, expected: str | None) -> None:
    assert arguments.optional_text("name", value) == expected


@pytest.mark.parametrize("value", ["", "none", "a"])
def test_the_value_of_an_attribute_may_be_empty(value: str) -> None:
    assert TypeAdapter(AttributeValue).validate_python(value) == value


class Disguised:
    """Reports another class than its own, and stands for nothing else."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return bytes


def test_an_object_that_reports_another_class_is_no_proxy() -> None:
    with pytest.raises(ViValidationError, match=r"^limit: <.*Disguised object"):
        arguments.optional_count("limit", Disguised())


class Results(Sequence[str]):
    """The results of a mapped task, which Airflow reads when they are asked for."""

    def __getitem__(self, index: Any) -> Any:
        return ["a", "b"][index]

    def __len__(self) -> int:
        return 2


@pytest.mark.parametrize(
    "value", [["a", "b"], ("a", "b"), Results(), proxy(["a", "b"])], ids=["list", "tuple", "lazy", "proxy"]
)
def test_a_collection_may_be_any_sequence(value: Any) -> None:
    kinds: Any = (Annotated[tuple[Text, ...], Items], Annotated[frozenset[Text], Items])
    assert [sorted(TypeAdapter(kind).validate_python(value)) for kind in kinds] == [["a", "b"]] * 2


@pytest.mark.parametrize("value", ["ab", b"ab", {"a": 1}, ["a", None], ["None"], 5], ids=repr)
def test_another_value_is_no_collection_of_texts(value: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Annotated[tuple[Text, ...], Items]).validate_python(value)


# --- refused -------------------------------------------------------------------------------------------------------

NO_TIME: Final = "is not a datetime or an ISO 8601 time; write "
REFUSED: Final[list[tuple[Any, Any, str]]] = [
    (Duration, 90, NO_DURATION),
    (Duration, 90.0, NO_DURATION),
    (Duration, proxy(None), NO_DURATION),
    (Duration, str(pendulum.duration(days=90)), NO_DURATION),  # "12 weeks 6 days"
    (Duration, pendulum.duration(days=-1), "it is negative"),
    (Duration, START - pendulum.datetime(2026, 7, 1), "it is negative"),
    (Instant, pendulum.naive(2026, 7, 1), "has no time zone; write '2026-07-01T00:00:00+00:00' for UTC"),
    (Instant, pendulum.date(2026, 7, 1), NO_TIME),
    (Instant, date(2026, 7, 1), NO_TIME),
    (Instant, 1_782_907_200, NO_TIME),
    (Instant, proxy(None), NO_TIME),
    (Text, 12345, "12345 is not text; in a DAG that renders templates as native objects, quote the template"),
    (Text, 1.1, "1.1 is not text; in a DAG that renders"),
    (Text, True, "True is not text; in a DAG that renders"),
    (Text, b"a", "b'a' is not text"),
    (Text, proxy(12345), "12345 is not text"),
    (Text, "None", "the template rendered to None"),
    (Text, "", "'' is empty"),
    (AttributeValue, "None", "the template rendered to None"),
]


@pytest.mark.parametrize(("kind", "value", "words"), REFUSED, ids=repr)
def test_another_value_is_refused_with_the_reason(kind: Any, value: Any, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "value", [-1, 1.0, True, "1.0", "-1", " 1", "", "None", "9" * 5000, [], {}], ids=lambda v: repr(v)[:20]
)
def test_a_value_that_is_no_count_is_refused(value: Any) -> None:
    with pytest.raises(ViValidationError, match=r"^limit: .* is not a whole number"):
        arguments.optional_count("limit", value)


@pytest.mark.parametrize("value", [0, 1, "1", "yes", "", "None", None, [], {}, proxy(None)], ids=repr)
def test_a_value_that_is_neither_true_nor_false_is_refused(value: Any) -> None:
    with pytest.raises(ViValidationError, match=r"^dry_run: .* is not true or false"):
        arguments.boolean("dry_run", value)


@pytest.mark.parametrize("value", ["", "other", None, 1, [], {}, ["a"]], ids=repr)
@pytest.mark.parametrize("allowed", [("a", "b"), {"a": 1, "b": 2}], ids=["tuple", "mapping"])
def test_a_value_that_is_no_choice_is_refused(allowed: Any, value: Any) -> None:
    assert arguments.choice("result", OwnText("a"), allowed) == "a"
    with pytest.raises(ViValidationError, match=r"^result: .* is not one of 'a', 'b'"):
        arguments.choice("result", value, allowed)


@pytest.mark.parametrize("value", ["", "None", 5, 1.5, True, [], b"a", proxy(5)], ids=repr)
def test_a_value_that_is_no_text_is_refused_by_the_argument(value: Any) -> None:
    with pytest.raises(ViValidationError, match=r"^archive_to: "):
        arguments.optional_text("archive_to", value)


@pytest.mark.parametrize("value", [12345, 1.5, True, proxy(12345)], ids=repr)
def test_a_number_is_no_flow_id_and_the_error_shows_how_to_quote(value: Any) -> None:
    with pytest.raises(ViValidationError, match=r"^flow_id: .* is a number, not text; .* quote the template: \"'\{\{"):
        arguments.checked_flow_id(value)


@pytest.mark.parametrize(("value", "words"), [("None", "the template rendered to None"), ("", "''"), ("a/b", "'a/b'")])
def test_a_text_that_is_no_flow_id_is_refused(value: str, words: str) -> None:
    with pytest.raises(ViValidationError, match=words):
        arguments.checked_flow_id(value)


def test_a_flow_id_of_digits_is_accepted_as_text() -> None:
    assert arguments.checked_flow_id("12345") == "12345"
    assert arguments.checked_flow_id(proxy("flow-1")) == "flow-1"
