"""Downloads: what a response means, and what is sent to a storage host and what is not."""

from __future__ import annotations

import errno
import logging
import time
import traceback
from types import SimpleNamespace
from typing import Any, Final

import pytest

from tests.documents import ORGANIZATION_ID, SECRET_KEY
from tests.dripping_server import dripping
from tests.scripted_server import Act, After, ScriptedServer, http_bytes
from vi_airflow_provider.api.errors import (
    ViError,
    ViNetworkError,
    ViRateLimitError,
    ViResponseError,
    ViServerError,
    ViTimeoutError,
)
from vi_airflow_provider.api.protocol.download import (
    Begin,
    ContentVersion,
    Decision,
    Held,
    Later,
    Redirect,
    Refuse,
    Renew,
    StartOver,
    judge,
    request_headers,
)
from vi_airflow_provider.api.settings import Secret, ViSettings
from vi_airflow_provider.api.transport import deadlines, download
from vi_airflow_provider.api.transport.download import Downloader

ETAG: Final = '"v1"'
VERSION: Final = ContentVersion(ETAG, 100)
HELD: Final = Held(40, VERSION)
REST: Final = {"content-range": "bytes 40-99/100", "content-length": "60", "etag": ETAG}

# --- what a response means -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "held", "decision"),
    [
        (200, {"content-length": "100", "etag": ETAG}, Held(), Begin(0, 100, VERSION)),
        (200, {"content-length": "100", "etag": ETAG}, HELD, Begin(0, 100, VERSION)),
        (200, {"content-length": "7", "etag": 'W/"v1"'}, Held(), Begin(0, 7, ContentVersion(None, 7))),
        (200, {"content-length": "7", "etag": "v1"}, Held(), Begin(0, 7, ContentVersion(None, 7))),
        (200, {"transfer-encoding": "chunked"}, Held(), Begin(0, None, ContentVersion(None, None))),
        (200, {"transfer-encoding": "chunked", "etag": ETAG}, Held(), Begin(0, None, ContentVersion(ETAG, None))),
        (
            200,
            {"content-length": "100", "content-encoding": "identity"},
            Held(),
            Begin(0, 100, ContentVersion(None, 100)),
        ),
        (206, REST, HELD, Begin(40, 60, VERSION)),
        (206, {"content-range": "bytes 40-49/100", "etag": ETAG}, HELD, Begin(40, 10, VERSION)),
        (206, {"content-range": "bytes 99-99/100", "etag": ETAG}, Held(99, VERSION), Begin(99, 1, VERSION)),
        (206, {"content-range": "bytes 40-99/100"}, HELD, StartOver()),
        (206, REST | {"content-range": "bytes 41-99/100"}, HELD, StartOver()),
        *(
            (206, {"content-range": f"bytes {part}", "etag": ETAG}, HELD, StartOver())
            for part in ("41-99/100", "39-99/100", "0-99/100", "40-99/101", "40-100/100", "40-39/100")
        ),
        (206, REST | {"content-range": "bytes 0-99/100"}, HELD, StartOver()),
        (206, REST | {"content-range": "bytes 40-100/101"}, HELD, StartOver()),
        (206, REST | {"content-range": "bytes 40-100/100"}, HELD, StartOver()),
        (206, REST | {"content-range": "bytes 40-39/100"}, HELD, StartOver()),
        (206, REST | {"content-range": "bytes 40-99/*"}, HELD, StartOver()),
        (206, REST | {"content-length": "59"}, HELD, StartOver()),
        (206, REST | {"etag": '"v2"'}, HELD, StartOver()),
        (206, {"content-type": "multipart/byteranges; boundary=x"}, HELD, StartOver()),
        (416, {}, HELD, StartOver()),
        (302, {"location": "/x"}, Held(), Redirect(Secret("/x"))),
        *((status, {}, HELD, Renew()) for status in (400, 401, 403, 404, 410)),
        *((status, {}, HELD, Later()) for status in (408, 429, 500, 503, 599)),
    ],
)
def test_response_is_used_only_if_it_is_what_is_missing(
    status: int, headers: dict[str, str], held: Held, decision: Decision
) -> None:
    assert judge(status, headers, held) == decision


