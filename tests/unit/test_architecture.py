"""The architecture page: the picture is current, and the page names rooms and modules that exist."""

from __future__ import annotations

import re
from typing import Final

import pytest

from tests.architecture import PICTURE, imported_rooms, reduced, render
from tests.layers import NAME, ROOT

PAGE: Final = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
MODULES: Final = sorted(set(re.findall(r"`([a-z_/]+\.py)`", PAGE)))


def test_picture_is_current() -> None:
    assert PICTURE.read_text(encoding="utf-8") == render(), "run: make architecture"


def test_implied_imports_are_left_out() -> None:
    assert reduced({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == [("a", "b"), ("b", "c")]


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("tests/")])
def test_named_module_exists(module: str) -> None:
    assert (ROOT / NAME / module).is_file()


@pytest.mark.parametrize("room", sorted(imported_rooms()))
def test_every_room_has_a_row(room: str) -> None:
    assert f"\n| `{room}` | " in PAGE
