"""``ViHook``: a connection in any of its forms becomes a client, and a bad one a sentence that names the field."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

import pytest
from airflow.models import Connection
from requests_mock import Mocker

from tests.documents import ORGANIZATION_ID, SECRET_KEY
from tests.errors import everything_shown
from tests.unit.hooks.connections import HOST, Connect
from tests.versions import extra_may_be_no_json
from vi_airflow_provider.api.errors import ViConfigurationError
from vi_airflow_provider.api.settings import EXTRA_FIELDS, ViSettings
from vi_airflow_provider.hooks import vi as hook_module
from vi_airflow_provider.hooks.vi import ViHook, settings_from_connection


def settings_of(uri_or_json: str, monkeypatch: pytest.MonkeyPatch) -> ViSettings:
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", uri_or_json)
    return ViHook().settings


# --- reading the connection ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "endpoint"),
    [
        ({}, HOST),
        ({"host": None}, "https://api.vi.datature.com"),
        ({"host": ""}, "https://api.vi.datature.com"),
        ({"host": " https://vi.example "}, HOST),
        ({"host": "https://vi.example/gateway/v1/"}, "https://vi.example/gateway/v1"),
        ({"host": "vi.example"}, HOST),
        ({"host": "vi.example/gateway"}, "https://vi.example/gateway"),
        ({"host": "vi.example:8443"}, "https://vi.example:8443"),
        ({"host": "vi.example", "port": 8443}, "https://vi.example:8443"),
        ({"host": "https://vi.example/gateway", "port": 8443}, "https://vi.example:8443/gateway"),
        ({"host": "vi.example", "schema": "https"}, HOST),
        ({"host": "localhost", "schema": "http", "port": 8321}, "http://localhost:8321"),
        ({"host": "http://localhost:8321"}, "http://localhost:8321"),
        ({"host": "http://vi.example", "extra": {"allow_http": True}}, "http://vi.example"),
        ({"host": "https://[::1]", "port": 8321}, "https://[::1]:8321"),
    ],
)
def test_host_port_and_schema_make_the_endpoint(fields: dict[str, Any], endpoint: str, connect: Connect) -> None:
    connect(**fields)
    settings = ViHook().settings
    assert settings.endpoint == endpoint
    assert (settings.organization_id, settings.secret_key) == (ORGANIZATION_ID, SECRET_KEY)


WITH_CREDENTIALS: Final = f"vi://{ORGANIZATION_ID}:{SECRET_KEY}@"


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [
        ("", "https://api.vi.datature.com"),
        ("vi.example", HOST),
        ("vi.example:8443", "https://vi.example:8443"),
        ("vi.example/https", HOST),
        ("vi.example:8443/https", "https://vi.example:8443"),
        ("localhost:8321/http", "http://localhost:8321"),
        (quote("https://vi.example/gateway", safe=""), "https://vi.example/gateway"),
        (quote("https://vi.example/gateway", safe="") + ":8443", "https://vi.example:8443/gateway"),
    ],
)
def test_a_connection_may_be_a_uri(address: str, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(f"{WITH_CREDENTIALS}{address}?page_size=7&verify=false", monkeypatch)
    assert (settings.endpoint, settings.page_size, settings.verify) == (endpoint, 7, False)
    assert (settings.organization_id, settings.secret_key) == (ORGANIZATION_ID, SECRET_KEY)


def test_the_extra_of_a_uri_may_be_json(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = quote(json.dumps({"page_size": 7}), safe="")
    assert settings_of(f"{WITH_CREDENTIALS}vi.example?__extra__={extra}", monkeypatch).page_size == 7


#: What a web form may store for each field: text, or nothing.
FORM: Final = {
    "page_size": ("50", 50),
    "connect_timeout": ("2.5", 2.5),
    "read_timeout": ("30", 30.0),
    "max_retries": ("0", 0),
    "max_rate_limit_retries": ("5", 5),
    "max_retry_delay": ("10", 10.0),
    "retry_budget": ("100", 100.0),
    "verify": ("false", False),
    "proxy": ("http://proxy.example:3128", "http://proxy.example:3128"),
    "allow_http": ("true", True),
    "ui_url_template": ("https://vi.example/{flow_id}", "https://vi.example/{flow_id}"),
    "namespace": ("prod", "prod"),
}


def test_the_extra_is_read_as_a_web_form_stores_it(connect: Connect) -> None:
    assert tuple(FORM) == EXTRA_FIELDS
    connect(extra={name: text for name, (text, _) in FORM.items()})
    settings = ViHook().settings
    assert {name: getattr(settings, name) for name in FORM} == {name: value for name, (_, value) in FORM.items()}


BLANK: Final = pytest.param("  ", marks=extra_may_be_no_json)


@pytest.mark.parametrize("extra", [None, "", BLANK, "{}", {}, dict.fromkeys(FORM, ""), dict.fromkeys(FORM)], ids=repr)
def test_an_empty_extra_means_the_defaults(extra: Any, connect: Connect) -> None:
    connect(extra=extra)
    settings = ViHook().settings
    expected = ViSettings(organization_id=ORGANIZATION_ID, secret_key=SECRET_KEY)
    assert all(getattr(settings, name) == getattr(expected, name) for name in EXTRA_FIELDS)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"login": None}, "login: the organization id is missing"),
        ({"login": "../x"}, "login: the organization id '../x' is not usable"),
        ({"password": None}, "password: the secret key is missing"),
        ({"password": SECRET_KEY[:-1]}, "password: a secret key of Vi begins with dtvi_ and has 103 characters"),
        ({"host": "http://vi.example"}, "host: plain http:// would show the secret key"),
        ({"host": "ftp://vi.example"}, "host: the API endpoint 'ftp://vi.example' is not an http(s) URL"),
        ({"host": "https://[::1"}, "host: the API endpoint is not a URL"),
        ({"host": "vi.example:8443", "port": 8443}, "host: the API endpoint is not a URL"),
        ({"host": "vi example"}, "host: the API endpoint is empty, or contains white space"),
        ({"host": "https://vi.example?x=1"}, "host: the API endpoint has a query or a fragment"),
        ({"conn_type": "http"}, "connection type: 'http', expected 'vi'"),
        ({"conn_type": "generic"}, "connection type: 'generic', expected 'vi'; name a connection of type Datature Vi"),
        ({"host": None, "port": 8443}, "port: there is no host to go with it"),
        ({"schema": "https"}, "schema: 'https' is not expected"),
        ({"host": "vi.example", "schema": "flows"}, "schema: 'flows' is not expected"),
        pytest.param({"extra": "page_size=5"}, "extra: this is not a JSON object", marks=extra_may_be_no_json),
        pytest.param({"extra": "[1, 2]"}, "extra: this is not a JSON object", marks=extra_may_be_no_json),
        pytest.param({"extra": '"text"'}, "extra: this is not a JSON object", marks=extra_may_be_no_json),
        ({"extra": {"pagesize": 5}}, "extra: unknown 'pagesize'; choose from page_size, connect_timeout"),
        ({"extra": {"page_size": "many"}}, "extra.page_size: 'many' is not a whole number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_field_is_named_before_any_request(
    fields: dict[str, Any], words: str, connect: Connect, requests_mock: Mocker
) -> None:
    connect(**fields)
    for use in (lambda: ViHook().settings, lambda: ViHook().get_flow("a"), lambda: next(ViHook().list_flows())):
        with pytest.raises(ViConfigurationError) as caught:
            use()
        assert str(caught.value).startswith(words)
    with pytest.raises(ViConfigurationError):
        asyncio.run(ViHook().get_async_conn())
    assert ViHook().test_connection() == (False, str(caught.value))
    assert requests_mock.call_count == 0


@pytest.mark.parametrize("login", [f" {ORGANIZATION_ID}", f"{ORGANIZATION_ID}\n", f"\t{ORGANIZATION_ID} "])
def test_white_space_around_the_organization_is_stripped(login: str, connect: Connect) -> None:
    connect(login=login)
    assert ViHook().settings.organization_id == ORGANIZATION_ID


@pytest.mark.parametrize(
    ("host", "port", "endpoint"),
    [
        (HOST, 0, HOST),
        (f"{HOST}/gw", 0, f"{HOST}/gw"),
        (None, 0, "https://api.vi.datature.com"),
        ("http://127.0.0.1", 8321, "http://127.0.0.1:8321"),
        (f"{HOST}:8443", None, f"{HOST}:8443"),
    ],
)
def test_port_0_of_a_posted_form_means_none(
    host: str | None, port: int | None, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted = Connection(
        conn_id="x", conn_type="vi", host=host, port=port, login=ORGANIZATION_ID, password=SECRET_KEY, extra="{}"
    )
    assert settings_from_connection(posted).endpoint == endpoint
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", posted.get_uri())  # as Airflow's Test button hands it to the hook
    assert ViHook().settings.endpoint == endpoint


@pytest.mark.parametrize("read", [lambda hook: hook.settings, lambda hook: asyncio.run(hook.get_async_conn())])
def test_an_unusable_proxy_of_the_environment_is_reported_each_time(
    read: Callable[[ViHook], object], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect()
    monkeypatch.setenv("HTTPS_PROXY", "socks5://me:hunter2-pass@proxy:1080")
    hook = ViHook()
    for _ in range(2):
        with pytest.raises(ViConfigurationError, match=r"HTTPS_PROXY of the environment: .*SOCKS") as caught:
            read(hook)
    assert "hunter2" not in str(caught.value)
    assert hook.test_connection() == (False, str(caught.value))


def test_another_connection_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_VI_TEST", f"{WITH_CREDENTIALS}test.example")
    assert ViHook("vi_test").settings.endpoint == "https://test.example"
    assert ViHook(vi_conn_id="vi_test").vi_conn_id == "vi_test"


def test_making_a_hook_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ViHook, "get_connection", lambda *_: pytest.fail("the connection was read"))
    ViHook()
    ViHook("x").close()


def test_the_connection_is_read_once(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    connect()
    hook = ViHook()
    first = hook.settings
    monkeypatch.setattr(ViHook, "get_connection", lambda *_: pytest.fail("the connection was read again"))
    assert hook.settings is first
    assert hook.get_conn().settings is first


def test_a_hook_without_retries_has_no_retries_in_its_settings(connect: Connect) -> None:
    connect(extra={"max_retries": 5, "page_size": 7})
    paced = ViHook(retry=False).settings
    assert (paced.max_retries, paced.max_rate_limit_retries, paced.page_size) == (0, 0, 7)


# --- secrets -------------------------------------------------------------------------------------------------------


@pytest.fixture
def masked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is given to Airflow's masker, by either of its entrances."""
    found: list[str] = []

    async def mask_async(secret: str) -> None:
        found.append(secret)

    monkeypatch.setattr(hook_module, "mask_secret", found.append)
    try:
        import airflow.sdk.log as sdk_log
    except ImportError:
        pass
    else:
        monkeypatch.setattr(sdk_log, "amask_secret", mask_async, raising=False)
    return found


