"""Files in any ObjectStoragePath, written whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from airflow.providers.common.compat.sdk import ObjectStoragePath

from vi_airflow_provider.api.errors import ViValidationError

if TYPE_CHECKING:
    from collections.abc import Callable

#: In these there is no folder to make, and mkdir would make a bucket of whatever name was mistyped.
_WITHOUT_FOLDERS: Final = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "adl"})
#: What a driver holds of a file in memory; left to themselves, some hold 50 MB. S3 takes no parts under 5 MB.
_BLOCK: Final = 8 << 20

#: Where a URL carries a secret: a password, or the signature of one that is signed for S3, Google or Azure.
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


def open_to_read(path: ObjectStoragePath, block_size: int = _BLOCK) -> IO[bytes]:
    """Open a file, of which no more is held in memory than a block."""
    file: IO[bytes] = path.fs.open(path.path, "rb", block_size=block_size)
    return file


def write_atomically(path: ObjectStoragePath, content: bytes | IO[bytes]) -> None:
    """Write a file so that a reader finds the old one or the new one, never a part, whenever we are killed.

    :param path: where to; its folder is made if it is missing
    :param content: the bytes, or a file to copy them from, from its beginning
    :raises OSError: or whatever the file system's driver raises; the old file is still there
    """

    def write(file: IO[bytes]) -> None:
        if isinstance(content, bytes):
            file.write(content)
        else:
            content.seek(0)
            shutil.copyfileobj(content, file, 1 << 20)

    if path.protocol not in _WITHOUT_FOLDERS:
        path.parent.mkdir(parents=True, exist_ok=True)
    if path.protocol in ("", "file", "local"):
        _replace(Path(path.path), write)
    else:
        # An object store shows an upload when it is complete; the transaction discards it if it fails on the way.
        with path.fs.transaction, path.fs.open(path.path, "wb", block_size=_BLOCK) as file:
            write(file)


def _replace(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    # In the same folder: across file systems, a move is a copy, which can be seen half-way.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    # Reading it means setting it; mkstemp's own 0600 would hide the file from those whom the folder is open to.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
