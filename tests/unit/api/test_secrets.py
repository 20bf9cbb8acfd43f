"""Nothing that a user can see contains the secret key, whatever goes wrong."""

from __future__ import annotations

import asyncio
import base64
import logging
import traceback
from collections.abc import Callable
from typing import Any, Final

import aiohttp
import pytest

from tests.documents import ORGANIZATION_ID, SECRET_KEY, wire_bytes, wire_flow
from tests.errors import everything_shown
from tests.scripted_server import Act, ScriptedServer, http_bytes
from tests.transports import LIST, UPDATE, Call, settings_for
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.errors import ViConfigurationError, ViError
from vi_airflow_provider.api.protocol.messages import Request, Response
from vi_airflow_provider.api.settings import Secret, ViSettings
from vi_airflow_provider.api.transport.failures import without_frames

#: As much of the key as would tell something about it.
PARTS: Final = (SECRET_KEY[5:25], SECRET_KEY[40:60], SECRET_KEY[-20:])

#: Responses that quote the key: as a whole, in part, and in other encodings.
QUOTE: Final = f"The key {SECRET_KEY} is unknown, sent with Authorization: Bearer {SECRET_KEY}"
SERVERS: Final = {
    "an error that quotes the key": http_bytes(401, wire_bytes({"message": QUOTE})),
    "an error in plain text that quotes the key": http_bytes(400, QUOTE.encode()),
    "an error in HTML that quotes the key": http_bytes(502, f"<html>{QUOTE}</html>".encode()),
    "a redirect": http_bytes(302, QUOTE.encode(), [("Location", "https://vi.example/")]),
    "a part of the key": http_bytes(401, wire_bytes({"message": f"no key ends with {SECRET_KEY[-30:]}"})),
    "the key in base64": http_bytes(400, base64.b64encode(f"Bearer {SECRET_KEY}".encode())),
    "the key as its trace id": http_bytes(503, b"", [("X-Cloud-Trace-Context", f"{SECRET_KEY[5:80]}/1")]),
    "no HTTP": b"\x16\x03\x01 no HTTP\r\n\r\n",
    "nothing": b"",
    "half a response": http_bytes(200, b"{", missing=5),
}


def _ask_client(call: Call, settings: ViSettings) -> Any:
    with ViClient(settings) as vi:
        value = call.ask(vi)
        return list(value) if call is LIST else value


def _ask_async_client(call: Call, settings: ViSettings) -> Any:
    async def run() -> Any:
        async with AsyncViClient(settings) as vi:
            return [flow async for flow in call.ask(vi)] if call is LIST else await call.ask(vi)

    return asyncio.run(run())


def assert_hidden(shown: dict[str, str]) -> None:
    leaks = {form: part for form, text in shown.items() for part in PARTS if part in text}
    assert leaks == {}