by_read: Final = pytest.mark.parametrize(
    "read", [lambda: ViHook().settings, lambda: asyncio.run(ViHook().get_async_conn())], ids=["settings", "async"]
)


@by_read
def test_the_stripped_key_and_the_password_of_the_proxy_are_masked(
    read: Callable[[], object], connect: Connect, masked: list[str]
) -> None:
    connect(password=f"  {SECRET_KEY}\n", extra={"proxy": "http://me:hunter2-pass@proxy.example:3128"})
    read()
    assert masked[-2:] == [SECRET_KEY, "hunter2-pass"]  # before that, Airflow masks what it likes
    assert [type(secret) for secret in masked[-2:]] == [str, str]


def test_the_decoded_password_of_the_environments_proxy_is_masked(
    connect: Connect, masked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2%2Fpass@proxy.example:3128")
    connect()
    assert ViHook().settings.proxy is None
    assert masked == [SECRET_KEY, "hunter2%2Fpass", "hunter2/pass"]


#: Connections that cannot be used, each with a secret somewhere.
BAD: Final[dict[str, dict[str, Any]]] = {
    "cut": {"password": SECRET_KEY[:-1]},
    "exchanged": {"login": SECRET_KEY, "password": ORGANIZATION_ID},
    "bad proxy": {"extra": {"proxy": "ftp://me:hunter2-pass@proxy.example"}},
    "in the extra": {"extra": {"page_size": SECRET_KEY}},
    "broken extra": {"extra": '{"proxy": "http://me:hunter2-pass@proxy.example'},
}


by_bad_connection: Final = pytest.mark.parametrize(
    "what", [pytest.param(what, marks=extra_may_be_no_json) if what == "broken extra" else what for what in BAD]
)


@by_read
@by_bad_connection
def test_an_error_about_a_connection_shows_no_secret_in_locals(
    what: str, read: Callable[[], object], connect: Connect
) -> None:
    connect(**BAD[what])
    with pytest.raises(ViConfigurationError) as caught:
        read()
    shown = everything_shown(caught.value)
    assert not [form for form, text in shown.items() if SECRET_KEY[40:60] in text or "hunter2" in text]


#: What is masked of each of them.
TO_MASK: Final = {
    "cut": [SECRET_KEY[:-1]],
    "exchanged": [ORGANIZATION_ID, SECRET_KEY],
    "bad proxy": [SECRET_KEY, "hunter2-pass"],
    "in the extra": [SECRET_KEY],
    "broken extra": [SECRET_KEY, "hunter2-pass"],
}


@by_read
@by_bad_connection
def test_secrets_of_a_connection_that_cannot_be_used_are_masked(
    what: str, read: Callable[[], object], connect: Connect, masked: list[str]
) -> None:
    connect(**BAD[what])
    with pytest.raises(ViConfigurationError):
        read()
    own = masked[-len(TO_MASK[what]) :]  # before that, Airflow masks what it likes
    assert own == TO_MASK[what]
    assert {type(secret) for secret in own} == {str}


@by_read
def test_secrets_are_masked_when_the_proxy_of_the_environment_is_bad(
    read: Callable[[], object], connect: Connect, masked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://me:hunter2%2Fpass@proxy:1080")
    connect()
    with pytest.raises(ViConfigurationError):
        read()
    assert masked[-3:] == [SECRET_KEY, "hunter2%2Fpass", "hunter2/pass"]


def test_a_proxy_without_a_password_adds_nothing_to_mask(connect: Connect, masked: list[str]) -> None:
    connect(extra={"proxy": "http://proxy.example:3128"})
    assert ViHook().settings.proxy == "http://proxy.example:3128"
    assert masked == [SECRET_KEY]
