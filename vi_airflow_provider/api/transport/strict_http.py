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
_BLANK: Final = (b"\r\n", b"\n")
_LENGTH: Final = re.compile(r"\d{1,18}", re.ASCII)
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(rb"[^\x00\r\n]*")
_MAX_HEADERS: Final = 100
#: Informational responses in a row: a server could send them without end. Python's own limit in recent versions.
_MAX_INFORMATIONAL: Final = 100
#: The size of a chunk, with its extensions.
CHUNK_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,16}[ \t]*(;[^\x00\r\n]*)?\r\n")


class MalformedResponseError(http.client.HTTPException):
    """The response is not valid HTTP/1.1."""


class Head:
    """A stream whose lines are checked as they are read, because the library's parser does not keep them.

    The head of the final response may follow those of informational ones.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._expected: re.Pattern[bytes] | None = None  # before the first line

    def readline(self, limit: int = -1) -> bytes:
        """Read a line; blank lines before the status line are skipped, as RFC 9112 section 2.2 advises.

        :raises MalformedResponseError: the line is not valid
        """
        line: bytes = self.stream.readline(limit)
        while self._expected is None and line in _BLANK:
            line = self.stream.readline(limit)
        if self._expected is _HEADER_LINE and line in _BLANK:
            self._expected = _STATUS_LINE
        elif line or self._expected is _HEADER_LINE:  # the parser reports a connection that ends before a status line
            if not (self._expected or _STATUS_LINE).fullmatch(line):
                raise MalformedResponseError("a line of the head is not valid")
            self._expected = _HEADER_LINE
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class InformationalResponses:
    """Counts the informational responses (RFC 9110 section 15.2) that precede a final one."""

    def __init__(self) -> None:
        self._count = 0

    def includes(self, status: int) -> bool:
        """Is a response with this status informational, so that another one follows? 101 is final.

        :raises MalformedResponseError: it is one too many
        """
        if not 100 <= status < 200 or status == 101:
            self._count = 0
            return False
        self._count += 1
        if self._count > _MAX_INFORMATIONAL:
            raise MalformedResponseError(f"there are more than {_MAX_INFORMATIONAL} informational responses")
        return True


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
