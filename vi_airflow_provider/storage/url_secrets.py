"""The secrets that a URL carries. Without Airflow, so that text of a server can be redacted anywhere."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

#: Object stores have no folders to create, and mkdir would create a bucket of whatever name was mistyped.
WITHOUT_FOLDERS: Final = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "adl"})
#: A password: everything from the first colon to the last ``@``, slashes and further ``@`` included.
_PASSWORD: Final = re.compile(r"://[^/@:\s]*:(?P<password>.+)@")
#: Of ``hdfs://namenode:8020/x@y``, the number is a port; of ``sftp://user:8020@host``, it is a password. URLs of object
#: stores have no ports.
_PORT: Final = re.compile(r"\d{1,5}/")
#: The signature of a URL that is pre-signed for S3, Google or Azure, also in a URL that is escaped within JSON, HTML or
#: another URL.
_SIGNATURE: Final = re.compile(
    r"(?:[?&;]|\\u0026|%3F|%26)(?:X-(?:Amz|Goog)-[\w-]+|sig|Signature|\w*token)(?:=|\\u003d|%3D)"
    r"((?:(?!\\u0026|%26)[^&#])+)",
    re.IGNORECASE,
)


def url_secrets(url: str) -> list[str]:
    """Return the passwords and signatures that a URL carries, as they are written and decoded."""
    secrets = [url[start:end] for start, end in _spans(url)]
    return list(dict.fromkeys(form for secret in secrets for form in (secret, unquote(secret))))


def mask_url(url: str) -> str:
    """Return a URL without its passwords and signatures, however short, and otherwise as it is."""
    kept: list[str] = []
    position = 0
    for start, end in sorted(_spans(url)):
        if start >= position:
            kept += [url[position:start], "***"]
        position = max(position, end)
    return "".join(kept) + url[position:]


def _spans(url: str) -> list[tuple[int, int]]:
    """Return where passwords and signatures begin and end: these may overlap."""
    scheme = url.partition("://")[0].lower()
    passwords = [
        found.span("password")
        for found in _PASSWORD.finditer(url, 0, url.rfind("@") + 1)  # what follows would be searched again and again
        if scheme in WITHOUT_FOLDERS or not _PORT.match(found["password"])
    ]
    return passwords + [found.span(1) for found in _SIGNATURE.finditer(url)]