@pytest.mark.parametrize(
    ("status", "headers", "held"),
    [
        (200, {}, Held()),
        (200, {"content-length": "-5"}, Held()),
        (200, {"content-length": "5", "content-encoding": "gzip"}, Held()),
        (206, REST | {"content-encoding": "br"}, HELD),
        (200, {"content-length": "5", "content-type": "text/html; charset=utf-8"}, Held()),
        (206, REST | {"content-type": "Text/HTML"}, HELD),
        (206, {"content-range": "bytes 0-99/100"}, Held()),
        (204, {}, Held()),
        (600, {}, Held()),
        (302, {}, Held()),
        (304, {}, HELD),
        (416, {}, Held()),
        (418, {}, Held()),
    ],
)
def test_unusable_response_is_refused(status: int, headers: dict[str, str], held: Held) -> None:
    assert isinstance(judge(status, headers, held), Refuse)


@pytest.mark.parametrize(
    ("held", "sent"),
    [
        (Held(), None),
        (Held(0, VERSION), None),
        (HELD, ("bytes=40-", ETAG)),
        (Held(40, ContentVersion(None, 100)), None),
        (Held(40, ContentVersion(ETAG, None)), None),
        (Held(100, VERSION), None),
    ],
)
def test_rest_is_requested_only_of_a_known_version(held: Held, sent: tuple[str, str] | None) -> None:
    headers = request_headers(held, "agent")
    rest = {} if sent is None else {"Range": sent[0], "If-Range": sent[1]}
    assert headers == {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "agent", **rest}


# --- over sockets --------------------------------------------------------------------------------------------------


class Memory:
    """A sink that keeps the content."""

    def __init__(self, content: bytes = b"", version: ContentVersion | None = None) -> None:
        self.content = bytearray(content)
        self._version = version
        self._buffer = memoryview(bytearray(64))

    @property
    def held(self) -> Held:
        return Held(len(self.content), self._version)

    def begin(self, version: ContentVersion) -> None:
        self.content.clear()
        self._version = version

    def buffer(self) -> memoryview:
        return self._buffer

    def write(self, count: int) -> None:
        self.content += self._buffer[:count]


CONTENT: Final = bytes(range(256)) * 4
TAG: Final = ("ETag", ETAG)


def settings(**changes: Any) -> ViSettings:
    changes = {"max_retries": 1, "max_rate_limit_retries": 1, "connect_timeout": 5, "read_timeout": 5, **changes}
    return ViSettings(organization_id=ORGANIZATION_ID, secret_key=SECRET_KEY, **changes)


def downloaded(server: ScriptedServer, sink: Memory | None = None, **changes: Any) -> bytes:
    sink = sink or Memory()

    def pause(_: float) -> None:
        server.pause()

    url = Secret(f"{server.url}/a b?X-Amz-Signature=s3cr3t&x=%2F#part")
    Downloader(settings(**changes), sleep=pause).download(lambda: url, sink)
    return bytes(sink.content)


def rest(start: int, **options: Any) -> bytes:
    extra = [("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"), TAG]
    return http_bytes(206, CONTENT[start:], extra, **options)


def test_request_has_no_credentials_and_the_url_as_it_is() -> None:
    with ScriptedServer([Act(http_bytes(200, CONTENT, [TAG]))]) as server:
        assert downloaded(server) == CONTENT
    (request,) = server.received
    assert request.target == "/a%20b?X-Amz-Signature=s3cr3t&x=%2F"
    assert {name.lower() for name, _ in request.headers} == {"host", "accept", "accept-encoding", "user-agent"}
    assert SECRET_KEY not in str(request)


