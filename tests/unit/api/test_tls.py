"""How both clients check the certificate of a server, and report one that they do not trust."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.background import in_background
from tests.documents import FLOW_ID
from tests.scripted_server import Act, ScriptedServer
from tests.transports import GET, UPDATE, Call, settings_for
from tests.unit.api.asking import FLOW, Ask, failure
from vi_airflow_provider.api.errors import ViCertificateError, ViNetworkError


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

        with in_background(speak_first):
            error = failure(ask, UPDATE, settings_for(f"https://127.0.0.1:{plain.getsockname()[1]}"))
    assert type(error) is ViNetworkError
    assert re.search(r"no TLS connection to the server: [A-Z_]+ \(", str(error))
