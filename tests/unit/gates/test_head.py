"""The head of a listing: which readings prove the order, how far they go, and what ends the knowledge."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vi_airflow_provider.gates.head import EVIDENCE, RETRY, Head, HeadReading


class Clock:
    """Seconds that pass when a test lets them pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def pages(times: list[Any], size: int) -> Iterator[list[Any]]:
    return (times[start : start + size] for start in range(0, len(times), size))


def read(head: Head, times: list[Any], size: int = 20) -> tuple[bool, int]:
    """Read the head of a listing; return whether that has shown everything new, and the number of pages."""
    reading = head.begin()
    number = 0
    for number, page in enumerate(pages(times, size), 1):  # noqa: B007
        if reading.page(page):
            break
    return head.end(reading), number


def newest_first(latest: int, documents: int = 400) -> list[int]:
    return list(range(latest, latest - documents, -1))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def head(clock: Clock) -> Head:
    return Head(clock)


def test_one_page_is_enough_while_little_is_new(head: Head) -> None:
    results = [read(head, newest_first(latest)) for latest in (1000, 1000, 1004, 1008, 1008)]
    assert results == [(True, 1)] * 5


def test_reading_goes_down_to_what_the_two_readings_before_began_with(head: Head) -> None:
    results = [read(head, newest_first(latest)) for latest in (1000, 1000, 1100, 1100, 1100)]
    assert [pages for _, pages in results] == [1, 1, 6, 6, 1]


def test_documents_of_the_same_time_as_the_floor_are_all_read(head: Head) -> None:
    times = [*range(2000, 1991, -1), *[1991] * 91, *range(1990, 1000, -1)]
    assert [read(head, times)[1] for _ in range(2)] == [1, 6]


@pytest.mark.parametrize(
    "times",
    [
        list(range(1000, 2000)),
        [1000] * 400,
        [*newest_first(1000)[:9], 995],
        [1000 + number * 7919 % 400 for number in range(400)],
        ["2026-01-01"] * 400,
        [None] * 400,
        newest_first(1000, EVIDENCE),
        [],
    ],
    ids=["oldest first", "one time", "one exception", "unsorted", "texts", "missing", "few", "none"],
)
def test_what_proves_no_order_is_not_known(times: list[Any], head: Head, clock: Clock) -> None:
    assert read(head, times)[0] is False
    assert not head.known
    assert not head.due
    clock.now = RETRY
    assert head.due


def test_order_that_ends_to_hold_ends_the_knowledge(head: Head, clock: Clock) -> None:
    assert read(head, newest_first(1000))[0]
    assert head.covers(clock.now)
    assert not read(head, newest_first(1000)[::-1])[0]
    assert not head.covers(clock.now)


def test_order_is_not_believed_again_before_the_retry(head: Head, clock: Clock) -> None:
    early = head.begin()
    head.lose()
    for page in pages(newest_first(1000), 20):
        early.page(page)
    assert not head.end(early)
    clock.now = RETRY - 1
    assert not read(head, newest_first(1000))[0]
    clock.now = RETRY
    assert read(head, newest_first(1000))[0]


def test_listing_that_begins_again_with_larger_pages_is_in_order(head: Head) -> None:
    reading = head.begin()
    assert not reading.page(newest_first(1000)[: EVIDENCE - 1], walk=0)
    assert reading.page(newest_first(1000)[:50], walk=1)
    assert head.end(reading)


def test_floor_that_was_not_reached_ends_the_knowledge(head: Head) -> None:
    read(head, newest_first(1000))
    reading = head.begin()
    reading.page(newest_first(2000)[:20])
    assert not head.end(reading)
    assert not head.known


def test_only_absence_after_the_older_of_two_readings_is_covered(head: Head, clock: Clock) -> None:
    covered = []
    for moment in count(1):
        clock.now = float(moment)
        read(head, newest_first(1000))
        covered.append([head.covers(float(at)) for at in range(4)])
        if moment == 3:
            break
    assert covered == [[False, True, True, True], [False, True, True, True], [False, False, True, True]]


def test_absence_counts_from_the_first_page(clock: Clock) -> None:
    reading = HeadReading(clock, None)
    clock.now = 1.0
    reading.page(newest_first(1000)[:5])
    clock.now = 2.0
    reading.page(newest_first(1000)[5:20])
    assert (reading.began, reading.seen_at) == (0.0, 1.0)


def test_document_above_both_readings_must_be_shown(head: Head) -> None:
    assert not head.shows(10**6)
    read(head, newest_first(1000))
    read(head, newest_first(1020))
    assert [head.shows(created) for created in (995, 1005, 1010, 1020)] == [False, False, True, True]


@given(
    start=st.lists(st.integers(0, 60), min_size=30, max_size=60),
    steps=st.lists(st.tuples(st.lists(st.integers(0, 8), max_size=50), st.sets(st.integers(0, 40))), max_size=8),
    size=st.integers(1, 12),
)
def test_each_new_document_is_read_while_the_order_holds(
    start: list[int], steps: list[tuple[list[int], set[int]]], size: int
) -> None:
    """Whatever is created and deleted between readings, and however many documents share a time."""
    head = Head(Clock())
    identify = count()
    listing = sorted(((-created, next(identify)) for created in start), reverse=False)
    for ages, deleted in steps:
        latest = max((-created for created, _ in listing), default=0)
        new, now = set(), latest
        for age in ages:
            now += age
            new.add((-now, next(identify)))
        kept = [each for place, each in enumerate(listing) if place not in deleted]
        listing = sorted([*kept, *new])
        known, reading, seen = head.known, head.begin(), set[tuple[int, int]]()
        for start_of_page in range(0, len(listing), size):
            page = listing[start_of_page : start_of_page + size]
            seen |= set(page)
            if reading.page([-created for created, _ in page]):
                break
        if head.end(reading) and known:
            assert new <= seen
