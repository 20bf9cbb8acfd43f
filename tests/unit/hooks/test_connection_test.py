"""``ViHook.test_connection``: a failure names the layer that caused it."""

from __future__ import annotations

import socket
import ssl
from typing import Any, Final

import pytest
import requests
import urllib3.exceptions
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from requests_mock import Mocker

from tests.documents import ORGANIZATION_ID, SECRET_KEY, wire_flow, wire_page
from tests.unit.hooks.connections import FLOWS, HOST, Connect
from vi_airflow_provider.hooks.vi import ViHook


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
    "404": ({"status_code": 404}, f"{HOST} does not know organization {ORGANIZATION_ID!r} (404): check the"),
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
