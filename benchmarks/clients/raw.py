"""The upper limit: a socket that reads the bytes of each page without parsing them. No client can be faster."""

from __future__ import annotations

import os
import re
import socket
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from benchmarks.flows import ORGANIZATION_ID

if TYPE_CHECKING:
    from collections.abc import Callable

_LENGTH: Final = re.compile(rb"Content-Length: (\d+)")
_CURSOR: Final = re.compile(rb'"nextPage":"(\d+)"')
_TAIL: Final = 64  # bytes at the end of a page that contain the cursor


def list_pages(page_size: int) -> Callable[[], Any]:
    """Read page after page into one buffer."""
    url = urlsplit(os.environ["BENCHMARK_URL"])
    connection = socket.create_connection((url.hostname, url.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = memoryview(bytearray(1 << 24))
    request = "GET /workspaces/{}/flows?s={}&p={} HTTP/1.1\r\nHost: vi\r\n\r\n"

    def read(cursor: str) -> bytes:
        connection.sendall(request.format(ORGANIZATION_ID, page_size, cursor).encode())
        received = wanted = 0
        while not wanted or received < wanted:
            received += connection.recv_into(buffer[received:])
            if not wanted and (end := bytes(buffer[:512]).find(b"\r\n\r\n")) >= 0:
                length = _LENGTH.search(buffer[:end])
                wanted = end + 4 + int(length[1] if length else 0)
        return bytes(buffer[max(0, received - _TAIL) : received])

    def run() -> dict[str, int]:
        pages, found = 1, _CURSOR.search(read(""))
        while found:
            pages, found = pages + 1, _CURSOR.search(read(found[1].decode()))
        return {"pages_read": pages}

    return run
