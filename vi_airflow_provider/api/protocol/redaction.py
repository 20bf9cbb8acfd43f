"""Redacts secrets in foreign text: a server or a proxy may quote what it rejects, as a whole or in part.

One rule holds for messages and for files, and for every secret.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

MASK: Final = "***"
#: A secret key of any organization.
_KEY_LIKE: Final = re.compile(r"dtvi_[!-~]+")
#: Consecutive characters of a secret that reveal something about it.
_PART: Final = 8
#: Length of the shortest secret that is redacted.
_MINIMUM: Final = 5


class Redactor:
    """Replaces secrets, and parts of them, in the usual encodings. Its ``repr`` does not show them.

    A secret of 5 to 7 characters is redacted only where it stands alone, between characters that are not letters or
    digits. A shorter one is not: it would be redacted in every other word, and such a mark reveals it. Airflow's own
    masking has the same minimum.

    :param secrets: what must not be shown
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        known = [secret for secret in secrets if len(secret) >= _MINIMUM]
        self._short = [secret for secret in known if len(secret) < _PART]
        forms = [form for secret in known for form in _forms(secret)]
        self._parts = {form[at : at + _PART] for form in forms for at in range(len(form) - _PART + 1)}
        characters = re.escape("".join(sorted(set("".join(self._parts)))))
        # Where parts may be. Most words of a log are too short; the regular expression skips them fast.
        self._candidates = re.compile(rf"[{characters}]{{{_PART},}}") if characters else None

    def __call__(self, text: str) -> str:
        """Return the text without the secrets."""
        for secret in self._short:
            text = without_secret(text, secret)
        return text if self._candidates is None else self._candidates.sub(self._without_parts, text)

    def _without_parts(self, found: re.Match[str]) -> str:
        text = found[0]
        kept: list[str] = []
        end = 0
        for at in range(len(text) - _PART + 1):
            if text[at : at + _PART] in self._parts:
                if at > end or not kept:
                    kept += [text[end:at], MASK]
                end = at + _PART
        return "".join(kept) + text[end:]


def without_secret(text: str, secret: str) -> str:
    """Return a text without a secret as it is written; see :class:`Redactor` about short ones."""
    if len(secret) < _MINIMUM:
        return text
    if len(secret) < _PART:
        return re.sub(rf"(?<![^\W_]){re.escape(secret)}(?![^\W_])", MASK, text)
    return text.replace(secret, MASK)


def without_keys(text: str) -> str:
    """Return a text without any secret key of Vi, even that of another client."""
    return _KEY_LIKE.sub(MASK, text)


def _forms(secret: str) -> Iterator[str]:
    """Yield the encodings of a secret. A character that is escaped does not hide its neighbours."""
    yield from (secret, quote(secret), quote_plus(secret), html.escape(secret), json.dumps(secret)[1:-1])
    for shift in range(3):  # in base64 it depends on what precedes it; so do the first and last characters
        yield base64.b64encode(b"\0" * shift + secret.encode()).decode()[3:-4]
