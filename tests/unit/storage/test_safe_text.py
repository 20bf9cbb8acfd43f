"""Text and data of a server are written without secrets, and otherwise as they are."""

from __future__ import annotations

import time
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vi_airflow_provider.api.protocol.redaction import Redactor
from vi_airflow_provider.storage.safe_text import redacted, safe_json

KEY: Final = "dtvi_" + "k" * 98
#: Keys of which most contain a secret key, so that without it they would be equal.
KEYS: Final = st.sampled_from(["a", "***", "*** (2)", "*** (3)", "a ***"]) | st.builds(
    str.__add__, st.sampled_from(["dtvi_", "a dtvi_"]), st.integers(0, 20).map(str)
)


def test_secrets_are_redacted_in_text_and_data() -> None:
    redact = Redactor(["pa/ss"])
    text = f"key {KEY} at https://s.example/a?X-Amz-Signature=abcdef0123 by pa/ss"
    assert redacted(text, redact) == "key *** at https://s.example/a?X-Amz-Signature=*** by ***"
    data = {"a": [text, {KEY: float("nan")}], "n": 1.5}
    assert list(safe_json(data)) == ["a", "n"]
    assert safe_json(data, redact) == {"a": [redacted(text, redact), {"***": None}], "n": 1.5}


@pytest.mark.parametrize(
    ("secret", "text", "written"),
    [
        ("lo", "loss 0.3 after loading", "loss 0.3 after loading"),
        ("flow", "flow of the flows", "flow of the flows"),
        ("model", "model of models, model", "*** of models, ***"),
        ("correct-horse", "me:correct-horse@proxy", "me:***@proxy"),
        ("correct-horse", "cut off: correct-h", "cut off: ***"),
        ("pass w&rd!", "pass%20w%26rd%21, pass w&amp;rd!", "***, ***"),
    ],
)
def test_files_follow_the_rule_of_messages(secret: str, text: str, written: str) -> None:
    redact = Redactor([secret])
    assert redacted(text, redact) == redact(text) == written
    assert safe_json({"line": [text]}, redact) == {"line": [written]}


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("https://me:lo@host/x loss after loading", "https://me:***@host/x loss after loading"),
        ("https://me:h@host https://you:o@host", "https://me:***@host https://you:***@host"),
        ("https://b/k?sig=1 epoch 1 of 10", "https://b/k?sig=*** epoch 1 of 10"),
        ("https://b/k?sig=ab https://b/k?sig=abc", "https://b/k?sig=*** https://b/k?sig=***"),
        ("https://me:a?sig=b@host", "https://me:***"),
        ("https://me:a@host/?sig=b@c", "https://me:***"),
        ("https://me:p%2Fss-word@host by p/ss-word", "https://me:***@host by ***"),
        ("https://me:pa%2Fss@host by pa/ss pa/ssage", "https://me:***@host by *** pa/ssage"),
    ],
)
def test_secret_of_a_url_is_redacted_in_its_place(text: str, written: str) -> None:
    assert redacted(text) == written


def test_short_secret_does_not_change_the_keys_of_data() -> None:
    data = {"flow": {"flowId": 1}, "flows": 2, "loss": 3}
    assert safe_json(data, Redactor(["flow", "lo"])) == data


@given(st.dictionaries(KEYS, st.integers(), max_size=20))
def test_no_value_is_lost_if_keys_contain_secrets(data: dict[str, int]) -> None:
    written: dict[str, Any] = safe_json(data)
    assert list(written.values()) == list(data.values())
    assert not any("dtvi_" in key for key in written)
    harmless = {key: value for key, value in data.items() if "dtvi_" not in key}
    assert written | harmless == written


def test_keys_with_secrets_are_numbered() -> None:
    data = {"dtvi_a": 1, "dtvi_b": 2, "***": 3, "dtvi_c": 4, "a": 5}
    assert safe_json(data) == {"*** (2)": 1, "*** (3)": 2, "***": 3, "*** (4)": 4, "a": 5}


@pytest.mark.parametrize(
    "text",
    [
        *("://x:" * 200_000, "://x:y@" * 150_000, "x://" * 250_000, "?sig=" * 200_000, "=" * 1_000_000),
        "".join(f"https://h/?sig=secret{number} " for number in range(30_000)),
    ],
    ids=lambda text: text[:16],
)
def test_hostile_text_takes_linear_time(text: str) -> None:
    began = time.process_time()
    redacted(text)
    assert time.process_time() - began < 5  # measured: 0.1; a quadratic search takes minutes
