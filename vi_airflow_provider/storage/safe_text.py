"""Text and data of a server, as they may be written to a file that many people read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final, TypeAlias

from vi_airflow_provider.api.protocol.redaction import MASK, without_keys, without_secret
from vi_airflow_provider.storage.url_secrets import mask_url, url_secrets

#: Returns a text without known secrets, such as a ``Redactor`` for those of a connection.
Redact: TypeAlias = Callable[[str], str]

#: Secrets of one text that are looked for in the rest of it, so that a hostile text does not take hours.
_MOST: Final = 1_000
#: Every word that has a URL with a secret in it matches this.
_MAY_BE_URL: Final = re.compile(r"=|://|\\u003d|%3D", re.IGNORECASE)
#: A URL ends at white space.
_WORD: Final = re.compile(r"\S+")
#: A parameter of a pre-signed URL as a field of a dict, as libraries log the parts of a request.
_FIELD: Final = re.compile(
    r"""(X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)\\?["']\s*[:,]\s*\\?["'])[^"'\\]+""", re.IGNORECASE
)


def redacted(text: str, redact: Redact = str) -> str:
    """Return a text without known secrets, without any key of Vi, and without the secrets of URLs in it."""
    text = _FIELD.sub(rf"\1{MASK}", without_keys(redact(text)))
    if not _MAY_BE_URL.search(text):
        return text
    secrets: dict[str, None] = {}
    text = _WORD.sub(lambda word: _without_url_secrets(word[0], secrets), text)
    for secret in islice(secrets, _MOST):  # in other places, and decoded
        text = without_secret(text, secret)
    return text


def _without_url_secrets(word: str, secrets: dict[str, None]) -> str:
    """Return a word without the secrets of a URL in it, and note them."""
    if not _MAY_BE_URL.search(word):
        return word
    secrets.update(dict.fromkeys(url_secrets(word)))
    return mask_url(word)


def safe_json(value: Any, redact: Redact = str) -> Any:
    """Return JSON data without secrets, and with null for numbers that JSON does not have."""
    match value:
        case str():
            return redacted(value, redact)
        case float():
            return value if math.isfinite(value) else None
        case dict():
            keys = _distinct(list(value), redact)
            return {key: safe_json(item, redact) for key, item in zip(keys, value.values(), strict=True)}
        case list():
            return [safe_json(item, redact) for item in value]
    return value


def _distinct(keys: list[Any], redact: Redact) -> Iterator[str]:
    """Yield keys without secrets. One that would be equal to another one is numbered, so that no value is lost."""
    safe = [redacted(str(key), redact) for key in keys]
    taken = {name for key, name in zip(keys, safe, strict=True) if key == name}
    numbers: dict[str, int] = {}
    for key, name in zip(keys, safe, strict=True):
        unique = name
        while key != name and unique in taken:
            numbers[name] = numbers.get(name, 1) + 1
            unique = f"{name} ({numbers[name]})"
        taken.add(unique)
        yield unique
