"""Settings: an unusable value is refused before any request, by the name of the connection's field."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any, Final

import certifi
import pytest

from tests.documents import FLOW_ID, ORGANIZATION_ID, SECRET_KEY
from tests.unit.api.settings_support import GIVEN, refusal, settings
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.errors import ViConfigurationError
from vi_airflow_provider.api.proxies import is_loopback
from vi_airflow_provider.api.settings import DEFAULT_ENDPOINT, Secret


def test_an_organization_and_a_key_are_enough() -> None:
    assert dataclasses.asdict(settings()) == {
        **GIVEN,
        "endpoint": DEFAULT_ENDPOINT,
        "page_size": None,
        "connect_timeout": 10.0,
        "read_timeout": 60.0,
        "max_retries": 3,
        "max_rate_limit_retries": 20,
        "max_retry_delay": 60.0,
        "retry_budget": 600.0,
        "verify": True,
        "proxy": None,
        "allow_http": False,
        "ui_url_template": "https://vi.datature.com/org/{organization_id}",
        "namespace": None,
        "user_agent": settings().user_agent,
    }


# --- the key -------------------------------------------------------------------------------------------------------

BAD_KEYS: Final = {
    "": "is missing",
    " \t\n": "is missing",
    "***": "the mask that Airflow shows instead of the key",
    SECRET_KEY[:-1]: "begins with dtvi_ and has 103 characters; this one has 102",
    SECRET_KEY + "x": "this one has 104",
    "DTVI_" + SECRET_KEY[5:]: "begins with dtvi_",
    "sk_" + "a" * 100: "begins with dtvi_",
    SECRET_KEY[:50] + " " + SECRET_KEY[51:]: "white space",
    SECRET_KEY[:50] + "\n" + SECRET_KEY[51:]: "white space",
    SECRET_KEY[:50] + "é" + SECRET_KEY[51:]: "outside ASCII",
    SECRET_KEY[:50] + "\x00" + SECRET_KEY[51:]: "white space or characters outside ASCII",
}


@pytest.mark.parametrize(("key", "why"), BAD_KEYS.items(), ids=BAD_KEYS.values())
def test_a_bad_key_is_refused_and_not_shown(key: str, why: str) -> None:
    message = refusal(secret_key=key)
    assert message.startswith("password: ")
    assert why in message
    shown = key.strip()[5:25]
    assert not shown or shown not in message.replace("dtvi_", "")


@pytest.mark.parametrize("key", [None, 5, b"dtvi_", ["dtvi_"]])
def test_a_key_that_is_not_text_counts_as_missing(key: Any) -> None:
    assert refusal(secret_key=key).startswith("password: the secret key is missing")


@pytest.mark.parametrize("padded", [f"{SECRET_KEY}\n", f"  {SECRET_KEY}", f"\t{SECRET_KEY}\r\n"])
def test_white_space_around_the_key_is_stripped(padded: str) -> None:
    assert settings(secret_key=padded).secret_key == SECRET_KEY


def test_the_key_does_not_show_in_any_repr() -> None:
    shown = settings(proxy="http://me:hunter2@proxy.example:3128")
    for text in (repr(shown), str(shown), f"{shown}", repr(dataclasses.asdict(shown)["secret_key"]), repr([shown])):
        assert SECRET_KEY not in text
        assert "hunter2" not in text


def test_the_repr_of_a_secret_hides_it() -> None:
    secret = Secret("Bearer x")
    assert secret == "Bearer x"
    assert f"{secret}" == "Bearer x"
    assert (repr(secret), repr({"Authorization": secret})) == ("'***'", "{'Authorization': '***'}")
    assert pickle.loads(pickle.dumps(secret)) == "Bearer x"  # noqa: S301


def test_a_slice_of_a_secret_is_a_secret() -> None:
    # rich cuts a long text before it shows it, as it does for the locals of a traceback.
    assert "dtvi" not in f"{Secret(SECRET_KEY)[:80]!r}"


# --- the organization ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("organization", ["a", "A-1_b", "manufacturing-qa-team", ORGANIZATION_ID, "a" * 255, "0"])
def test_an_organization_id_is_letters_digits_minus_and_underscore(organization: str) -> None:
    assert settings(organization_id=organization).organization_id == organization


@pytest.mark.parametrize(
    "organization",
    ["abc\n", "\nabc", "../x", "a/b", "a b", "a%2fb", "ü", "-a", "_a", "a" * 256, "a?b", "a#b", ".", "٣", None, 5],
)
def test_an_organization_id_that_would_change_the_url_is_refused(organization: Any) -> None:
    message = refusal(organization_id=organization)
    assert message.startswith("login: the organization id")
    assert len(message) < 400


def test_a_missing_organization_id_is_called_missing() -> None:
    assert refusal(organization_id="").startswith("login: the organization id is missing")


# --- the endpoint --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "kept"),
    [
        ("https://vi.example", "https://vi.example"),
        ("https://vi.example/", "https://vi.example"),
        ("https://vi.example:8443/gw/v1/", "https://vi.example:8443/gw/v1"),
        ("http://localhost:8321", "http://localhost:8321"),
        ("http://vi.localhost", "http://vi.localhost"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("http://127.9.9.9:1", "http://127.9.9.9:1"),
        ("http://[::1]:8321", "http://[::1]:8321"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]"),
    ],
)
def test_an_endpoint_keeps_its_path_without_the_last_slash(endpoint: str, kept: str) -> None:
    assert settings(endpoint=endpoint).endpoint == kept


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [
        ("", "is empty"),
        (None, "is empty"),
        (5, "is empty"),
        ("https://vi example", "white space"),
        (" https://vi.example", "white space"),
        ("https://vi.example\n", "white space"),
        ("https://vi.exämple", "outside ASCII"),
        ("vi.example", "is not an http(s) URL"),
        ("vi.example:8321", "is not an http(s) URL"),
        ("//vi.example", "is not an http(s) URL"),
        ("ftp://vi.example", "is not an http(s) URL"),
        ("https://", "is not an http(s) URL"),
        ("https:///path", "is not an http(s) URL"),
        ("https://:443", "is not an http(s) URL"),
        ("https://vi.example:port", "is not a URL"),
        ("https://vi.example:99999", "is not a URL"),
        ("https://[::1", "is not a URL"),
        ("https://[vi]", "is not a URL"),
        ("https://me@vi.example", "credentials"),
        ("https://me:hunter2@vi.example", "credentials"),
        ("https://vi.example?x=1", "a query or a fragment"),
        ("https://vi.example?", "a query or a fragment"),
        ("https://vi.example#x", "a query or a fragment"),
        ("https://vi.example#", "a query or a fragment"),
    ],
)
def test_an_invalid_endpoint_is_refused(endpoint: Any, why: str) -> None:
    message = refusal(endpoint=endpoint)
    assert message.startswith("host: ")
    assert why in message
    assert "hunter2" not in message


NOT_THIS_MACHINE: Final = (
    *("vi.example", "10.0.0.1", "0.0.0.0", "128.0.0.1", "[2001:db8::1]", "[::]"),  # noqa: S104
    *("localhost.evil.example", "127.0.0.1.evil.example", "notlocalhost", "evil-localhost"),
)


@pytest.mark.parametrize("host", NOT_THIS_MACHINE)
def test_plain_http_is_refused_to_any_other_machine(host: str) -> None:
    message = refusal(endpoint=f"http://{host}")
    assert message.startswith("host: plain http:// would show the secret key")
    assert "extra.allow_http" in message
    assert settings(endpoint=f"http://{host}", allow_http=True).endpoint == f"http://{host}"
    assert settings(endpoint=f"https://{host}").endpoint == f"https://{host}"


@pytest.mark.parametrize("host", ["localhost", "vi.localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_this_machine_is_recognized_by_name_and_address(host: str) -> None:
    assert is_loopback(host)


# --- what is made of them ------------------------------------------------------------------------------------------


def test_the_web_address_names_organization_and_flow() -> None:
    assert settings().ui_url(FLOW_ID) == f"https://vi.datature.com/org/{ORGANIZATION_ID}"
    own = settings(ui_url_template="https://vi.example/{organization_id}/flows/{flow_id}?tab=spec")
    assert own.ui_url(FLOW_ID) == f"https://vi.example/{ORGANIZATION_ID}/flows/{FLOW_ID}?tab=spec"
    assert own.ui_url() == f"https://vi.example/{ORGANIZATION_ID}/flows/?tab=spec"


def test_a_flow_id_is_quoted_in_the_web_address() -> None:
    own = settings(ui_url_template="https://vi.example/{flow_id}")
    assert own.ui_url("../a b?x#y/ü") == "https://vi.example/..%2Fa%20b%3Fx%23y%2F%C3%BC"


@pytest.mark.parametrize(
    "template",
    [
        "{org}",
        "{}",
        "{0}",
        "{",
        "}",
        "{organization_id",
        "{flow_id.x}",
        "{flow_id[0]}",
        "{flow_id[a]}",
        "{flow_id!x}",
        "{flow_id:d}",
    ],
)
def test_an_unusable_template_of_the_web_address_is_refused(template: str) -> None:
    message = refusal(ui_url_template=template)
    assert message.startswith("extra.ui_url_template: only {organization_id}, {flow_id} and {run_id} can be filled in")


@pytest.mark.parametrize(
    "template", ["javascript:alert(1)", "data:text/html,x", "//vi.example/x", "/org", "{flow_id}", "ftp://vi.example"]
)
def test_a_web_address_has_an_http_scheme(template: str) -> None:
    assert refusal(ui_url_template=template).startswith("extra.ui_url_template: put a URL like https://vi.datature.com")


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_environment_names_the_trusted_cas(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, str(tmp_path))
    assert settings().ca_bundle() == str(tmp_path)
    assert settings(verify=False).ca_bundle() is False
    assert settings(verify=certifi.where()).ca_bundle() == certifi.where()


def test_without_a_setting_certifi_is_trusted() -> None:
    assert settings().ca_bundle() == certifi.where()


def test_missing_ca_file_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such.pem")
    with pytest.raises(ViConfigurationError, match=r"^REQUESTS_CA_BUNDLE: the environment names '/no/such.pem'"):
        ViClient(settings())


@pytest.mark.parametrize(
    ("environment", "endpoint", "proxy"),
    [
        ({}, "https://vi.example", None),
        ({"HTTPS_PROXY": "http://p:1"}, "https://vi.example", "http://p:1"),
        ({"https_proxy": "http://p:1"}, "https://vi.example", "http://p:1"),
        ({"HTTPS_PROXY": "p:1"}, "https://vi.example", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, "https://vi.example", None),
        ({"ALL_PROXY": "http://p:1"}, "https://vi.example", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "ALL_PROXY": "http://q:1"}, "https://vi.example", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "vi.example"}, "https://vi.example", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "example"}, "https://vi.example", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a.test, .example"}, "https://vi.example:8443", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "vi.example:8443"}, "https://vi.example:8443", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "other"}, "https://vi.example", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, "https://vi.example", None),
        ({"HTTPS_PROXY": "http://p:1", "HTTP_PROXY": "http://p:1"}, "http://localhost:8321", None),
        ({"HTTPS_PROXY": "http://p:1"}, "https://127.0.0.1", None),
    ],
)
def test_the_environment_names_the_proxy_except_for_this_machine(
    environment: dict[str, str], endpoint: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert settings(endpoint=endpoint).proxy_url() == proxy


def test_the_connections_proxy_takes_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://p:1")
    monkeypatch.setenv("NO_PROXY", "*")
    assert settings(proxy="http://mine:3128").proxy_url() == "http://mine:3128"
