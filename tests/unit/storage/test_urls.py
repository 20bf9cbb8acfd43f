"""A destination means the same wherever a worker runs, and carries no secret."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.audit.support import attached_memory
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.storage import urls
from vi_airflow_provider.storage.places import refuse_secrets
from vi_airflow_provider.storage.safe_text import redacted
from vi_airflow_provider.storage.url_secrets import url_secrets
from vi_airflow_provider.storage.urls import resolve_destination


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "neither a URL nor an absolute path"),
        ("None", "neither a URL nor an absolute path"),
        (" ", "neither a URL nor an absolute path"),
        (None, "neither a URL nor an absolute path"),
        (5, "neither a URL nor an absolute path"),
        ("archive", "neither a URL nor an absolute path"),
        ("./archive", "neither a URL nor an absolute path"),
        ("../archive", "neither a URL nor an absolute path"),
        ("~/archive", "neither a URL nor an absolute path"),
        ("//", "neither a URL nor an absolute path"),
        ("//archive", "neither a URL nor an absolute path"),
        ("file:archive", "neither a URL nor an absolute path"),
        ("file:/archive", "neither a URL nor an absolute path"),
        ("file://archive", "three slashes"),
        ("file://./archive", "three slashes"),
        ("file://~/archive", "three slashes"),
        ("file://localhost/archive", "three slashes"),
        ("file:////archive", "three slashes"),
        ("FILE://archive", "three slashes"),
        ("local://archive", "three slashes"),
        ("file://", "three slashes"),
        ("file:///archive?", "would be read as '/archive'"),
        ("s3:///key", "names no bucket"),
        ("s3://", "names no bucket"),
        ("s3://my_conn@/key", "names no bucket"),
        ("memory://bucket/folder//", "ends with an empty part"),
        ("nowhere://x/y", "cannot be used"),
        ("simplecache::file:///x", "cannot be used"),
    ],
)
def test_place_that_is_not_absolute_is_refused(value: Any, words: str) -> None:
    with pytest.raises(ViValidationError, match=f"archive_to: .*{words}"):
        resolve_destination("archive_to", value)


@given(st.text(st.sampled_from("/.~ax:\\?#[]*% "), max_size=12), st.sampled_from(["", "file:", "file://", "local://"]))
@example("//", "")
@example("//x", "")
@example("/", "file://")
def test_working_directory_never_decides(text: str, scheme: str) -> None:
    """Whatever is accepted is the same place from another folder, and does not lie in the working directory."""
    try:
        here = resolve_destination("destination", scheme + text)
    except ViValidationError:
        return
    assert os.path.normpath(here.path) == os.path.normpath(text)
    assert not here.path.startswith(str(Path.cwd()))


@pytest.mark.parametrize("value", ["/audit/x", "file:///audit/x", "/a[1]*/x", "/a/../b", "memory://bucket/a//x"])
def test_absolute_place_is_accepted(value: str) -> None:
    with attached_memory():
        assert str(resolve_destination("destination", value)).rstrip("/").endswith(value.rpartition("/")[2])


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("s3://my_conn@bucket/a//x", "bucket/a//x"),
        ("s3://bucket", "bucket"),
        ("s3://bucket/a@/x", "bucket/a@/x"),
        ("abfs://container@account.dfs.core.windows.net/x", "x"),
        ("sftp://my_conn@host/x", "/x"),
        ("hdfs://namenode:8020/x", "/x"),
    ],
)
def test_host_and_connection_need_not_be_in_the_path(value: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place: Any = SimpleNamespace(path=path, fs=None)
    monkeypatch.setattr(urls, "ObjectStoragePath", lambda _: place)
    assert resolve_destination("destination", value) is place


def test_storage_that_is_not_installed_is_named_with_its_extra() -> None:
    with pytest.raises(ViValidationError, match=r"install vi-airflow-provider\[azure\]"):
        resolve_destination("destination", "abfs://container/x")


# --- secrets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("s3://KEY:secret@bucket/x", "secret"),
        ("s3://KEY:secret/with/slash@bucket/x", "secret/with/slash"),
        ("s3://KEY:12/34@bucket/x", "12/34"),
        ("s3://KEY:p@ss@bucket", "p@ss"),
        ("s3://:secret@bucket", "secret"),
        ("sftp://user:p?w#d@host/x", "p?w#d"),
        ("hdfs://user:hunter2@host:8020/x", "hunter2"),
        ("sftp://user:12345@host/x", "12345"),
        ("https://host/x?X-Amz-Signature=abc123&y=1", "abc123"),
        ("abfs://x/y?sv=1&sig=abc123", "abc123"),
    ],
)
def test_secret_in_a_url_is_found_refused_and_not_shown(url: str, secret: str) -> None:
    assert secret in url_secrets(url)
    with pytest.raises(ViValidationError, match="carries a password or a signature") as caught:
        refuse_secrets("destination", url)
    assert secret not in str(caught.value)


@pytest.mark.parametrize("place", ["s3:/AKIA:SECRETPW@bucket/x", "AKIA:SECRETPW@bucket/x"])
def test_password_in_a_malformed_url_is_not_shown(place: str) -> None:
    with pytest.raises(ViValidationError, match=r"'\*\*\*@bucket/x' is neither a URL") as caught:
        resolve_destination("archive_to", place)
    assert "SECRETPW" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        r'{"url":"https://b/k?v=1\u0026X-Amz-Signature=SECRETPW\u0026x=1"}',
        r'{"url":"https://b/k?v\u003d1\u0026sig\u003dSECRETPW"}',
        "https://b/k?v=1&amp;X-Goog-Signature=SECRETPW&amp;x=1",
        "next=https%3A%2F%2Fb%2Fk%3Fv%3D1%26X-Amz-Security-Token%3DSECRETPW%26x%3D1",
        '{"X-Amz-Signature": "SECRETPW"}',
        r"{\"X-Amz-Credential\": \"SECRETPW\"}",
        "params={'x-goog-signature': 'SECRETPW', 'x': 1}",
        "('X-Amz-Security-Token', 'SECRETPW')",
    ],
)
def test_secret_of_an_escaped_url_is_redacted(text: str) -> None:
    assert "SECRETPW" not in redacted(text)


def test_secret_is_masked_as_written_and_decoded() -> None:
    assert url_secrets("s3://KEY:p%2Fss@bucket") == ["p%2Fss", "p/ss"]


@pytest.mark.parametrize(
    "url",
    [
        "s3://my_conn@bucket/key",
        "s3://bucket/a:b@c",
        "s3://my_conn@bucket/a:b@c",
        "hdfs://namenode:8020/x@y",
        "file:///a:b@c",
        "/a:b@c",
        "Mail me@example.com: see https://example.com",
    ],
)
def test_url_without_a_secret_is_accepted(url: str) -> None:
    assert url_secrets(url) == []
