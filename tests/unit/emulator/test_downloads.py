"""Pre-signed downloads: parts, versions, interruptions, and sizes beyond any memory."""

from __future__ import annotations

import hashlib
import http.client
from collections.abc import Iterator
from typing import Any

import pytest

from tests.documents import wire_spec
from tests.unit.emulator.support import Client, Response
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.emulator.store.weights import BLOCK, Weights

SIZE = 3 * BLOCK + 5


@pytest.fixture
def vi() -> Iterator[Emulator]:
    with Emulator(flows=0, run_seconds=1, download_bytes=SIZE) as emulator:
        emulator.store.put_run("r", {"spec": {"flow": wire_spec()}})
        emulator.advance(1)
        yield emulator


class Download:
    """Requests a pre-signed URL."""

    def __init__(self, vi: Emulator) -> None:
        self.api = Client(vi)
        path = "/runs/r/outputs?intent=sdkLocalDeploy&contents=y"
        url = self.api("GET", path).json["items"][-1]["status"]["contents"]["downloadUrl"]["url"]
        self.path = "/" + url.removeprefix(vi.url)

    def __call__(self, **headers: str) -> Response:
        sent: dict[str, Any] = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.api("GET", self.path, headers={"Authorization": None, **sent})


@pytest.fixture
def download(vi: Emulator) -> Download:
    return Download(vi)


@pytest.fixture
def whole(download: Download) -> bytes:
    return download().body


def test_content_has_its_size_and_is_the_same_each_time(vi: Emulator, download: Download, whole: bytes) -> None:
    assert len(whole) == SIZE
    assert download().body == whole
    assert len({whole[at : at + 16] for at in range(0, SIZE, BLOCK)}) == 4
    vi.configure(download_bytes=SIZE + 1)
    assert download().body[: BLOCK - 16] != whole[: BLOCK - 16]


@pytest.mark.parametrize(
    ("sent", "start", "stop"),
    [("bytes=70000-", 70_000, SIZE), ("bytes=0-9", 0, 10), (f"bytes=9-{SIZE + 9}", 9, SIZE)],
)
def test_part_of_a_content_is_sent(download: Download, whole: bytes, sent: str, start: int, stop: int) -> None:
    response = download(Range=sent)
    assert (response.status, response.body) == (206, whole[start:stop])
    assert response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert response.headers["ETag"] == download().headers["ETag"]


@pytest.mark.parametrize("sent", ["bytes=1-2,4-5", "bytes=-5", "lines=1-", "bytes=x-"])
def test_range_that_is_not_understood_is_ignored(download: Download, whole: bytes, sent: str) -> None:
    response = download(Range=sent)
    assert (response.status, response.body) == (200, whole)


def test_range_beyond_the_end_is_refused(download: Download) -> None:
    response = download(Range=f"bytes={SIZE}-")
    assert (response.status, response.headers["Content-Range"]) == (416, f"bytes */{SIZE}")


def test_part_of_another_version_is_not_sent(vi: Emulator, download: Download) -> None:
    etag = download().headers["ETag"]
    assert download(Range="bytes=5-", If_Range=etag).status == 206
    vi.configure(download_bytes=SIZE - 1)
    changed = download(Range="bytes=5-", If_Range=etag)
    assert (changed.status, len(changed.body)) == (200, SIZE - 1)


@pytest.mark.parametrize(("ranges", "status", "etag"), [("no_etag", 206, False), ("none", 200, False)])
def test_host_may_know_no_parts_or_versions(
    vi: Emulator, download: Download, ranges: Any, status: int, etag: bool
) -> None:
    vi.configure(download_ranges=ranges)
    response = download(Range="bytes=5-")
    assert (response.status, "ETag" in response.headers) == (status, etag)


def test_download_breaks_after_the_number_of_bytes(vi: Emulator, download: Download, whole: bytes) -> None:
    vi.configure(download_break=BLOCK + 7)
    with pytest.raises(http.client.IncompleteRead) as caught:
        download()
    assert caught.value.partial == whole[: BLOCK + 7]
    assert download(Range=f"bytes={SIZE - 9}-").body == whole[-9:]


def test_credentials_beside_the_signature_are_refused(download: Download) -> None:
    for name in ("Authorization", "Cookie"):
        assert download(**{name: "x"}).status == 400


def test_content_of_any_size_is_generated_in_pieces() -> None:
    weights = Weights("run/output", 1 << 50)
    (first, *_) = list(weights.read(1 << 49, (1 << 49) + 100))
    assert first[:8] == ((1 << 49) // BLOCK).to_bytes(16, "big")[:8]
    digest = hashlib.sha256()
    for piece in weights.read(0, 10 * BLOCK):
        digest.update(piece)
    assert digest.digest() == hashlib.sha256(b"".join(weights.read(0, 10 * BLOCK))).digest()
