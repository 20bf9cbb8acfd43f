"""Where files are stored: URLs without secrets in them."""

from __future__ import annotations

import re
from typing import Final

from vi_airflow_provider.api.errors import ViValidationError

#: Where a URL carries a secret: a password, or the signature of a URL that is pre-signed for S3, Google or Azure.
_PASSWORD: Final = re.compile(r"://[^/@]*:([^/@]+)@")
_SIGNATURE: Final = re.compile(r"[?&](?:X-(?:Amz|Goog)-[\w-]+|sig|Signature|\w*token)=([^&#]+)", re.IGNORECASE)


def url_secrets(url: str) -> list[str]:
    """Return the passwords and signatures that a URL carries."""
    return _PASSWORD.findall(url) + _SIGNATURE.findall(url)


def refuse_secrets(name: str, url: str) -> None:
    """Refuse a URL with a secret in it, which logs, XComs, manifests and reports would show.

    :raises ViValidationError: it carries one; the message does not show it
    """
    if url_secrets(url):
        raise ViValidationError(
            f"{name}: the URL carries a password or a signature, and would be shown in many places; "
            "name an Airflow connection instead, as in s3://my_conn@bucket/key"
        )
