"""Secrets are redacted in foreign text, and nothing else is."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from typing import Final
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vi_airflow_provider.api.protocol.redaction import Redactor

SECRET: Final = "dtvi_aB3dE5fG7h<J9kL\"1mN2oP'4qR6sT\\8uV0w X+yZ/1a2b3c4d5e6f7g8h"
redact: Final = Redactor([SECRET, "short"])


@pytest.mark.parametrize("write", [str, quote, quote_plus, html.escape, json.dumps])
def test_a_secret_is_redacted_in_every_encoding(write: Callable[[str], str]) -> None:
    shown = redact(f"no key {write(SECRET)} is known")
    assert shown.startswith("no key ")
    assert shown.endswith(" is known")
    assert not any(write(SECRET)[at : at + 8] in shown for at in range(len(SECRET) - 8))


@pytest.mark.parametrize("before", ["", "B", "me:", "Bearer "])
def test_a_secret_is_redacted_in_base64_at_any_offset(before: str) -> None:
    written = base64.b64encode(f"{before}{SECRET} and more".encode()).decode()
    shown = redact(written)
    assert "***" in shown
    assert len(shown.replace("***", "")) < 40


@given(st.integers(0, len(SECRET) - 8), st.integers(8, 40))
def test_a_part_of_a_secret_is_redacted(start: int, length: int) -> None:
    part = SECRET[start : start + length]
    assert redact(f"({part})") == "(***)"


@pytest.mark.parametrize(
    ("secret", "text", "shown"),
    [
        ("short", "a short sho rt word", "a *** sho rt word"),
        (
            "short",
            "shortage, foreshorten, short1, (short) me:short@proxy",
            "shortage, foreshorten, short1, (***) me:***@proxy",
        ),
        ("pass_7", "pass_7 xpass_7 pass_71", "*** xpass_7 pass_71"),
        ("a.b.c", "a.b.c axbxc", "*** axbxc"),
        ("port", "port of the proxy", "port of the proxy"),
        ("p", "the proxy", "the proxy"),
    ],
)
def test_a_short_secret_is_redacted_only_as_a_word(secret: str, text: str, shown: str) -> None:
    assert Redactor([SECRET, secret])(text) == shown


def test_two_secrets_are_redacted_twice() -> None:
    assert redact(f"{SECRET} {SECRET}") == "*** ***"


@given(st.text(st.characters(codec="ascii"), max_size=60))
def test_a_text_without_a_secret_is_unchanged(text: str) -> None:
    assert Redactor(["\u00fc" * 20])(text) == text


def test_a_redactor_does_not_show_what_it_hides() -> None:
    assert SECRET[10:20] not in repr(redact)
