"""Which proxy is used, by both clients alike, and which proxy is refused before anything is sent."""

from __future__ import annotations

import asyncio
from itertools import product
from typing import Any, Final

import pytest
from requests.utils import should_bypass_proxies

from tests.documents import FLOW_ID, wire_bytes, wire_flow
from tests.scripted_server import Act, ScriptedServer, http_bytes
from tests.transports import settings_for
from vi_airflow_provider.api import proxies
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.errors import ViConfigurationError
from vi_airflow_provider.api.proxies import bypasses_proxy, proxy_for

NO_PROXY: Final = (
    *("", "*", "localhost", "/", " vi.example.com , x", "other.org,10.0.0.0/8", "*.example.com"),
    *("example.com", ".example.com", "vi.example.com", "vi.example.com:8443", "com", "ample.com", "EXAMPLE.com"),
    *("10.0.0.0/8", "10.1.2.3", "10.1.2.3/32", "10.1.2.3:8080", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/31", "192.168.*"),
    *("::1", "2001:db8::1", "2001:DB8::1"),
)
ENDPOINTS: Final = (
    *("https://vi.example.com", "https://vi.example.com:8443/gw", "https://VI.Example.COM", "https://example.com"),
    *("https://badexample.com", "https://10.1.2.3", "http://10.1.2.3:8080", "https://11.0.0.1"),
    *("https://[2001:db8::1]", "https://[2001:db8::1]:8443"),
)


#: Before requests 2.34, `ample.com` matches `example.com`.
MATCHES_PARTS_OF_NAMES: Final = should_bypass_proxies("https://example.com", no_proxy="ample.com")


@pytest.mark.skipif(MATCHES_PARTS_OF_NAMES, reason="this version of requests matches parts of names")
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_no_proxy_means_what_it_means_to_requests(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for no_proxy, endpoint in product(NO_PROXY, ENDPOINTS):
        monkeypatch.setenv(name, no_proxy)
        found[no_proxy, endpoint] = bypasses_proxy(endpoint), should_bypass_proxies(endpoint, None)
    assert {case: both for case, both in found.items() if both[0] != both[1]} == {}
    assert len(set(found.values())) == 2


@pytest.mark.parametrize("no_proxy", ["2001:db8::/32", "[2001:db8::1]", "[2001:db8::]/32"])
def test_no_proxy_may_name_ipv6_networks(no_proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert bypasses_proxy("https://[2001:db8::1]:8443")
    assert not bypasses_proxy("https://[2001:db9::1]")


def by_client(settings: Any) -> Any:
    with ViClient(settings, sleep=lambda _: None) as vi:
        return vi.get_flow(FLOW_ID)


def by_async_client(settings: Any) -> Any:
    async def run() -> Any:
        async with AsyncViClient(settings) as vi:
            return await vi.get_flow(FLOW_ID)

    return asyncio.run(run())


both_clients: Final = pytest.mark.parametrize("ask", [by_client, by_async_client])


@pytest.fixture
def not_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat this machine as any other, which may be behind a proxy."""
    monkeypatch.setattr(proxies, "is_loopback", lambda _: False)


@both_clients
@pytest.mark.usefixtures("not_loopback")
@pytest.mark.parametrize(("no_proxy", "direct"), [("127.0.0.0/8", True), ("127.0.0.1", True), ("10.0.0.0/8", False)])
def test_the_key_goes_to_a_proxy_only_if_requests_would_use_it(
    ask: Any, no_proxy: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = Act(http_bytes(200, wire_bytes(wire_flow())))
    with ScriptedServer([flow]) as server, ScriptedServer([flow]) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", no_proxy)
        ask(settings_for(server.url))
    assert (len(server.received), len(proxy.received)) == ((1, 0) if direct else (0, 1))


UNUSABLE: Final = {
    "socks5://{proxy}": "SOCKS proxies are not supported",
    "socks5h://me:hunter2-pass@{proxy}": "SOCKS proxies are not supported",
    "http://127.0.0.1:port": "host or port is not valid",
    "http://127.0.0.1:99999": "host or port is not valid",
    "http://127.0.0.1:0": "this is not an http(s) URL",
    "http://me:hunter2-pass@127.0.0.1:x": "host or port is not valid",
    "http://{proxy} ": "white space",
    "http://me: hunter2-pass@{proxy}": "white space",
    "http://\t{proxy}": "white space",
    "http://": "this is not an http(s) URL",
    "ftp://{proxy}": "this is not an http(s) URL",
    "http://me:p@ss/hunter2-pass#rd@{proxy}": "percent-encode",
    "http://me:p@hunter2-pass@{proxy}": "percent-encode",
    "http://me:12/hunter2-pass@{proxy}": "percent-encode",
    "http://me:12?hunter2-pass@{proxy}": "percent-encode",
    "http://me:12#hunter2-pass@{proxy}": "percent-encode",
    "me:12/hunter2-pass@{proxy}": "percent-encode",
    "http://me:hunter2-pass\u20ac@{proxy}": "outside Latin-1",
    "http://me:hunter2-pass%E2%82%AC@{proxy}": "outside Latin-1",
}


@both_clients
@pytest.mark.usefixtures("not_loopback")
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("url", UNUSABLE)
def test_an_unusable_proxy_of_the_environment_is_refused_before_any_byte(
    url: str, variable: str, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable == "ALL_PROXY" and url == "http://":
        return
    with ScriptedServer() as server, ScriptedServer() as proxy:
        monkeypatch.setenv(variable, url.replace("{proxy}", proxy.address))
        with pytest.raises(ViConfigurationError) as caught:
            ask(settings_for(server.url))
    message = str(caught.value)
    assert message.startswith(f"{variable.upper()} of the environment: ")
    assert UNUSABLE[url] in message
    assert "hunter2" not in message
    assert server.connections == proxy.connections == 0


@pytest.mark.parametrize("url", [url for url in UNUSABLE if "://" in url])
def test_the_proxy_of_the_connection_is_refused_alike(url: str) -> None:
    with pytest.raises(ViConfigurationError) as caught:
        settings_for("https://vi.example", proxy=url.replace("{proxy}", "proxy.example:3128"))
    assert str(caught.value).startswith("extra.proxy: ")
    assert UNUSABLE[url] in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://me:p%40ss%2Fw%23rd@proxy:3128", "http://me:\u00fc@proxy:3128", "http://p:1/"])
def test_an_encoded_password_is_usable(url: str) -> None:
    assert settings_for("https://vi.example", proxy=url).proxy_url() == url


def test_a_proxy_does_not_show_its_password_in_locals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2-pass@proxy:3128")
    assert "hunter2" not in repr({"proxies": settings_for("https://vi.example").proxy_url()})
    assert proxy_for("https://vi.example", None) == "http://me:hunter2-pass@proxy:3128"