@pytest.mark.parametrize("ask", [_ask_client, _ask_async_client], ids=["ViClient", "AsyncViClient"])
@pytest.mark.parametrize("call", [LIST, UPDATE], ids=lambda call: call.name)
@pytest.mark.parametrize("server", SERVERS)
def test_no_error_and_no_log_line_shows_the_key(
    server: str, call: Call, ask: Callable[[Call, ViSettings], Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with ScriptedServer([Act(SERVERS[server])]) as vi, pytest.raises(ViError) as caught:
        ask(call, settings_for(vi.url, max_retries=0))
    log = [f"{record.getMessage()} {record.args}" for record in caplog.records]
    assert any("/workspaces/" in line for line in log)
    assert_hidden(everything_shown(caught.value) | {"log": "\n".join(log)})


@pytest.mark.parametrize(
    "server",
    [
        http_bytes(200, b"x", [("Content-Type", SECRET_KEY)]),
        http_bytes(200, wire_bytes({"items": [wire_flow(metadata__attributes={SECRET_KEY: 5})]})),
        http_bytes(301, b"", [("Location", f"http://{SECRET_KEY[5:40]}.example/")]),
    ],
    ids=["content type", "JSON path", "address"],
)
def test_an_error_about_a_response_does_not_quote_the_key(server: bytes) -> None:
    with ScriptedServer([Act(server)]) as vi, pytest.raises(ViError) as caught:
        _ask_client(LIST, settings_for(vi.url, max_retries=0))
    assert "***" in str(caught.value)
    assert_hidden({"str": str(caught.value), "traceback": "".join(traceback.format_exception(caught.value))})


def test_reprs_of_requests_and_responses_show_no_headers_or_bodies() -> None:
    headers, body = {"authorization": f"Bearer {SECRET_KEY}"}, SECRET_KEY.encode()
    shown = repr([Request("PUT", "https://vi.example/x", "/x", headers, body), Response(401, headers, body)])
    assert "PUT" in shown
    assert "401" in shown
    assert_hidden({"repr": shown})


CONFIGURATIONS: Final[dict[str, dict[str, Any]]] = {
    "a bad organization id": {"organization_id": "../x"},
    "a bad host": {"endpoint": "ftp://vi.example"},
    "an unknown extra": {"colour": "blue"},
    "a bad number": {"page_size": "many"},
    "a number out of range": {"max_retries": -1},
    "a CA file that is not there": {"verify": "/no/such/file"},
    "a bad proxy": {"proxy": "nonsense"},
    "a bad template": {"ui_url_template": "{nonsense}"},
    "a key with a space in it": {"secret_key": f"{SECRET_KEY[:60]} {SECRET_KEY[61:]}"},
    "a key that was cut": {"secret_key": SECRET_KEY[:-1]},
    "a key with another prefix": {"secret_key": "xxxx_" + SECRET_KEY[5:]},
}


@pytest.mark.parametrize("what", CONFIGURATIONS)
def test_no_error_in_the_configuration_shows_the_key(what: str) -> None:
    given = {"organization_id": ORGANIZATION_ID, "endpoint": "https://vi.example", "secret_key": SECRET_KEY}
    extra = dict(CONFIGURATIONS[what])
    given |= {name: extra.pop(name) for name in tuple(given) if name in extra}
    given["secret_key"] = Secret(given["secret_key"])  # as the hook gives it
    with pytest.raises(ViConfigurationError) as caught:
        ViSettings.from_extra(extra, **given)
    assert_hidden(everything_shown(caught.value))


@pytest.mark.parametrize("place", ["organization_id", "endpoint", "ui_url_template", "verify", "page_size"])
def test_a_key_in_the_wrong_field_is_refused_without_showing_it(place: str) -> None:
    given: dict[str, Any] = {"organization_id": ORGANIZATION_ID, "secret_key": Secret(SECRET_KEY)}
    extra = {place: SECRET_KEY} if place not in ("organization_id", "endpoint") else {}
    given |= {place: SECRET_KEY} if not extra else {}
    with pytest.raises(ViConfigurationError, match="this looks like a secret key") as caught:
        ViSettings.from_extra(extra, **given)
    assert SECRET_KEY[40:60] not in str(caught.value)


# --- exceptions of signal handlers ---------------------------------------------------------------------------------


class TaskTimeoutError(BaseException):
    """As Airflow's timeouts, which a signal handler raises wherever the program is."""


PROXY_PASSWORD: Final = "pr0xy-p4ssw0rd"
#: Functions of the libraries that hold the request or the proxy in their locals, by client.
DEEP_INSIDE: Final = {
    "ViClient": (
        "http.client.HTTPConnection.send",
        "urllib3.util.connection.create_connection",
        "http.client.HTTPResponse.begin",
    ),
    "AsyncViClient": (
        "aiohttp.connector.TCPConnector._create_connection",
        "aiohttp.client_reqrep.ClientRequest._write_bytes"
        if hasattr(aiohttp.ClientRequest, "_write_bytes")
        else "aiohttp.client_reqrep.ClientRequest.write_bytes",
        "aiohttp.http_writer.StreamWriter.write_headers",
        "aiohttp.client_reqrep.ClientResponse.start",
    ),
}


def _proxy(address: str) -> str:
    return f"http://me:{PROXY_PASSWORD}@{address}"


@pytest.mark.parametrize("raised", [KeyboardInterrupt, TaskTimeoutError, SystemExit])
@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "proxied"])
@pytest.mark.parametrize(
    ("client", "place"), [(client, place) for client, places in DEEP_INSIDE.items() for place in places]
)
def test_an_interruption_shows_no_secret_in_the_locals(
    client: str, place: str, proxied: bool, raised: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    struck = []

    def strike(*_args: Any, **_options: Any) -> None:
        plain = f"Bearer {SECRET_KEY} http://me:{PROXY_PASSWORD}@proxy"
        struck.append(len(plain))
        raise raised

    monkeypatch.setattr(place, strike)
    with ScriptedServer() as vi:
        settings = settings_for(vi.url, proxy=_proxy(vi.address) if proxied else None, max_retries=0)
        with pytest.raises(raised) as caught:
            (_ask_client if client == "ViClient" else _ask_async_client)(UPDATE, settings)
    assert struck
    shown = everything_shown(caught.value)
    assert_hidden(shown)
    assert not [form for form, text in shown.items() if PROXY_PASSWORD in text]


def test_an_interruption_keeps_the_traceback_of_the_caller() -> None:
    def raised_with(context: BaseException | None) -> ValueError:
        try:
            try:
                if context is not None:
                    raise context
            finally:
                raise ValueError
        except ValueError as error:
            return error

    outer = raised_with(None)
    error = raised_with(outer)
    assert error.__context__ is outer
    assert without_frames(error, outer) is error
    assert error.__traceback__ is None
    assert outer.__traceback__ is not None
