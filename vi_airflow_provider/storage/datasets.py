"""Files as OpenLineage names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

#: The scheme under which OpenLineage names a store for which fsspec has several.
_SCHEMES: Final = {"s3a": "s3", "gcs": "gs", "": "file", "local": "file"}


def dataset_name(path: ObjectStoragePath) -> tuple[str, str]:
    """Return namespace and name of a file, as OpenLineage names datasets."""
    scheme = _SCHEMES.get(path.protocol, path.protocol)
    location = path.path.removeprefix(f"{path.protocol}://")
    if scheme == "file":
        return "file", f"/{location.lstrip('/')}"
    bucket, _, key = location.rpartition("@")[2].lstrip("/").partition("/")
    return f"{scheme}://{bucket}", key
