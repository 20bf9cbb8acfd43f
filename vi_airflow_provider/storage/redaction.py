"""Text and data of a server, as they may be written to a file that many people read."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Any, Final

from vi_airflow_provider.storage.url_secrets import url_secrets

#: A secret key of any organization.
_KEY_LIKE: Final = re.compile(r"dtvi_[!-~]+")
#: What every word with the secret of a URL contains.
_MAY_BE_URL: Final = re.compile(r"=|://|\\u003d|%3D", re.IGNORECASE)
#: A parameter of a pre-signed URL as a field of a dict, as libraries log the parts of a request.
_FIELD: Final = re.compile(
    r"""(X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)\\?["']\s*[:,]\s*\\?["'])[^"'\\]+""", re.IGNORECASE
)


def redacted(text: str, secrets: Collection[str]) -> str:
    """Return a text without these secrets, without any key of Vi, and without the secrets of URLs in it."""
    for secret in secrets:
        text = text.replace(secret, "***")
    text = _FIELD.sub(r"\1***", _KEY_LIKE.sub("***", text))
    # Word by word: behind a URL, the text goes on.
    for secret in (secret for word in text.split() if _MAY_BE_URL.search(word) for secret in url_secrets(word)):
        text = text.replace(secret, "***")
    return text


def safe_json(value: Any, secrets: Collection[str]) -> Any:
    """Return JSON data without secrets, and with null for numbers that JSON does not know."""
    match value:
        case str():
            return redacted(value, secrets)
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {redacted(str(key), secrets): safe_json(item, secrets) for key, item in value.items()}
        case list():
            return [safe_json(item, secrets) for item in value]
    return value
