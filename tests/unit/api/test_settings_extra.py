"""The extra of a connection: numbers, flags and paths, as JSON or as a web form writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import certifi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.documents import SECRET_KEY
from tests.unit.api.settings_support import GIVEN, settings
from vi_airflow_provider.api.errors import ViConfigurationError
from vi_airflow_provider.api.settings import EXTRA_FIELDS, ViSettings

COUNTS: Final = {"page_size": (1, 10_000), "max_retries": (0, 100), "max_rate_limit_retries": (0, 1000)}
TIMES: Final = {
    "connect_timeout": (0.001, 3600),
    "read_timeout": (0.001, 3600),
    "max_retry_delay": (0, 3600),
    "retry_budget": (0.001, 86_400),
}


def extra(**values: Any) -> ViSettings:
    return ViSettings.from_extra(values, **GIVEN)


def extra_refusal(**values: Any) -> str:
    with pytest.raises(ViConfigurationError) as caught:
        extra(**values)
    message = str(caught.value)
    assert SECRET_KEY not in message
    assert len(message) < 600
    return message


def test_the_extra_has_the_documented_fields() -> None:
    assert (
        *("page_size", "connect_timeout", "read_timeout", "max_retries", "max_rate_limit_retries", "max_retry_delay"),
        *("retry_budget", "verify", "proxy", "allow_http", "ui_url_template", "namespace"),
    ) == EXTRA_FIELDS


@pytest.mark.parametrize("name", [*COUNTS, *TIMES])
def test_a_number_may_be_text_as_web_forms_write_it(name: str) -> None:
    low, high = (COUNTS | TIMES)[name]
    kind = int if name in COUNTS else float
    for value in (low, high):
        for given_value in (value, str(value), f" {value} ", float(value)):
            read = getattr(extra(**{name: given_value}), name)
            assert (read, type(read)) == (value, kind)


@pytest.mark.parametrize("name", [*COUNTS, *TIMES])
@pytest.mark.parametrize("value", ["many", "1;2", True, False, [1], {"a": 1}, "0x10", "ten", b"1"], ids=repr)
def test_a_value_that_is_not_a_number_is_refused(name: str, value: Any) -> None:
    noun = "a whole number" if name in COUNTS else "a number of seconds"
    assert f"extra.{name}: " in extra_refusal(**{name: value})
    assert noun in extra_refusal(**{name: value})


@pytest.mark.parametrize("name", [*COUNTS, *TIMES])
@pytest.mark.parametrize(
    "beyond", [-1, "nan", "inf", "-inf", 1e300, 10**400, "9" * 400], ids=lambda value: str(value)[:6]
)
def test_a_number_out_of_range_is_refused(name: str, beyond: Any) -> None:
    message = extra_refusal(**{name: beyond})
    assert message.startswith(f"extra.{name}: ")
    assert "is out of range" in message or "is not a whole number" in message


@pytest.mark.parametrize("name", [*COUNTS, *TIMES])
def test_the_bounds_of_a_number_are_named(name: str) -> None:
    low, high = (COUNTS | TIMES)[name]
    assert f"it can be {low:g} to {high:g}" in extra_refusal(**{name: high + 1})
    if low > 0:
        assert f"it can be {low:g} to {high:g}" in extra_refusal(**{name: 0})


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [1.5, "1.5"])
def test_a_fractional_count_is_refused(name: str, value: Any) -> None:
    assert "is not a whole number" in extra_refusal(**{name: value})


@pytest.mark.parametrize("name", EXTRA_FIELDS)
@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_field_means_the_default(name: str, empty: str | None) -> None:
    assert extra(**{name: empty}) == settings()


@pytest.mark.parametrize(
    ("value", "read"), [(True, True), (False, False), ("true", True), ("False", False), (" TRUE ", True)]
)
def test_a_flag_may_be_text(value: Any, read: bool) -> None:
    assert extra(allow_http=value).allow_http is read
    assert extra(verify=value).verify is read


@pytest.mark.parametrize("value", ["yes", "1", 1, 0, "on", [], {}], ids=repr)
def test_a_flag_that_is_not_boolean_is_refused(value: Any) -> None:
    assert "extra.allow_http: " in extra_refusal(allow_http=value)
    assert "is not true or false" in extra_refusal(allow_http=value)


@pytest.mark.parametrize("value", [1, 0, [], {"a": 1}, 5.5], ids=repr)
def test_verify_is_a_flag_or_a_path(value: Any) -> None:
    assert "is not true or false or the path of a CA file" in extra_refusal(verify=value)


def test_verify_may_name_a_file_or_a_folder(tmp_path: Path) -> None:
    assert extra(verify=certifi.where()).ca_bundle() == certifi.where()
    assert extra(verify=str(tmp_path)).ca_bundle() == str(tmp_path)


@pytest.mark.parametrize("value", ["/no/such/file.pem", "yes", "no"])
def test_verify_with_a_missing_path_is_refused(value: str) -> None:
    assert extra_refusal(verify=value).startswith(
        f"extra.verify: {value!r} is not a CA file or folder (No such file or directory)"
    )


def test_verify_with_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no certificate")
    assert "is not a CA file or folder" in extra_refusal(verify=str(tmp_path / "notes.txt"))


@pytest.mark.parametrize(
    "proxy",
    [
        *("proxy.example:3128", "socks5://proxy.example", "http://", "ftp://x", "http://:3128", "http://proxy:port"),
        *("http://proxy:0", "http://[::1", "me:hunter2@proxy.example", "socks5://me:hunter2@proxy.example"),
    ],
)
def test_an_invalid_proxy_url_is_refused_and_not_shown(proxy: str) -> None:
    message = extra_refusal(proxy=proxy)
    assert message.startswith("extra.proxy: this is not an http(s) URL")
    assert "hunter2" not in message


@pytest.mark.parametrize("name", ["proxy", "ui_url_template"])
@pytest.mark.parametrize("value", [5, True, ["x"], {"a": 1}], ids=repr)
def test_a_value_that_is_not_text_is_refused(name: str, value: Any) -> None:
    assert extra_refusal(**{name: value}).startswith(f"extra.{name}: {type(value).__name__} given, text expected")


def test_unknown_extras_are_listed_with_the_known_ones() -> None:
    message = extra_refusal(pagesize=5, timeout=3, read_timeout=5)
    assert message.startswith("extra: unknown 'pagesize', 'timeout'; choose from page_size, ")
    assert all(name in message for name in EXTRA_FIELDS)


@given(
    st.dictionaries(st.sampled_from(EXTRA_FIELDS), st.none() | st.booleans() | st.integers() | st.floats() | st.text())
)
def test_any_extra_is_either_read_or_refused_by_name(values: dict[str, Any]) -> None:
    try:
        read = extra(**values)
    except ViConfigurationError as error:
        assert str(error).startswith(tuple(f"extra.{name}: " for name in values))  # noqa: PT017
    else:
        assert read.ca_bundle() is not None
