"""How both clients report failures of DNS, TCP, TLS and proxies, on real loopback sockets."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.documents import FLOW_ID, ORGANIZATION_ID, SECRET_KEY, wire_bytes, wire_flow
from tests.scripted_server import Act, After, ScriptedServer, http_bytes
from tests.transports import CREATE, DELETE, GET, UPDATE, Call, settings_for
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.errors import ViCertificateError, ViError, ViNetworkError, ViTimeoutError
from vi_airflow_provider.api.protocol import exchange
from vi_airflow_provider.api.settings import ViSettings

FLOW = http_bytes(200, wire_bytes(wire_flow()))
NOT_FOUND = http_bytes(404)

Ask = Callable[[Call, ViSettings], Any]


def _ask_client(call: Call, settings: ViSettings) -> Any:
    with ViClient(settings, sleep=lambda _: None) as vi:
        return call.ask(vi)


def _ask_async_client(call: Call, settings: ViSettings) -> Any:
    async def no_sleep(_: float) -> None:
        pass

    async def run() -> Any:
        async with AsyncViClient(settings, sleep=no_sleep) as vi:
            return await call.ask(vi)

    return asyncio.run(run())


@pytest.fixture(params=[_ask_client, _ask_async_client], ids=["ViClient", "AsyncViClient"])
def ask(request: pytest.FixtureRequest) -> Ask:
    found: Ask = request.param
    return found


@pytest.fixture
def unused_port() -> Iterator[int]:
    with socket.socket() as bound:  # bound and not listening: it refuses, and no other process gets it
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def failure(ask: Ask, call: Call, settings: ViSettings) -> ViError:
    with pytest.raises(ViError) as caught:
        ask(call, settings)
    return caught.value


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


# --- TLS -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2099, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    pem = serialization.Encoding.PEM
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    return path


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[ScriptedServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ScriptedServer([Act(FLOW)], tls=context) as server:
        yield server


@pytest.mark.parametrize("call", [GET, UPDATE], ids=lambda call: call.name)
def test_an_untrusted_certificate_is_not_retried(call: Call, ask: Ask, tls_server: ScriptedServer) -> None:
    error = failure(ask, call, settings_for(tls_server.url, verify=True))
    assert type(error) is ViCertificateError
    assert "the server's TLS certificate is not trusted: self-signed certificate" in str(error)
    assert (error.attempts, tls_server.received) == (1, [])


def test_the_certificate_of_verify_is_trusted(ask: Ask, tls_server: ScriptedServer, certificate: Path) -> None:
    assert ask(GET, settings_for(tls_server.url, verify=str(certificate))).flow_id == FLOW_ID


def test_verify_false_trusts_any_certificate(ask: Ask, tls_server: ScriptedServer) -> None:
    assert ask(GET, settings_for(tls_server.url, verify=False)).flow_id == FLOW_ID


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_certificates_that_the_environment_names_are_trusted(
    name: str, ask: Ask, tls_server: ScriptedServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, str(certificate))
    assert ask(GET, settings_for(tls_server.url, verify=True)).flow_id == FLOW_ID


def test_verify_false_is_not_overruled_by_the_environment(
    ask: Ask, tls_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    assert ask(GET, settings_for(tls_server.url, verify=False)).flow_id == FLOW_ID


def test_a_server_without_tls_is_reported(ask: Ask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def speak_first() -> None:
            connection, _ = plain.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.recv(1 << 16)

        server = threading.Thread(target=speak_first)
        server.start()
        error = failure(ask, UPDATE, settings_for(f"https://127.0.0.1:{plain.getsockname()[1]}"))
        server.join()
    assert type(error) is ViNetworkError
    assert re.search(r"no TLS connection to the server: [A-Z_]+ \(", str(error))


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
    given_up = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Drip: ")
                for _ in range(250):  # a client that does not end by itself fails, and does not hang
                    if given_up.wait(0.02):
                        break
                    connection.sendall(b"x")

        server = threading.Thread(target=drip)
        server.start()
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        error = failure(ask, GET, settings_for(endpoint, retry_budget=0.3))
        given_up.set()
        server.join()
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
