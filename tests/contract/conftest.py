"""The vendor's SDK, isolated from the real home directory, and a local S3.

Importing the SDK creates a folder in the home directory, and every client logs there, keys included. So the tests
use a temporary home.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from tests.contract.object_store import BUCKET, keys
from vi_airflow_provider.emulator import Emulator


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("VI_ENABLE_FILE", "false")
        yield importlib.import_module("vi")


@pytest.fixture
def client_of(sdk: ModuleType, vi_emulator: Emulator) -> Iterator[Callable[..., Any]]:
    """Create clients that retry as usual, but without waiting."""
    retry = importlib.import_module("vi.client.http.retry")
    clients = []

    def make(**changes: Any) -> Any:
        credentials = {"secret_key": vi_emulator.secret_key, "organization_id": vi_emulator.organization_id}
        config = retry.RetryConfig(base_delay=0.001, max_delay=0.001)
        client = sdk.Client(**{**credentials, **changes}, endpoint=vi_emulator.url, retry_config=config)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(client_of: Callable[..., Any]) -> Any:
    return client_of()


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """A moto server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An S3 client; the bucket exists and is empty."""
    import boto3  # type: ignore[import-untyped]

    extra = {"endpoint_url": s3_endpoint, "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "testing", "password": "testing", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_ARCHIVE_STORE", json.dumps(connection))
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    client = boto3.client("s3", aws_access_key_id="testing", aws_secret_access_key="testing", **extra)
    client.create_bucket(Bucket=BUCKET)
    yield client
    for key in keys(client):
        client.delete_object(Bucket=BUCKET, Key=key)
    client.delete_bucket(Bucket=BUCKET)
