"""Files in any ObjectStoragePath: written whole or not at all, and listed by name."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.providers.common.compat.sdk import ObjectStoragePath

#: These have no folders to create, and mkdir would create a bucket of whatever name was mistyped.
WITHOUT_FOLDERS: Final = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "adl"})
LOCAL: Final = frozenset({"", "file", "local"})
#: How much of a file a driver buffers; by default some buffer 50 MB. S3 accepts no parts under 5 MB.
_BLOCK: Final = 8 << 20


def open_to_read(path: ObjectStoragePath, block_size: int = _BLOCK) -> IO[bytes]:
    """Open a file, of which no more than a block is held in memory."""
    file: IO[bytes] = path.fs.open(path.path, "rb", block_size=block_size)
    return file


def list_files(folder: ObjectStoragePath, *, recursive: bool = False) -> Iterator[ObjectStoragePath]:
    """Yield the files in a folder. A missing folder has none.

    Names are listed and compared: nothing in the folder's own name is a pattern.

    :param recursive: yield the files in its subfolders, too
    """
    folder.fs.invalidate_cache()
    root = folder.path.rstrip("/") or folder.path  # of "/", nothing would be left: the working directory
    # One listing, not one per subfolder: an object store has only keys.
    for name in folder.fs.find(root, maxdepth=None if recursive else 1):
        yield folder / name.removeprefix(folder.fs._strip_protocol(root)).lstrip("/")


def write_atomically(path: ObjectStoragePath, content: bytes | IO[bytes]) -> None:
    """Write a file so that a reader finds the old one or the new one, never a part, even if the process is killed.

    :param path: the file; its folder is created if it is missing
    :param content: the bytes, or a file to copy them from, from its beginning
    :raises OSError: or whatever the file system's driver raises; the old file is unchanged
    """

    def write(file: IO[bytes]) -> None:
        if isinstance(content, bytes):
            file.write(content)
        else:
            content.seek(0)
            shutil.copyfileobj(content, file, 1 << 20)

    if path.protocol not in WITHOUT_FOLDERS:
        path.parent.mkdir(parents=True, exist_ok=True)
    if path.protocol in LOCAL:
        _replace(Path(path.path), write)
    else:
        # An object store shows an upload when it is complete; the transaction discards it if it fails midway.
        with path.fs.transaction, path.fs.open(path.path, "wb", block_size=_BLOCK) as file:
            write(file)


def _replace(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    # In the same folder: across file systems, a move is a copy, which can be seen incomplete.
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
    # Reading it means setting it. With mkstemp's own mode of 0600, only the worker's user could read the file.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
