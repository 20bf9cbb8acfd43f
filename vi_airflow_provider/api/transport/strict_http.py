"""Which responses count as HTTP/1.1: one rule for both clients, which refuse the rest in the same way.

Python's HTTP client accepts much that aiohttp's parser refuses: two framings of one body, blanks in a header's name,
signs and underscores in a length. Between two parsers that disagree about where a response ends, the next one on the
connection is not what it seems. So the blocking client checks the head as it was received, and aiohttp's few
exceptions are refused as well.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Sequence
from typing import Any, Final

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] [1-9]\d\d( [^\x00\r\n]*)?\r?\n")
_HEADER_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+:|[ \t])[^\x00\r\n]*\r?\n")  # or its continuation
_LENGTH: Final = re.compile(r"\d{1,18}", re.ASCII)
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(rb"[^\x00\r\n]*")
_MAX_HEADERS: Final = 100
#: The size of a chunk, with its extensions.
CHUNK_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,16}[ \t]*(;[^\x00\r\n]*)?\r\n")


class MalformedResponseError(http.client.HTTPException):
    """The response is not valid HTTP/1.1."""


class Head:
    """A stream that remembers the lines read from it, which the library's parser does not keep."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._lines: list[bytes] = []

    def readline(self, limit: int = -1) -> bytes:
        """Read a line; blank lines before the status line are skipped, as RFC 9112 section 2.2 advises."""
        line: bytes = self.stream.readline(limit)
        while not self._lines and line in (b"\r\n", b"\n"):
            line = self.stream.readline(limit)
        self._lines.append(line)
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def check(self) -> None:
        """Check the lines of the heads that were read: of informational responses and of the final one.

        :raises MalformedResponseError: a line is not valid
        """
        expected = _STATUS_LINE
        for line in self._lines:
            if expected is _HEADER_LINE and line in (b"\r\n", b"\n"):
                expected = _STATUS_LINE
            elif expected.fullmatch(line):
                expected = _HEADER_LINE
            else:
                raise MalformedResponseError("a line of the head is not valid")


def check_framing(status: int, lengths: Sequence[str], codings: Sequence[str]) -> None:
    """Check that a response defines once where its body ends.

    :param lengths: the values of ``Content-Length``
    :param codings: the values of ``Transfer-Encoding``
    :raises MalformedResponseError: it does so twice, or in an undefined way
    """
    if lengths and codings:
        raise MalformedResponseError("the body has a length and a transfer coding")
    if lengths and (len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0].strip())):
        raise MalformedResponseError("the length of the body is not valid")
    if codings and (len(codings) > 1 or codings[0].strip().lower() != "chunked"):
        raise MalformedResponseError("the transfer coding is not supported")
    if status == 204 and (codings or (lengths and int(lengths[0]))):
        raise MalformedResponseError("a response without content has a body")


def check_headers(headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Check headers as aiohttp has read them: what it accepts depends on its version.

    :raises MalformedResponseError: there are more than ``http.client`` accepts, or one is not valid
    """
    if len(headers) > _MAX_HEADERS:
        raise MalformedResponseError(f"there are more than {_MAX_HEADERS} headers")
    if not all(_TOKEN.fullmatch(name) and _VALUE.fullmatch(value) for name, value in headers):
        raise MalformedResponseError("a header is not valid")
