"""What the response of a storage host means for a download that may be resumed: values and pure functions.

A download holds the first bytes of one version of a content, and asks for the rest of that version. Only a version with
a strong validator (an ``ETag``) can be resumed, because ``If-Range`` makes the host send the whole content if it has
another version by now (RFC 9110 section 13.1.5). A response that is not exactly the rest of what is held never
continues it; the download starts over instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from vi_airflow_provider.api.settings import Secret

_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)
#: Statuses of a URL that has expired, or is not accepted for another reason.
_REJECTED: Final = frozenset({400, 401, 403, 404, 410})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_LATER: Final = frozenset({408, 429})


@dataclass(frozen=True)
class ContentVersion:
    """Identifies the bytes of a content.

    :param etag: strong validator, ``None`` without one
    :param size: number of bytes, ``None`` if only their end tells
    """

    etag: str | None
    size: int | None


@dataclass(frozen=True)
class Held:
    """The first bytes of a content that are there already."""

    size: int = 0
    version: ContentVersion | None = None

    @property
    def can_be_resumed(self) -> bool:
        """May the rest be requested? Else the whole content is."""
        version = self.version
        return bool(self.size and version and version.etag and version.size is not None and self.size < version.size)

    @property
    def is_complete(self) -> bool:
        """Are all bytes there?"""
        return self.version is not None and self.version.size == self.size


class Sink(Protocol):
    """Where a content goes."""

    @property
    def held(self) -> Held:
        """What is there."""

    def begin(self, version: ContentVersion) -> None:
        """Discard what is there: a content of this version begins."""

    def buffer(self) -> memoryview:
        """Lend memory for the next bytes."""

    def write(self, count: int) -> None:
        """Append the first bytes of the buffer that was lent last."""


@dataclass(frozen=True)
class Begin:
    """The body has these bytes.

    :param start: offset of the first one; what is held beyond it is obsolete
    :param length: their number, ``None`` if only their end tells
    """

    start: int
    length: int | None
    version: ContentVersion


@dataclass(frozen=True)
class StartOver:
    """The host cannot continue what is held."""


@dataclass(frozen=True)
class Redirect:
    """The content is elsewhere. The location may be a pre-signed URL."""

    location: Secret


@dataclass(frozen=True)
class Renew:
    """The URL is not accepted, and a new one may be."""


@dataclass(frozen=True)
class Later:
    """The host may send the content later."""


@dataclass(frozen=True)
class Refuse:
    """The response cannot be used."""

    reason: str


Decision: TypeAlias = Begin | StartOver | Redirect | Renew | Later | Refuse


def request_headers(held: Held, user_agent: str) -> dict[str, str]:
    """Return the headers of a request for what is missing. There are no credentials among them."""
    headers = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": user_agent}
    if held.can_be_resumed and held.version is not None and held.version.etag is not None:
        headers |= {"Range": f"bytes={held.size}-", "If-Range": held.version.etag}
    return headers


def judge(status: int, headers: Mapping[str, str], held: Held) -> Decision:
    """Decide what a response means.

    :param headers: keyed in lower case
    :param held: what was there when the request was sent
    """
    if status in (200, 206) and (coding := headers.get("content-encoding", "").strip().lower()) not in ("", "identity"):
        return Refuse(f"the content is encoded as {coding!r:.20}, although that was not requested")
    if status in (200, 206) and headers.get("content-type", "").strip().lower().startswith("text/html"):
        return Refuse("the content is a web page; a proxy or a login page may respond in place of the storage host")
    if status == 200:
        return _whole(headers)
    if status == 206:
        return _rest(headers, held) if held.can_be_resumed else Refuse("a part was sent where the whole was requested")
    if status in _REDIRECTS and "location" in headers:
        return Redirect(Secret(headers["location"]))
    if status == 416 and held.size:
        return StartOver()
    if status in _REJECTED:
        return Renew()
    if status in _LATER or 500 <= status < 600:
        return Later()
    return Refuse("the status is not expected of a storage host")


def _whole(headers: Mapping[str, str]) -> Decision:
    length = headers.get("content-length", "").strip()
    if length.isascii() and length.isdecimal():
        return Begin(0, int(length), ContentVersion(_strong_etag(headers), int(length)))
    if headers.get("transfer-encoding", "").strip().lower() == "chunked":
        return Begin(0, None, ContentVersion(_strong_etag(headers), None))
    return Refuse("the response does not indicate where the content ends")


def _rest(headers: Mapping[str, str], held: Held) -> Decision:
    found = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    version = held.version
    if found is None or version is None:
        return StartOver()
    first, last, total = map(int, found.groups())
    length = last - first + 1
    is_rest = first == held.size and total == version.size and first <= last < total
    # RFC 9110 section 15.3.7 requires the ETag. A host that leaves it out may have ignored If-Range as well.
    same = _strong_etag(headers) == version.etag and headers.get("content-length", str(length)) == str(length)
    return Begin(first, length, version) if is_rest and same else StartOver()


def _strong_etag(headers: Mapping[str, str]) -> str | None:
    etag = headers.get("etag", "").strip()
    # A weak one may stay the same while bytes change.
    return etag if re.fullmatch(r'"[!#-~]{1,200}"', etag) else None
