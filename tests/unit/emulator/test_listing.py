from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.listing import Cursor, Listing, Position


def listing_of(created: dict[str, int]) -> Listing[str]:
    listing: Listing[str] = Listing()
    for id_, time in created.items():
        listing.put(id_, -time, id_)
    return listing


def test_items_come_newest_first_and_ids_break_ties() -> None:
    listing = listing_of({"b": 5, "a": 5, "old": 1, "new": 9})
    assert listing.ids() == list(listing) == ["new", "a", "b", "old"]


def test_replaced_item_keeps_its_place() -> None:
    listing = listing_of({"a": 1, "b": 2})
    listing.put("a", -1, "changed")
    assert list(listing) == ["b", "changed"]
    assert len(listing) == 2


def test_removed_items_disappear() -> None:
    listing = listing_of({"a": 1, "b": 1, "c": 1})
    listing.remove("b")
    assert listing.ids() == ["a", "c"]
    assert listing.get("b") is None
    assert "b" not in listing


@pytest.mark.parametrize(("size", "more"), [(1, True), (2, True), (3, False), (100, False)])
def test_page_has_a_position_only_if_there_is_more(size: int, more: bool) -> None:
    page = listing_of({"a": 1, "b": 2, "c": 3}).page(None, size)
    assert page.items == ["c", "b", "a"][:size]
    assert (page.next is not None) == more


@given(
    created=st.dictionaries(st.text("abcdef", min_size=1, max_size=4), st.integers(0, 5), max_size=40),
    size=st.integers(1, 7),
    data=st.data(),
)
def test_key_cursor_neither_skips_nor_repeats_surviving_flows(created: Any, size: int, data: Any) -> None:
    """Between any two pages others delete flows, those on the page just seen among them."""
    listing, seen, deleted, after = listing_of(created), [], set(), None
    while True:
        page = listing.page(after, size)
        seen += page.items
        if page.next is None:
            break
        after = Cursor.decode(Cursor("flows", page.next).encode(), "flows").place
        for id_ in data.draw(st.sets(st.sampled_from(listing.ids()), max_size=3)):
            listing.remove(id_)
            deleted.add(id_)
        if not len(listing):
            break
    assert len(seen) == len(set(seen))
    assert set(created) - deleted <= set(seen)


@pytest.mark.parametrize("position", [None, Position(-5, "a")])
def test_cursor_round_trips(position: Any) -> None:
    cursor = Cursor("flows", position, turn=3)
    assert Cursor.decode(cursor.encode(), "flows") == cursor


def test_next_turn_is_another_token_for_the_same_position() -> None:
    cursor = Cursor("flows", Position(-5, "a"))
    assert cursor.next_turn().encode() != cursor.encode()
    assert cursor.next_turn().place == cursor.place


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
        base64.b64encode(json.dumps(["flows", [1.5], 0]).encode()).decode(),
        base64.b64encode(json.dumps(["flows", ["1", "a"], 0]).encode()).decode(),
        Cursor("runs", Position(-5, "a")).encode(),
        Cursor("flows", Position(-5, "a")).encode() + "x",
    ],
)
def test_foreign_token_is_refused(token: str) -> None:
    with pytest.raises(ApiError) as refusal:
        Cursor.decode(token, "flows")
    assert refusal.value.status == 400
