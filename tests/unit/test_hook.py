"""``ViHook``: a connection in any of its forms becomes a client, and a bad one a sentence that names the field."""

from __future__ import annotations

import asyncio
import json
import platform
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import quote

import pytest
import requests
import urllib3.exceptions
from airflow import __version__ as airflow_version
from airflow.models import Connection
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from requests_mock import Mocker

from tests.documents import FLOW_ID, ORGANIZATION_ID, SECRET_KEY, wire_bytes, wire_flow, wire_page, wire_spec
from tests.errors import everything_shown
from tests.scripted_server import Act, ScriptedServer, http_bytes
from tests.versions import extra_may_be_no_json
from vi_airflow_provider import __version__
from vi_airflow_provider.api.errors import ViConfigurationError, ViServerError
from vi_airflow_provider.api.settings import EXTRA_FIELDS, ViSettings
from vi_airflow_provider.hooks import vi as hook_module
from vi_airflow_provider.hooks.vi import ViHook, settings_from_connection

HOST: Final = "https://vi.example"
FLOWS: Final = f"{HOST}/workspaces/{ORGANIZATION_ID}/flows"

Connect = Callable[..., None]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Define the connection ``vi_default``; fields of ``None`` are left out."""

    def define(**fields: Any) -> None:
        given = {"conn_type": "vi", "host": HOST, "login": ORGANIZATION_ID, "password": SECRET_KEY, **fields}
        text = json.dumps({name: value for name, value in given.items() if value is not None})
        monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", text)

    return define


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
        ({"host": "ftp://vi.example"}, "host: the API endpoint 'ftp://vi.example' is no http(s) URL"),
        ({"host": "https://[::1"}, "host: the API endpoint is no URL"),
        ({"host": "vi.example:8443", "port": 8443}, "host: the API endpoint is no URL"),
        ({"host": "vi example"}, "host: the API endpoint is empty, or contains white space"),
        ({"host": "https://vi.example?x=1"}, "host: the API endpoint has a query or a fragment"),
        ({"conn_type": "http"}, "connection type: 'http', expected 'vi'"),
        ({"conn_type": "generic"}, "connection type: 'generic', expected 'vi'; name a connection of type Datature Vi"),
        ({"host": None, "port": 8443}, "port: there is no host to go with it"),
        ({"schema": "https"}, "schema: 'https' is not expected"),
        ({"host": "vi.example", "schema": "flows"}, "schema: 'flows' is not expected"),
        pytest.param({"extra": "page_size=5"}, "extra: this is no JSON object", marks=extra_may_be_no_json),
        pytest.param({"extra": "[1, 2]"}, "extra: this is no JSON object", marks=extra_may_be_no_json),
        pytest.param({"extra": '"text"'}, "extra: this is no JSON object", marks=extra_may_be_no_json),
        ({"extra": {"pagesize": 5}}, "extra: unknown 'pagesize'; known are page_size, connect_timeout"),
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


@pytest.mark.parametrize("read", [lambda: ViHook().settings, lambda: asyncio.run(ViHook().get_async_conn())])
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


BAD: Final[dict[str, dict[str, Any]]] = {
    "cut": {"password": SECRET_KEY[:-1]},
    "exchanged": {"login": SECRET_KEY, "password": ORGANIZATION_ID},
    "bad proxy": {"extra": {"proxy": "ftp://me:hunter2-pass@proxy.example"}},
    "in the extra": {"extra": {"page_size": SECRET_KEY}},
    "broken extra": {"extra": '{"proxy": "http://me:hunter2-pass@proxy.example'},
}


@pytest.mark.parametrize("read", [lambda: ViHook().settings, lambda: asyncio.run(ViHook().get_async_conn())])
@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=extra_may_be_no_json) if what == "broken extra" else what for what in BAD]
)
def test_an_error_about_a_connection_shows_no_secret_in_locals(
    what: str, read: Callable[[], object], connect: Connect
) -> None:
    connect(**BAD[what])
    with pytest.raises(ViConfigurationError) as caught:
        read()
    shown = everything_shown(caught.value)
    assert not [form for form, text in shown.items() if SECRET_KEY[40:60] in text or "hunter2" in text]


def test_a_proxy_without_a_password_adds_nothing_to_mask(connect: Connect, masked: list[str]) -> None:
    connect(extra={"proxy": "http://proxy.example:3128"})
    assert ViHook().settings.proxy == "http://proxy.example:3128"
    assert masked == [SECRET_KEY]


# --- clients -------------------------------------------------------------------------------------------------------


def test_the_user_agent_names_provider_airflow_and_python(connect: Connect, requests_mock: Mocker) -> None:
    requests_mock.get(f"{FLOWS}/{FLOW_ID}", json=wire_flow())
    connect()
    ViHook().get_flow(FLOW_ID)
    (request,) = requests_mock.request_history
    expected = f"vi-airflow-provider/{__version__} (Airflow {airflow_version}; Python {platform.python_version()})"
    assert request.headers["User-Agent"] == expected


def test_a_hook_has_one_client_until_it_is_closed(connect: Connect) -> None:
    connect()
    hook = ViHook()
    client = hook.get_conn()
    assert hook.get_conn() is client
    hook.close()
    hook.close()
    assert hook.get_conn() is not client


def test_the_asynchronous_client_calls_with_the_same_settings(connect: Connect) -> None:
    async def run() -> str:
        hook = ViHook()
        async with await hook.get_async_conn() as vi:
            assert vi.settings is hook.settings
            assert vi is not await hook.get_async_conn()
            return (await vi.get_flow(FLOW_ID)).flow_id

    with ScriptedServer([Act(http_bytes(200, wire_bytes(wire_flow())))]) as server:
        connect(host=server.url)
        assert asyncio.run(run()) == FLOW_ID
    assert server.received[0].header("Authorization") == f"Bearer {SECRET_KEY}"


# --- calls ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def vi(connect: Connect, requests_mock: Mocker) -> Iterator[ViHook]:
    """A hook to a server with one flow."""
    connect()
    requests_mock.get(FLOWS, json=wire_page(wire_flow()))
    requests_mock.get(f"{HOST}/workspaces/{ORGANIZATION_ID}/simpleFlows", json=wire_page({"flowId": FLOW_ID}))
    requests_mock.get(f"{FLOWS}/{FLOW_ID}", json=wire_flow())
    requests_mock.put(f"{FLOWS}/{FLOW_ID}", json=wire_flow())
    requests_mock.patch(f"{FLOWS}/{FLOW_ID}", json=wire_flow())
    requests_mock.delete(f"{FLOWS}/{FLOW_ID}", status_code=204)
    hook = ViHook()
    yield hook
    hook.close()


CALLS: Final[dict[str, tuple[Callable[[ViHook], Any], str, Any]]] = {
    "list_flows": (lambda vi: [f.flow_id for f in vi.list_flows(page_size=5)], "GET /flows?s=5", [FLOW_ID]),
    "list_flows, limit": (lambda vi: [f.flow_id for f in vi.list_flows(limit=1)], "GET /flows?s=1", [FLOW_ID]),
    "iter_flow_pages": (
        lambda vi: [f.flow_id for page in vi.iter_flow_pages(page_size=5, page_token="t") for f in page.items],
        *("GET /flows?p=t&s=5", [FLOW_ID]),
    ),
    "list_simple_flows": (
        lambda vi: [f.flow_id for f in vi.list_simple_flows(limit=9)],
        *("GET /simpleFlows?s=9", [FLOW_ID]),
    ),
    "get_flow": (lambda vi: vi.get_flow(FLOW_ID).flow_id, f"GET /flows/{FLOW_ID}", FLOW_ID),
    "flow_exists": (lambda vi: vi.flow_exists(FLOW_ID), f"GET /flows/{FLOW_ID}", True),
    "find_flow": (lambda vi: [vi.find_flow(flow_id=FLOW_ID)] != [None], f"GET /flows/{FLOW_ID}", True),
    "delete_flow": (lambda vi: vi.delete_flow(FLOW_ID).deleted, f"DELETE /flows/{FLOW_ID}", True),
    "create_flow": (
        lambda vi: vi.create_flow(wire_spec(), attributes={"a": "b"}, flow_id=FLOW_ID).flow_id,
        *(f"PUT /flows/{FLOW_ID}", FLOW_ID),
    ),
    "restore_flow": (lambda vi: vi.restore_flow(wire_flow()).flow_id, f"PUT /flows/{FLOW_ID}", FLOW_ID),
    "update_flow": (
        lambda vi: vi.update_flow(FLOW_ID, spec={"name": "n"}, attributes={"a": None}).flow_id,
        *(f"PATCH /flows/{FLOW_ID}", FLOW_ID),
    ),
    "replace_flow": (
        lambda vi: vi.replace_flow(FLOW_ID, wire_spec(), attributes={}).flow_id,
        *(f"PUT /flows/{FLOW_ID}", FLOW_ID),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_of_the_hook_is_one_request(name: str, vi: ViHook, requests_mock: Mocker) -> None:
    call, request, value = CALLS[name]
    assert call(vi) == value
    sent = [f"{r.method} {r.url.partition(ORGANIZATION_ID)[2]}" for r in requests_mock.request_history]
    assert sent == [request]


def test_an_error_of_the_api_comes_through(vi: ViHook, requests_mock: Mocker) -> None:
    requests_mock.patch(f"{FLOWS}/{FLOW_ID}", status_code=500)
    with pytest.raises(ViServerError):
        vi.update_flow(FLOW_ID, attributes={})


# --- test_connection -----------------------------------------------------------------------------------------------


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def unresolved() -> Exception:
    return caused(requests.exceptions.ConnectionError(), socket.gaierror(-2, "Name or service not known"))


def untrusted() -> Exception:
    cause = ssl.SSLCertVerificationError(1, "certificate verify failed")
    cause.verify_message = "self-signed certificate"
    return caused(requests.exceptions.SSLError(), cause)


def refused() -> Exception:
    reason = urllib3.exceptions.NewConnectionError(None, "refused")  # type: ignore[arg-type]
    error = urllib3.exceptions.MaxRetryError(None, "/", reason)  # type: ignore[arg-type]
    return caused(requests.exceptions.ConnectionError(error), ConnectionRefusedError(111, "Connection refused"))


LAYERS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "DNS": ({"exc": unresolved()}, "the host name does not resolve (DNS): Name or service not known"),
    "TCP": ({"exc": refused()}, "no TCP connection to the server: Connection refused"),
    "TCP, silent": ({"exc": requests.exceptions.ConnectTimeout()}, "no TCP connection to the server in time"),
    "proxy": ({"exc": requests.exceptions.ProxyError()}, "the proxy refused the connection"),
    "TLS": ({"exc": untrusted()}, "the server's TLS certificate is not trusted: self-signed certificate"),
    "HTTP, silent": ({"exc": requests.exceptions.ReadTimeout()}, "no complete response in time"),
    "401": ({"status_code": 401}, "401 Unauthorized. Check the secret key (the connection's password)"),
    "403": ({"status_code": 403}, "403 Forbidden. Check that the organization id"),
    "404": ({"status_code": 404}, f"{HOST} knows no organization {ORGANIZATION_ID!r} (404): check the organization id"),
    "429": ({"status_code": 429}, "429 Too Many Requests"),
    "500": ({"status_code": 500}, "500 Internal Server Error. The service has a problem"),
    "another server": ({"text": "<html>Sign in</html>"}, "no proxy or login page responds instead"),
    "a redirect": ({"status_code": 302, "headers": {"Location": "https://login.example/"}}, "https://login.example"),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_failed_test_of_the_connection_names_the_layer(layer: str, connect: Connect, requests_mock: Mocker) -> None:
    answer, words = LAYERS[layer]
    requests_mock.get(FLOWS, **answer)
    connect()
    succeeded, message = ViHook().test_connection()
    assert not succeeded
    assert words in message
    assert SECRET_KEY not in message
    assert "\n" not in message
    assert requests_mock.call_count == 1, "a person waits for the result"


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (wire_page(wire_flow()), "the key can read its flows in organization"),
        (wire_page(), "the key can read its flows (there are none yet) in organization"),
    ],
)
def test_a_test_of_the_connection_reads_one_flow(
    page: dict[str, Any], words: str, connect: Connect, requests_mock: Mocker
) -> None:
    requests_mock.get(FLOWS, json=page)
    connect()
    assert ViHook().test_connection() == (True, f"Connected to {HOST}: {words} {ORGANIZATION_ID}.")
    assert [request.query for request in requests_mock.request_history] == ["s=1"]


def test_a_connection_that_does_not_exist_fails_its_test(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: type[ViHook], conn_id: str) -> None:
        raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")

    monkeypatch.setattr(ViHook, "get_connection", classmethod(missing))
    assert ViHook("gone").test_connection() == (False, "The conn_id `gone` isn't defined")
