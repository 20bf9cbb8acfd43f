"""``docs/connection.md`` shows the fields, limits and messages of the code."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
import requests_mock

from tests.documents import SECRET_KEY
from tests.unit.docs.pages import rows, section
from tests.unit.docs.vi_server import ORGANIZATION, Vi, connect
from tests.versions import extra_may_be_no_json
from vi_airflow_provider.api.errors import ViConfigurationError
from vi_airflow_provider.api.protocol.messages import Failure, FailureKind
from vi_airflow_provider.api.protocol.outcomes import error_class
from vi_airflow_provider.api.settings import EXTRA_FIELDS, ViSettings
from vi_airflow_provider.hooks.vi import ViHook
from vi_airflow_provider.provider_info import get_provider_info

EXTRA_ROWS: Final = rows(section("connection.md", "Extra"))
DEFAULTS: Final = ViSettings(organization_id=ORGANIZATION, secret_key=SECRET_KEY)


def test_extra_table_lists_every_key() -> None:
    assert [row[0] for row in EXTRA_ROWS] == list(EXTRA_FIELDS)


@pytest.mark.parametrize(("key", "label", "default"), [(row[0], row[1], row[3]) for row in EXTRA_ROWS])
def test_extra_table_shows_labels_and_defaults(key: str, label: str, default: str) -> None:
    form = get_provider_info()["connection-types"][0]["conn-fields"]
    assert form[key]["label"] == label
    value = getattr(DEFAULTS, key)
    shown = "none" if value is None else value if isinstance(value, str) else json.dumps(value).removesuffix(".0")
    assert default == shown


@pytest.mark.parametrize(("key", "bounds"), [(row[0], row[4]) for row in EXTRA_ROWS if " to " in row[4]])
def test_extra_table_shows_the_accepted_ranges(key: str, bounds: str) -> None:
    def build(value: float) -> None:
        ViSettings.from_extra({key: value}, organization_id=ORGANIZATION, secret_key=SECRET_KEY)

    low, high = map(float, bounds.split(" to "))
    build(low)
    build(high)
    for value in (low - 0.001, high + 1):
        with pytest.raises(ViConfigurationError, match=key):
            build(value)


#: Row of the page, and a connection with that problem.
UNUSABLE: Final[dict[str, dict[str, Any]]] = {
    "wrong connection type": {"conn_type": "http"},
    "no password": {"password": ""},
    "key cut": {"password": "dtvi_abc"},
    "key masked": {"password": "***"},
    "key with white space inside": {"password": "dtvi_ab c"},
    "no login": {"login": ""},
    "login unusable": {"login": "../x"},
    "plain HTTP": {"host": "http://vi.example.com"},
    "credentials in the host": {"host": "https://user:password@vi.example.com"},
    "path in a plain URI": {"host": "vi.example.com", "schema": "gateway"},
    "unknown extra key": {"extra": {"pagesize": 5}},
    "extra is not a JSON object": {"extra": "{page_size: 100"},
    "extra out of range": {"extra": {"page_size": 0}},
    "CA file missing": {"extra": {"verify": "/no/such.pem"}},
    "proxy is not a URL": {"extra": {"proxy": "proxy.example"}},
}

#: Row of the page, and a response that causes it: status, body, headers.
RESPONSES: Final[dict[str, tuple[int, Any, dict[str, str]]]] = {
    "401": (401, {"message": "Invalid secret key"}, {"x-cloud-trace-context": "105445aa7843bc8bf206b12000100000/1"}),
    "403": (403, {"message": "No access to training"}, {}),
    "404": (404, {"message": "not found"}, {}),
    "429": (429, {}, {"Retry-After": "30"}),
    "500": (500, {}, {}),
    "redirect to elsewhere": (302, {}, {"Location": "https://login.example/sso?back"}),
    "a web page": (200, "<html>", {"Content-Type": "text/html"}),
    "JSON without flows": (200, {"error": "x"}, {}),
}


def shown_messages() -> dict[str, str]:
    return {row[0]: row[1] for row in rows(section("connection.md", "Test it"))}


@pytest.mark.parametrize(
    "problem",
    [pytest.param(name, marks=extra_may_be_no_json) if "JSON" in name else name for name in UNUSABLE],
)
def test_unusable_connection_reports_the_shown_message(problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, **UNUSABLE[problem])
    ok, message = ViHook().test_connection()
    assert not ok
    assert message.startswith(shown_messages()[problem])


@pytest.mark.parametrize("problem", RESPONSES)
def test_rejected_connection_reports_the_shown_message(problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    status, body, headers = RESPONSES[problem]
    connect(monkeypatch)
    with requests_mock.Mocker() as mocker:
        text = body if isinstance(body, str) else json.dumps(body) if body else ""
        mocker.get(requests_mock.ANY, status_code=status, text=text, headers=headers)
        ok, message = ViHook().test_connection()
    assert not ok
    assert message.startswith(shown_messages()[problem])


def test_working_connection_reports_the_shown_message(vi: Vi) -> None:
    shown = shown_messages()
    assert ViHook().test_connection() == (True, shown["the organization has flows"])
    vi.flows.clear()
    assert ViHook().test_connection() == (True, shown["it has none"])


def network_rows() -> list[list[str]]:
    return rows(section("connection.md", "Test it").partition("| layer |")[2].partition("\n\n")[0])


def test_network_table_shows_the_messages_and_advice_of_the_code() -> None:
    table = network_rows()
    assert len(table) >= 10
    advice = ""
    for layer, message, shown, *_ in table:
        kinds = [kind for kind in FailureKind if message.startswith(kind.value)]
        assert kinds, layer
        kind = max(kinds, key=lambda kind: len(kind.value))
        advice = advice if shown.startswith("the same") else shown.partition("`")[0]
        assert error_class(Failure(kind)).advice == advice, layer
