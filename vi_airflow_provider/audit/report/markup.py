"""Text, times and JSON as they stand in the page: data of a document cannot become anything else there."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from datetime import UTC, datetime
from typing import Any, Final

#: The largest integer that JavaScript holds exactly.
_MAX_SAFE_INTEGER: Final = 2**53 - 1


def embedded_json(value: Any) -> str:
    """Return JSON text that is safe in a ``<script>`` element: ASCII, without ``<``, ``>`` and ``&``."""
    text = json.dumps(_exact_in_javascript(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _exact_in_javascript(value: Any) -> Any:
    """Turn numbers that ``JSON.parse`` would refuse or round into text: a report must not show a different number."""
    if isinstance(value, dict):
        return {key: _exact_in_javascript(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_exact_in_javascript(member) for member in value]
    inexact = (isinstance(value, int) and abs(value) > _MAX_SAFE_INTEGER) or (
        isinstance(value, float) and not math.isfinite(value)
    )
    return str(value) if inexact else value


def text(value: object) -> str:
    """Return a text as HTML."""
    # A lone surrogate has no UTF-8 form, and would end the report midway.
    return html.escape(str(value).encode("utf-8", "replace").decode("utf-8"))


def show_time(time: datetime) -> str:
    """Return a time as an element, in UTC."""
    utc = time.astimezone(UTC)
    return f'<time datetime="{utc:%Y-%m-%dT%H:%M:%SZ}">{utc:%Y-%m-%d %H:%M} UTC</time>'


def content_security_policy(style: str, script: str = "") -> str:
    """Return a policy that allows a page only its one style and its one script, if it has one, by their hashes."""

    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"

    scripts = f"script-src {source(script)}; " if script else ""
    return f"default-src 'none'; style-src {source(style)}; {scripts}img-src data:; base-uri 'none'; form-action 'none'"