def test_redirect_is_followed_without_cookies() -> None:
    with ScriptedServer([Act(http_bytes(200, CONTENT))]) as other:
        moved = http_bytes(302, b"x" * 99, [("Location", f"{other.url}/b?sig=s3cr3t"), ("Set-Cookie", "a=b")])
        with ScriptedServer([Act(moved)]) as server:
            assert downloaded(server) == CONTENT
    (request,) = other.received
    assert request.target == "/b?sig=s3cr3t"
    assert {name.lower() for name, _ in request.headers} == {"host", "accept", "accept-encoding", "user-agent"}


def test_proxy_of_the_connection_is_used() -> None:
    with ScriptedServer([Act(http_bytes(200, CONTENT))]) as proxy:
        url = Secret("http://storage.invalid/a?sig=s3cr3t")
        sink = Memory()
        chosen = settings(proxy=proxy.url.replace("//", "//user:pass@"), allow_http=True)
        Downloader(chosen).download(lambda: url, sink)
    assert sink.content == CONTENT
    (request,) = proxy.received
    assert request.target == url
    assert request.header("Proxy-Authorization") is not None
    assert request.header("Authorization") is None


def test_chunked_content_is_read_to_its_end() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"".join(b"%x\r\n%b\r\n" % (100, CONTENT[at : at + 100]) for at in range(0, 1000, 100))
    with ScriptedServer([Act(head + body), Act(head + body + b"0\r\n\r\n")]) as server:
        assert downloaded(server) == CONTENT[:1000]
    assert len(server.received) == 2


@pytest.mark.parametrize("missing", [1, 1000])
def test_truncated_content_is_continued(missing: int) -> None:
    acts = [Act(http_bytes(200, CONTENT[:500], [TAG], missing=524)), Act(rest(500))]
    with ScriptedServer(acts) as server:
        assert downloaded(server) == CONTENT
    assert server.received[1].header("Range") == "bytes=500-"
    assert server.received[1].header("If-Range") == ETAG


def test_wrong_part_is_not_appended() -> None:
    acts = [
        Act(http_bytes(200, CONTENT[:500], [TAG], missing=524)),
        Act(rest(499)),
        Act(http_bytes(200, CONTENT, [TAG])),
    ]
    with ScriptedServer(acts) as server:
        assert downloaded(server) == CONTENT
    assert [request.header("Range") for request in server.received] == [None, "bytes=500-", None]


def test_changed_content_of_a_host_without_if_range_is_not_mixed_in() -> None:
    changed = bytes(reversed(CONTENT))
    part = http_bytes(206, changed[500:], [("Content-Range", f"bytes 500-{len(CONTENT) - 1}/{len(CONTENT)}")])
    acts = [
        Act(http_bytes(200, CONTENT[:500], [TAG], missing=524)),
        Act(part),
        Act(http_bytes(200, changed, [TAG])),
    ]
    with ScriptedServer(acts) as server:
        assert downloaded(server) == changed


