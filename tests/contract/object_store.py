"""The bucket of the tests, and what is in it."""

from __future__ import annotations

from typing import Any, Final

BUCKET: Final = "archives"
#: The connection that leads to it: not the default one, so a URL must carry it.
STORE: Final = f"s3://archive_store@{BUCKET}"


def keys(s3: Any) -> list[str]:
    """Return the names of the objects."""
    return [item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
