"""Decode the body of a response: one rule for both clients, whose libraries differ in names, members and errors.

One coding is decoded, of those that the requests accept: gzip, also called x-gzip, and deflate. Any other stays as it
is, and the JSON parser refuses it unless the header is merely wrong.
"""

from __future__ import annotations

import io
import zlib
from typing import Any, Final

_GZIP: Final = 16 + zlib.MAX_WBITS
_WINDOW_BITS: Final[dict[tuple[str, ...], int]] = {("gzip",): _GZIP, ("x-gzip",): _GZIP, ("deflate",): zlib.MAX_WBITS}

#: Bytes that are decoded, or reserved, at a time: a compression bomb is noticed before it is held twice, and memory is
#: taken by what arrives, not by the length that a server claims.
_PIECE: Final = 1 << 20


class TooLargeError(Exception):
    """The decoded body is larger than the limit."""


class Body:
    """Collects and decodes the chunks of a body, up to a limit.

    :param coding: value of ``Content-Encoding``
    :param max_bytes: limit of the decoded bytes
    :param length: value of ``Content-Length``, empty without one
    """

    def __init__(self, coding: str, max_bytes: int, length: str = "") -> None:
        names = (name.strip() for name in coding.lower().split(","))
        self._window_bits = _WINDOW_BITS.get(tuple(name for name in names if name not in ("", "identity")))
        self._max_bytes = max_bytes
        self._content = io.BytesIO()
        is_plain = self._window_bits is None and length.isdecimal()
        self._length = min(int(length[:12]), max_bytes) if is_plain else 0  # a claim of the server
        self._reserved = 0
        self._member: Any = None  # of a gzip body, which may have several

    def add(self, chunk: bytes) -> None:
        """Add a chunk.

        :raises TooLargeError: the decoded body exceeds the limit
        :raises zlib.error: the chunk cannot be decoded
        """
        if self._window_bits is None:
            self._reserve(len(chunk))
            self._content.write(chunk)
            chunk = b""
        more = bool(chunk)
        while more and self._content.tell() <= self._max_bytes:
            if self._member is None or self._member.eof:
                self._member = zlib.decompressobj(self._bits_of_member(chunk, self._window_bits or 0))
            piece = self._member.decompress(chunk, _PIECE)
            self._content.write(piece)
            chunk = self._member.unconsumed_tail or self._member.unused_data
            more = bool(chunk) or (
                len(piece) == _PIECE and not self._member.eof
            )  # zlib may hold more than it was given
        if self._content.tell() > self._max_bytes:
            raise TooLargeError(f"more than {self._max_bytes:,} bytes")

    def _reserve(self, size: int) -> None:
        """Grow the buffer in a few large steps, of which each is at most ``_PIECE`` ahead of what has arrived."""
        start = self._content.tell()
        if self._reserved < start + size <= self._length:
            self._reserved = min(start + max(size, _PIECE), self._length)
            self._content.seek(self._reserved - 1)
            self._content.write(b"\0")
            self._content.seek(start)

    def _bits_of_member(self, chunk: bytes, window_bits: int) -> int:
        if self._member is not None and (window_bits != _GZIP or chunk[:1] != b"\x1f"):
            raise zlib.error("data follows the compressed body")
        # Servers disagree about what deflate means. zlib's header begins with 8, a raw stream practically never.
        is_raw = window_bits == zlib.MAX_WBITS and chunk[0] & 0x0F != 8
        return -window_bits if is_raw else window_bits

    def decoded(self) -> bytes:
        """Return the decoded body.

        :raises zlib.error: the compressed data is incomplete
        """
        if self._member is not None and not self._member.eof:
            raise zlib.error("the compressed body is incomplete")
        self._content.truncate()
        return self._content.getvalue()
