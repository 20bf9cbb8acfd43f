"""How both clients report failures of DNS, TCP and proxies, on real loopback sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.documents import FLOW_ID, ORGANIZATION_ID, SECRET_KEY, wire_bytes, wire_flow
from tests.dripping_server import dripping
from tests.scripted_server import Act, After, ScriptedServer, http_bytes
from tests.transports import CREATE, DELETE, GET, UPDATE, Call, settings_for
from tests.unit.api.asking import FLOW, NOT_FOUND, Ask, failure
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.errors import ViError, ViNetworkError, ViTimeoutError
from vi_airflow_provider.api.protocol import exchange
from vi_airflow_provider.api.settings import ViSettings

# --- before the request is sent: any call may be repeated ----------------------------------------------------------


@pytest.mark.parametrize("call", [GET, CREATE, UPDATE, DELETE], ids=lambda call: call.name)
def test_an_unresolvable_name_is_reported_and_retried(call: Call, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = failure(ask, call, settings_for("https://vi.invalid"))
    assert type(error) is ViNetworkError
    assert "the host name does not resolve (DNS): Name or service not known (vi.invalid)" in str(error)
    assert error.attempts == 4


def test_a_refused_connection_is_named_with_host_and_port(ask: Ask, unused_port: int) -> None:
    error = failure(ask, GET, settings_for(f"http://127.0.0.1:{unused_port}"))
    assert type(error) is ViNetworkError
    assert "no TCP connection to the server: Connect" in str(error)
    assert f"(127.0.0.1:{unused_port})" in str(error)


def test_a_connect_timeout_is_retried(ask: Ask) -> None:
    with contextlib.ExitStack() as sockets:
        full = sockets.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(2):  # these two fill the queue, and the kernel drops who comes next
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        endpoint = f"http://127.0.0.1:{full.getsockname()[1]}"
        error = failure(ask, UPDATE, settings_for(endpoint, connect_timeout=0.1, max_retries=1))
    assert type(error) is ViTimeoutError
    assert "no TCP connection to the server in time" in str(error)
    assert error.attempts == 2


# --- proxies -------------------------------------------------------------------------------------------------------

ENDPOINT = "http://vi.example:8321"


def through(proxy: str, **changes: Any) -> ViSettings:
    return settings_for(ENDPOINT, allow_http=True, proxy=proxy, **changes)


def test_a_proxy_receives_the_absolute_url(ask: Ask) -> None:
    with ScriptedServer([Act(FLOW)]) as proxy:
        assert ask(GET, through(proxy.url)).flow_id == FLOW_ID
    (request,) = proxy.received
    assert request.target == f"{ENDPOINT}/workspaces/{ORGANIZATION_ID}/flows/{FLOW_ID}"
    assert request.header("Host") == "vi.example:8321"
    assert request.header("Authorization") == f"Bearer {SECRET_KEY}"


def test_a_proxy_gets_its_own_credentials(ask: Ask) -> None:
    with ScriptedServer([Act(FLOW)]) as proxy:
        ask(GET, through(f"http://me:p%40ss@{proxy.address}"))
    assert proxy.received[0].header("Proxy-Authorization") == "Basic bWU6cEBzcw=="


@pytest.mark.parametrize(
    ("no_proxy", "used"), [("", True), ("other.example", True), ("vi.example", False), ("*", False)]
)
def test_the_environments_proxy_is_used_unless_no_proxy_matches(
    no_proxy: str, used: bool, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer([Act(FLOW)]) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", no_proxy)
        monkeypatch.setattr(socket, "getaddrinfo", _only(proxy.address))
        with contextlib.nullcontext() if used else pytest.raises(ViNetworkError):
            ask(GET, settings_for(ENDPOINT, allow_http=True))
    assert len(proxy.received) == used


def _only(address: str) -> Callable[..., Any]:
    """Resolve nothing but the address itself."""
    real, host = socket.getaddrinfo, address.partition(":")[0]

    def resolve(name: Any, *args: Any, **kwargs: Any) -> Any:
        if name != host:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(name, *args, **kwargs)

    return resolve


def test_loopback_is_not_called_through_the_environments_proxy(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer() as proxy, ScriptedServer([Act(FLOW)]) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert ask(GET, settings_for(server.url)).flow_id == FLOW_ID
    assert proxy.received == []


def test_an_unreachable_proxy_is_named_and_retried(ask: Ask, unused_port: int) -> None:
    error = failure(ask, UPDATE, through(f"http://me:hunter2@127.0.0.1:{unused_port}"))
    assert type(error) is ViNetworkError
    assert "the proxy refused the connection: Connect" in str(error)
    assert "hunter2" not in str(error)
    assert error.attempts == 4


def test_a_proxy_whose_name_does_not_resolve_is_named(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", _only("127.0.0.1"))
    error = failure(ask, UPDATE, through("http://proxy.invalid:3128"))
    assert type(error) is ViNetworkError
    assert "the proxy refused the connection" in str(error)
    assert "(proxy.invalid:3128)" in str(error)
    assert error.attempts == 4


def test_a_proxy_that_requires_credentials_is_named(ask: Ask) -> None:
    with ScriptedServer([Act(http_bytes(407))]) as proxy:
        error = failure(ask, GET, settings_for("https://vi.example", proxy=proxy.url, max_retries=0))
    assert type(error) is ViNetworkError
    assert "the proxy refused the connection" in str(error)
    (request,) = proxy.received
    assert (request.method, request.target) == ("CONNECT", "vi.example:443")
    assert request.header("Authorization") is None


@pytest.mark.parametrize("status", [100, 103])
def test_a_proxy_that_sends_many_informational_responses_is_refused(status: int, ask: Ask) -> None:
    with ScriptedServer([Act(b"HTTP/1.1 %d X\r\n\r\n" % status * 101 + http_bytes(200), After.HANG)]) as proxy:
        error = failure(ask, GET, settings_for("https://vi.example", proxy=proxy.url, max_retries=0, retry_budget=30))
    assert "the response is not valid HTTP" in str(error)


@pytest.mark.parametrize("after", [After.CLOSE, After.RESET], ids=["closed", "reset"])
def test_an_update_lost_by_a_proxy_is_not_repeated(after: After, ask: Ask) -> None:
    with ScriptedServer([Act(after=after), Act(FLOW)]) as proxy:
        error = failure(ask, UPDATE, through(proxy.url))
    assert type(error) is ViNetworkError
    assert (error.attempts, len(proxy.received)) == (1, 1)


@pytest.mark.parametrize("after", [After.CLOSE, After.RESET], ids=["closed", "reset"])
def test_a_delete_lost_by_a_proxy_may_have_been_applied(after: After, ask: Ask) -> None:
    with ScriptedServer([Act(after=after), Act(NOT_FOUND)]) as proxy:
        gone = ask(DELETE, through(proxy.url))
    assert (gone.deleted, gone.already_absent) == (True, False)


# --- a server that never ends --------------------------------------------------------------------------------------


def test_an_endless_header_ends_at_the_deadline(ask: Ask) -> None:
    with dripping(b"HTTP/1.1 200 OK\r\nX-Drip: ", b"x") as endpoint:
        error = failure(ask, GET, settings_for(endpoint, retry_budget=0.3))
    assert type(error) is ViTimeoutError
    assert "no complete response in time" in str(error)
    assert error.attempts == 1


# --- connections ---------------------------------------------------------------------------------------------------


KEPT = Act(http_bytes(200, wire_bytes(wire_flow()), keep=True), After.KEEP)
LARGE = Act(http_bytes(200, b"x" * 5_000_000, keep=True), After.KEEP)


def _calls_of_a_client(settings: ViSettings, *, close_after: int) -> list[str]:
    vi = ViClient(settings)
    found = []
    for number in range(1, 4):
        try:
            found.append(vi.get_flow(FLOW_ID).flow_id)
        except ViError as error:
            found.append(type(error).__name__)
        if number == close_after:
            vi.close()
    vi.close()
    return found


def _calls_of_an_async_client(settings: ViSettings, *, close_after: int) -> list[str]:
    async def run() -> list[str]:
        vi = AsyncViClient(settings)
        found = []
        for number in range(1, 4):
            try:
                found.append((await vi.get_flow(FLOW_ID)).flow_id)
            except ViError as error:
                found.append(type(error).__name__)
            if number == close_after:
                await vi.close()
        await vi.close()
        return found

    return asyncio.run(run())


@pytest.fixture(params=[_calls_of_a_client, _calls_of_an_async_client], ids=["ViClient", "AsyncViClient"])
def three_calls(request: pytest.FixtureRequest) -> Callable[..., list[str]]:
    found: Callable[..., list[str]] = request.param
    return found


def test_calls_share_a_connection_that_the_server_keeps_open(three_calls: Callable[..., list[str]]) -> None:
    with ScriptedServer([KEPT] * 3) as server:
        assert three_calls(settings_for(server.url), close_after=3) == [FLOW_ID] * 3
    assert (len(server.received), server.connections) == (3, 1)


def test_informational_responses_are_counted_per_response(three_calls: Callable[..., list[str]]) -> None:
    kept = Act(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 60 + KEPT.send, After.KEEP)
    with ScriptedServer([kept] * 3) as server:
        assert three_calls(settings_for(server.url), close_after=3) == [FLOW_ID] * 3
    assert server.connections == 1


def test_a_closed_client_has_closed_its_connection(three_calls: Callable[..., list[str]]) -> None:
    with ScriptedServer([KEPT] * 3) as server:
        three_calls(settings_for(server.url), close_after=2)
    assert (len(server.received), server.connections) == (3, 2)


def test_a_partly_read_response_does_not_spoil_the_next(
    three_calls: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "MAX_RESPONSE_BYTES", 50_000)
    with ScriptedServer([KEPT, LARGE, KEPT]) as server:
        found = three_calls(settings_for(server.url), close_after=3)
    assert found == [FLOW_ID, "ViResponseError", FLOW_ID]
    assert server.connections == 2


@pytest.mark.parametrize(
    "handled",
    [socket.gaierror(socket.EAI_NONAME, "no such name"), ConnectionRefusedError(111, "Connection refused")],
    ids=lambda error: type(error).__name__,
)
def test_an_outer_exception_is_not_part_of_the_failure(handled: Exception, ask: Ask) -> None:
    with ScriptedServer([Act(after=After.RESET), Act(FLOW)]) as server:
        try:
            raise handled
        except OSError:
            error = failure(ask, UPDATE, settings_for(server.url))
    assert "the connection broke before the response was complete" in str(error)
    assert len(server.received) == 1, "the update was sent twice"
