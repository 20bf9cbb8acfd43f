"""Which flows are selected: the boundaries of every criterion, and the values that are refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.documents import ABSENT, wire_flow
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.selection.filter import FlowFilter

NOW: Final = datetime(2026, 7, 1, 12, tzinfo=UTC)
NOW_MS: Final = 1_782_907_200_000
DAY_MS: Final = 86_400_000


def flow(**changes: Any) -> Flow:
    return Flow.model_validate(wire_flow(**changes))


def selects(criteria: dict[str, Any], **changes: Any) -> bool:
    return FlowFilter.build(**criteria).matches(flow(**changes), NOW)


def test_no_criterion_selects_every_flow() -> None:
    assert selects({})
    assert selects(dict.fromkeys(FlowFilter.model_fields))


def test_a_filter_without_criteria_equals_the_empty_one() -> None:
    # ListFlowsOperator requests no more flows than its limit when there is no filter.
    assert FlowFilter.build(**dict.fromkeys(FlowFilter.model_fields)) == FlowFilter()
    assert FlowFilter.build(name_pattern="*") != FlowFilter()


def test_a_filter_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(FlowFilter.build(name_pattern="a"), "name_pattern", None)  # noqa: B010 - mypy refuses an assignment


# --- names, projects, attributes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "name", "selected"),
    [
        ("*", "", True),
        ("weld*", "weld seams", True),
        ("weld*", "Weld seams", False),
        ("weld", "weld seams", False),
        ("*seams", "weld seams", True),
        ("w?ld", "weld", True),
        ("w?ld", "wld", False),
        ("[ab]*", "beta", True),
        ("[!ab]*", "beta", False),
        ("a[*]b", "a*b", True),
        ("a.c", "abc", False),
        ("größe *", "größe 3", True),
        ("a*", "a\nb", True),
    ],
)
def test_a_name_pattern_is_a_case_sensitive_glob(pattern: str, name: str, selected: bool) -> None:
    assert selects({"name_pattern": pattern}, spec__name=name) is selected


@pytest.mark.parametrize(("project", "selected"), [("p", True), ("P", False), (None, False), (ABSENT, False)])
def test_a_training_project_is_its_exact_id(project: Any, selected: bool) -> None:
    assert selects({"training_project": "p"}, spec__trainingProject=project) is selected


@pytest.mark.parametrize(
    ("attributes", "selected"),
    [
        ({"team": "a"}, True),
        ({"team": "a", "stage": "dev"}, True),
        ({"team": "b"}, False),
        ({"team": "A"}, False),
        ({"team": "a", "owner": "me"}, False),
        ({"team": ""}, False),
        ({}, True),
    ],
)
def test_a_flow_must_have_all_given_attributes(attributes: dict[str, str], selected: bool) -> None:
    assert selects({"attributes": attributes}, metadata__attributes={"team": "a", "stage": "dev"}) is selected


# --- times ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["created", "updated"])
@pytest.mark.parametrize(
    ("side", "offset", "selected"),
    [
        *(("after", -1, False), ("after", 0, True), ("after", 1, True)),
        *(("before", -1, True), ("before", 0, False), ("before", 1, False)),
    ],
)
def test_after_includes_its_millisecond_and_before_does_not(field: str, side: str, offset: int, selected: bool) -> None:
    times = {"metadata__timeCreated": NOW_MS, "metadata__lastUpdated": NOW_MS}
    times[{"created": "metadata__timeCreated", "updated": "metadata__lastUpdated"}[field]] += offset
    assert selects({f"{field}_{side}": NOW}, **times) is selected


@pytest.mark.parametrize(("offset", "selected"), [(-1, True), (0, True), (1, False), (100 * DAY_MS, False)])
def test_older_than_includes_the_flow_of_exactly_that_age(offset: int, selected: bool) -> None:
    last_updated = NOW_MS - 90 * DAY_MS + offset
    criteria = {"older_than": timedelta(days=90)}
    assert selects(criteria, metadata__lastUpdated=last_updated, metadata__timeCreated=0) is selected


@pytest.mark.parametrize(("ms", "selected"), [(0, False), (-1, False), (999_999_999_999, False), (10**12, True)])
def test_invalid_time_is_before_nothing_and_not_old(ms: int, selected: bool) -> None:
    times = {"metadata__timeCreated": ms, "metadata__lastUpdated": ms}
    for criteria in ({"older_than": timedelta(days=90)}, {"updated_before": NOW}, {"created_before": NOW}):
        assert selects(criteria, **times) is selected


def test_older_than_counts_from_the_last_update() -> None:
    assert not selects({"older_than": "P1D"}, metadata__timeCreated=0, metadata__lastUpdated=NOW_MS)


def test_older_than_zero_selects_every_flow_not_of_the_future() -> None:
    assert selects({"older_than": timedelta(0)}, metadata__lastUpdated=NOW_MS)
    assert not selects({"older_than": timedelta(0)}, metadata__lastUpdated=NOW_MS + 1)


def test_an_empty_time_window_selects_nothing() -> None:
    window = {"created_after": NOW, "created_before": NOW}
    assert not any(selects(window, metadata__timeCreated=NOW_MS + offset) for offset in (-1, 0, 1))


@pytest.mark.parametrize(
    "same",
    [
        NOW,
        NOW.astimezone(timezone(timedelta(hours=9))),
        "2026-07-01T12:00:00Z",
        "2026-07-01 12:00:00+00:00",
        "2026-07-01T21:00:00.000+09:00",
        "2026-07-01T12:00+00:00",
    ],
    ids=str,
)
def test_a_time_may_be_given_in_any_zone_and_as_text(same: datetime | str) -> None:
    for name in ("created_after", "created_before", "updated_after", "updated_before"):
        assert FlowFilter.build(**{name: same}) == FlowFilter.build(**{name: NOW})


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("P90D", timedelta(days=90)),
        ("PT36H", timedelta(hours=36)),
        ("P1DT2H3M4S", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("P2W", timedelta(weeks=2)),
        ("PT0S", timedelta(0)),
        # As a template renders a timedelta:
        (str(timedelta(days=1)), timedelta(days=1)),
        (str(timedelta(days=90)), timedelta(days=90)),
        (str(timedelta(days=2, hours=3, seconds=4.5)), timedelta(days=2, hours=3, seconds=4.5)),
        (str(timedelta(hours=12)), timedelta(hours=12)),
        (str(timedelta(minutes=5)), timedelta(minutes=5)),
        (str(timedelta(0)), timedelta(0)),
    ],
)
def test_a_duration_may_be_given_as_text(text: str, duration: timedelta) -> None:
    assert FlowFilter.build(older_than=text).older_than == duration


@given(st.timedeltas(timedelta(0), timedelta(days=40_000)))
def test_a_duration_is_read_from_its_own_text(duration: timedelta) -> None:
    assert FlowFilter.build(older_than=str(duration)).older_than == duration


# --- selections ----------------------------------------------------------------------------------------------------

FLOWS: Final = [flow(flowId=str(days), metadata__lastUpdated=NOW_MS - days * DAY_MS) for days in range(0, 400, 7)]
AGES = st.timedeltas(timedelta(0), timedelta(days=999_999_999))


def older(duration: timedelta) -> set[str]:
    return {found.flow_id for found in FlowFilter.build(older_than=duration).select(FLOWS, NOW)}


@given(AGES, AGES)
def test_a_longer_older_than_never_selects_more(one: timedelta, other: timedelta) -> None:
    assert older(max(one, other)) <= older(min(one, other))


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_before_and_after_the_same_time_partition_the_flows(when: datetime, now: datetime) -> None:
    before = list(FlowFilter.build(updated_before=when).select(FLOWS, now))
    after = list(FlowFilter.build(updated_after=when).select(FLOWS, now))
    assert [*after, *before] == FLOWS


def test_a_selection_is_lazy_and_keeps_the_order() -> None:
    read = []

    def listing() -> Any:
        for found in FLOWS:
            read.append(found)
            yield found

    selected = FlowFilter.build(older_than="P14D").select(listing(), NOW)
    assert read == []
    assert next(selected).flow_id == "14"
    assert len(read) == 3
    assert [found.flow_id for found in selected] == [found.flow_id for found in FLOWS[3:]]


# --- refused -------------------------------------------------------------------------------------------------------

NAIVE: Final = datetime(2026, 7, 1)
TIMES: Final = ("created_after", "created_before", "updated_after", "updated_before")
BAD_TIMES: Final[tuple[Any, ...]] = (
    NAIVE,
    "2026-07-01T12:00:00",
    "2026-07-01",
    date(2026, 7, 1),
    NOW_MS,
    1.5,
    "now",
    "",
    True,
    [],
)
BAD_DURATIONS: Final[tuple[Any, ...]] = (
    *(90, 90.0, True, [], timedelta(days=-1), "90", "90d", "D90", "", "P", "PT", "-P1D", "P99999999999D"),
    *("-1 day, 0:00:00", "1 day, ", "1 day 2:00:00", "12:00", f"{'9' * 20} days"),
)


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("value", BAD_TIMES, ids=repr)
def test_an_unusable_time_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ViValidationError, match=rf"^{name}: "):
        FlowFilter.build(**{name: value})


@pytest.mark.parametrize("value", BAD_DURATIONS, ids=repr)
def test_an_unusable_duration_is_refused(value: Any) -> None:
    with pytest.raises(ViValidationError, match=r"^older_than: "):
        FlowFilter.build(older_than=value)


@pytest.mark.parametrize("name", ["name_pattern", "training_project"])
@pytest.mark.parametrize("value", ["", 5, True, ["a"]], ids=repr)
def test_an_empty_text_or_another_type_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ViValidationError, match=rf"^{name}: "):
        FlowFilter.build(**{name: value})


@pytest.mark.parametrize("value", [{"team": 5}, {"team": None}, ["team"], "team=a", {5: "a"}, 5], ids=repr)
def test_attributes_other_than_texts_are_refused(value: Any) -> None:
    with pytest.raises(ViValidationError, match=r"^attributes"):
        FlowFilter.build(attributes=value)


def test_an_unknown_criterion_is_refused_by_name() -> None:
    with pytest.raises(ViValidationError, match=r"^older: Extra inputs"):
        FlowFilter.build(older="P90D")


def test_all_unusable_criteria_are_named_at_once() -> None:
    with pytest.raises(ViValidationError, match=r"^name_pattern: .*; created_after: .*; older_than: ") as caught:
        FlowFilter.build(name_pattern="", created_after="x", older_than=90)
    assert (caught.value.retryable, caught.value.attempts) == (False, 0)
