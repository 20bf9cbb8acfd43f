"""The requests that the emulator received, for tests to assert on and for people to read."""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any
from urllib.parse import parse_qsl, unquote

# Never Authorization, and nothing else that could carry a secret.
HEADERS = (
    *("accept", "accept-encoding", "content-length", "content-type"),
    *("if-range", "organization-id", "range", "user-agent"),
)
CAPACITY = 10_000
#: How often a key may be percent-encoded.
_ENCODINGS = 5
_SIGNATURE = re.compile(r"(\bsignature=)[^&\s]+")


@dataclass(slots=True)
class RecordedRequest:
    """One request, listed from its arrival on; `status` is None until a response starts, which may be never."""

    method: str
    path: str
    query: str
    headers: dict[str, str] = field(default_factory=dict)
    status: int | None = None
    ms: float | None = None

    @property
    def params(self) -> dict[str, str]:
        """The query, decoded."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    def to_json(self) -> dict[str, Any]:
        """For the control API."""
        return asdict(self)


class RequestLog:
    """The latest requests in order of arrival; older ones are discarded."""

    def __init__(self, secret_key: str) -> None:
        self._secret_key = secret_key
        self._forms = _written(secret_key)
        self._requests: deque[RecordedRequest] = deque(maxlen=CAPACITY)
        self._lock = threading.Lock()

    def record(self, method: str, path: str, query: str, headers: Iterable[tuple[bytes, bytes]]) -> RecordedRequest:
        """Add a request; status and duration are filled in once the response starts."""
        kept = {
            name: self.redact(value.decode("latin-1"))
            for raw_name, value in headers
            if (name := raw_name.decode("latin-1")) in HEADERS
        }
        request = RecordedRequest(self.redact(method), self.redact(path), self.redact(query), kept)
        with self._lock:
            self._requests.append(request)
        return request

    def redact(self, text: str) -> str:
        """Remove the signature of a download, and the key from places where a client put it by mistake."""
        if len(text) >= len(self._secret_key):  # what is shorter has no key; this is nearly everything
            text = self._without_key(text)
        return _SIGNATURE.sub(r"\1<signature>", text)

    def _without_key(self, text: str) -> str:
        """Remove the key. If it is percent-encoded, even several times, the text is decoded as far as needed."""
        decoded = text
        for _ in range(_ENCODINGS):
            redacted = decoded
            for form in self._forms:
                redacted = redacted.replace(form, "<secret key>")
            if redacted != decoded:
                text = redacted
            decoded = unquote(redacted, "latin-1")
            if decoded == redacted:
                break
        return text

    def snapshot(self) -> list[RecordedRequest]:
        """The requests so far."""
        with self._lock:
            return list(self._requests)

    def clear(self) -> None:
        """Remove all requests."""
        with self._lock:
            self._requests.clear()


def _written(secret: str) -> list[str]:
    """Return a secret as it is, and as it is in a message, in JSON and in HTML; the longest form comes first."""
    messages = {secret, repr(secret)[1:-1]}
    forms = {form for text in messages for form in (text, json.dumps(text)[1:-1], escape(text))}
    return sorted(forms, key=len, reverse=True)