@pytest.mark.parametrize(
    "response", [http_bytes(200), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
)
def test_empty_content_is_refused(response: bytes) -> None:
    with ScriptedServer([Act(response)]) as server, pytest.raises(ViResponseError, match="the content is empty"):
        downloaded(server)


def test_content_that_is_there_is_not_requested() -> None:
    def no_url() -> Secret:
        raise AssertionError("requested")

    Downloader(settings()).download(no_url, Memory(CONTENT, ContentVersion(ETAG, len(CONTENT))))


HTTP_10: Final = b'HTTP/1.0 200 OK\r\nETag: "a"\r\n\r\n' + CONTENT
FAILURES: Final[list[tuple[str, list[Act], type[ViError], str]]] = [
    ("no length", [Act(HTTP_10)], ViResponseError, "does not indicate where the content ends"),
    ("compressed", [Act(http_bytes(200, b"x", [("Content-Encoding", "gzip")]))], ViResponseError, "encoded as 'gzip'"),
    ("busy", [Act(http_bytes(503))] * 2, ViServerError, "503"),
    ("limited", [Act(http_bytes(429))] * 2, ViRateLimitError, "429"),
    ("rejected", [Act(http_bytes(403))] * 3, ViNetworkError, "rejects new URLs: 403"),
    ("reset", [Act(b"", After.RESET)] * 2, ViNetworkError, "broke"),
    ("not HTTP", [Act(b"220 ftp\r\n")] * 2, ViError, "download from 127.0.0.1"),
    ("silent", [Act(http_bytes(200, b"x", missing=9), After.HANG)] * 2, ViTimeoutError, "still arriving"),
    ("in circles", [Act(http_bytes(302, b"", [("Location", "/x?sig=s3cr3t")]))] * 6, ViResponseError, "5 redirects"),
    (
        "to plain HTTP",
        [Act(http_bytes(302, b"", [("Location", "http://h.invalid/x?sig=s3cr3t")]))],
        ViError,
        "by plain",
    ),
    ("to a file", [Act(http_bytes(302, b"", [("Location", "file:///x?sig=s3cr3t")]))], ViError, "not an http"),
    ("to nowhere", [Act(http_bytes(302, b"", [("Location", "http://[x?sig=s3cr3t")]))], ViError, "invalid URL"),
]


@pytest.mark.parametrize(("acts", "kind", "message"), [f[1:] for f in FAILURES], ids=[f[0] for f in FAILURES])
def test_failure_is_an_error_without_the_url(
    acts: list[Act], kind: type[ViError], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with ScriptedServer(acts) as server, pytest.raises(kind, match=message) as caught:
        downloaded(server, read_timeout=0.2 if kind is ViTimeoutError else 30.0)
    own = caught.value.__traceback__
    while own is not None and own.tb_frame.f_globals["__name__"] == __name__:
        own = own.tb_next
    error = caught.value.with_traceback(own)
    shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "s3cr3t" not in shown
    assert "s3cr3t" not in caplog.text
    assert len(server.received) == len(acts)


CHUNK: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"


@pytest.mark.parametrize(
    ("first", "drop", "received"),
    [
        (b"HTTP/1.1 20", b"0", b""),
        (b"HTTP/1.1 200 OK\r\nX-Drip: ", b"x", b""),
        (b"HTTP/1.1 302 Found\r\n", b"X-Drip: x\r\n", b""),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", b""),
        (CHUNK + b"5;", b"x", b"hello"),
        (CHUNK + b"0\r\n", b"X-Drip: x\r\n", b"hello"),
    ],
    ids=["status", "header", "headers", "informational", "extension", "trailers"],
)
def test_host_that_drips_anything_but_content_is_given_up(first: bytes, drop: bytes, received: bytes) -> None:
    sink = Memory()
    budget = 1.5 if received else 0.3
    with dripping(first, drop) as url, pytest.raises(ViTimeoutError, match="download from 127"):
        Downloader(settings(retry_budget=budget), sleep=lambda _: None).download(lambda: Secret(url), sink)
    assert sink.content == received


def test_slow_content_is_read_beyond_the_retry_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    late = [0.0]
    for module in (deadlines, download):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + late[0]))

    class Slow(Memory):
        def write(self, count: int) -> None:
            super().write(count)
            late[0] += 20

    with ScriptedServer([Act(http_bytes(200, CONTENT))]) as server:
        assert downloaded(server, Slow(), retry_budget=30) == CONTENT
    assert late[0] > 30


def test_full_disk_is_no_failure_of_the_network() -> None:
    class FullDisk(Memory):
        def write(self, count: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    with ScriptedServer([Act(http_bytes(200, CONTENT))]) as server, pytest.raises(OSError, match="No space"):
        downloaded(server, FullDisk())


def test_library_logs_its_other_requests(caplog: pytest.LogCaptureFixture) -> None:
    with ScriptedServer([Act(http_bytes(200, CONTENT))]) as server:
        downloaded(server)
    caplog.set_level(logging.DEBUG)
    logging.getLogger("urllib3.connectionpool").debug("another request")
    assert "another request" in caplog.text
