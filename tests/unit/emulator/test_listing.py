from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.listing import Cursor, Listing, Position


def listing_of(created: dict[str, int]) -> Listing[str]:
    listing: Listing[str] = Listing()
    for id_, time in created.items():
        listing.put(id_, time, id_)
    return listing


def test_items_come_newest_first_and_ids_break_ties():
    listing = listing_of({"b": 5, "a": 5, "old": 1, "new": 9})
    assert listing.ids() == list(listing) == ["new", "a", "b", "old"]


def test_replacing_an_item_leaves_it_in_its_place():
    listing = listing_of({"a": 1, "b": 2})
    listing.put("a", 1, "changed")
    assert list(listing) == ["b", "changed"]
    assert len(listing) == 2


def test_removed_items_are_gone():
    listing = listing_of({"a": 1, "b": 1, "c": 1})
    listing.remove("b")
    assert listing.ids() == ["a", "c"]
    assert listing.get("b") is None
    assert "b" not in listing


@pytest.mark.parametrize(("size", "more"), [(1, True), (2, True), (3, False), (100, False)])
def test_a_page_says_where_to_go_on_only_when_there_is_more(size, more):
    page = listing_of({"a": 1, "b": 2, "c": 3}).page(None, size)
    assert page.items == ["c", "b", "a"][:size]
    assert (page.last is not None) == more


@given(
    created=st.dictionaries(st.text("abcdef", min_size=1, max_size=4), st.integers(0, 5), max_size=40),
    size=st.integers(1, 7),
    data=st.data(),
)
def test_walking_never_skips_or_repeats_a_flow_that_survives(created, size, data):
    """Between any two pages others delete flows, those on the page just seen among them."""
    listing, seen, deleted, after = listing_of(created), [], set(), None
    while True:
        page = listing.page(after, size)
        seen += page.items
        if page.last is None:
            break
        after = Cursor.decode(Cursor("flows", page.last).encode(), "flows").position
        for id_ in data.draw(st.sets(st.sampled_from(listing.ids()), max_size=3)):
            listing.remove(id_)
            deleted.add(id_)
        if not len(listing):
            break
    assert len(seen) == len(set(seen))
    assert set(created) - deleted <= set(seen)


@pytest.mark.parametrize("position", [None, Position(-5, "a")])
def test_a_cursor_survives_its_encoding(position):
    cursor = Cursor("flows", position, turn=3)
    assert Cursor.decode(cursor.encode(), "flows") == cursor


def test_another_turn_of_a_cursor_is_another_token_for_the_same_place():
    cursor = Cursor("flows", Position(-5, "a"))
    assert cursor.next_turn().encode() != cursor.encode()
    assert cursor.next_turn().position == cursor.position


@pytest.mark.parametrize(
    "token",
    [
        "",
        "1",
        "2",
        "é",
        "!!!!",
        base64.b64encode(b"{").decode(),
        base64.b64encode(b"[]").decode(),
        base64.b64encode(json.dumps(["flows", [1], 0]).encode()).decode(),
        base64.b64encode(json.dumps(["flows", ["1", "a"], 0]).encode()).decode(),
        Cursor("runs", Position(-5, "a")).encode(),
        Cursor("flows", Position(-5, "a")).encode() + "x",
    ],
)
def test_a_token_that_this_listing_did_not_give_is_refused(token):
    with pytest.raises(ApiError) as refusal:
        Cursor.decode(token, "flows")
    assert refusal.value.status == 400
