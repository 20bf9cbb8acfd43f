"""Files in any ObjectStoragePath: written whole or not at all, and listed by name."""

from __future__ import annotations

import errno
import math
import os
import secrets
import shutil
import stat
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import ObjectStoragePath

from vi_airflow_provider.storage import tempfiles
from vi_airflow_provider.storage.places import LOCAL
from vi_airflow_provider.storage.url_secrets import WITHOUT_FOLDERS

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How much of a file a driver buffers; by default some buffer 50 MB. S3 accepts no parts under 5 MB.
_BLOCK: Final = 8 << 20
#: Parts of an upload; object stores accept 10,000.
_PARTS: Final = 9_000


def open_to_read(path: ObjectStoragePath, block_size: int = _BLOCK) -> IO[bytes]:
    """Open a file, of which no more than a block is held in memory."""
    file: IO[bytes] = path.fs.open(path.path, "rb", block_size=block_size)
    return file


def list_files(folder: ObjectStoragePath, *, recursive: bool = False) -> Iterator[ObjectStoragePath]:
    """Yield the files in a folder. A missing folder has none.

    Names are listed and compared: nothing in the folder's own name is a pattern.

    :param recursive: yield the files in its subfolders, too, also behind symbolic links
    :raises OSError: or whatever the file system's driver raises; a folder or subfolder cannot be read
    """
    folder.fs.invalidate_cache()
    root = folder.path.rstrip("/") or folder.path  # of "/", nothing would be left: the working directory
    url = f"{str(folder).rstrip('/')}/" if folder.path.strip("/") else str(folder)
    names = _names_on_disk(Path(root), recursive) if folder.protocol in LOCAL else _names(folder.fs, root, recursive)
    for name in names:
        # Joined as text: to an object store, a//b is another folder than a/b.
        yield ObjectStoragePath(url + name)


def _names(fs: Any, root: str, recursive: bool) -> Iterator[str]:
    prefix = f"{fs._strip_protocol(root).rstrip('/')}/"
    # One listing, not one per subfolder: an object store has only keys.
    for name in fs.find(root, maxdepth=None if recursive else 1):
        if name != prefix:  # the placeholder of the folder itself
            yield name.removeprefix(prefix)


def _names_on_disk(root: Path, recursive: bool) -> Iterator[str]:
    """Yield the names of files. The driver would take a folder that it cannot read for an empty one."""
    visited: set[Path] = set()
    for place, folders, files in os.walk(root, onerror=_raise_unless_missing, followlinks=True):
        folder = Path(place)
        visited.add(folder.resolve())
        yield from (str((folder / name).relative_to(root)) for name in sorted(files))
        # In place, as os.walk requires; never in a circle of links.
        folders[:] = [name for name in sorted(folders) if recursive and (folder / name).resolve() not in visited]


def _raise_unless_missing(error: OSError) -> None:
    """Raise that a folder cannot be read; one that was removed meanwhile is empty."""
    if not isinstance(error, FileNotFoundError):
        raise error


def is_folder(path: ObjectStoragePath) -> bool:
    """Return whether a path is an existing folder, and not a file."""
    path.fs.invalidate_cache()
    return path.is_dir() and not path.is_file()


def file_for(path: ObjectStoragePath) -> IO[bytes]:
    """Return a temporary file for the content of a path, which :func:`write_atomically` need not copy if it is local.

    It is not visible there until then, and the folder of the path need not exist.
    """
    if path.protocol in LOCAL:
        with suppress(OSError):  # the file system has no such files, or forbids them there
            return tempfiles.linkable_file(next(filter(Path.is_dir, Path(path.path).resolve().parents)))
    return tempfiles.file()


def write_atomically(path: ObjectStoragePath, content: bytes | IO[bytes]) -> None:
    """Write a file so that a reader finds the old one or the new one, never a part, even if the process is killed.

    A local file keeps its mode and, where permitted, its owner; a symbolic link keeps pointing to the file.

    :param path: the file; its folder is created if it is missing
    :param content: the bytes, or a file to copy them from, from its beginning. A file of :func:`file_for` may become
        the file itself, so nothing may be written to it afterwards
    :raises OSError: or whatever the file system's driver raises; the old file is unchanged. A device, a pipe or a
        folder is not replaced
    """
    if path.protocol not in WITHOUT_FOLDERS:
        path.parent.mkdir(parents=True, exist_ok=True)
    if path.protocol in LOCAL:
        _replace(Path(path.path).resolve(), content)
    else:
        # An object store shows an upload when it is complete; the transaction discards it if it fails midway.
        with path.fs.transaction, path.fs.open(path.path, "wb", block_size=_block_of(content)) as file:
            _write(file, content)


def _write(file: IO[bytes], content: bytes | IO[bytes]) -> None:
    if isinstance(content, bytes):
        file.write(content)
    else:
        content.seek(0)
        shutil.copyfileobj(content, file, 1 << 20)


def _block_of(content: bytes | IO[bytes]) -> int:
    """Return how much is uploaded at a time."""
    size = len(content) if isinstance(content, bytes) else content.seek(0, os.SEEK_END)
    return max(_BLOCK, math.ceil(size / _PARTS))


def _replace(path: Path, content: bytes | IO[bytes]) -> None:
    old = _replaceable(path)
    # In the same folder: across file systems, a move is a copy, which can be seen incomplete.
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.part")
    try:
        if not _link(content, temporary):
            with open(temporary, "xb", opener=partial(os.open, mode=0o600)) as file:
                _write(file, content)
                _sync(file)
        _move(temporary, path, old)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _link(content: bytes | IO[bytes], path: Path) -> bool:
    """Give a file of :func:`file_for` a name; return whether it could be done."""
    if isinstance(content, bytes):
        return False
    try:
        descriptor = content.fileno()
        if os.fstat(descriptor).st_nlink:  # it has a name, so it is not ours to give away
            return False
        # The folder's descriptor, which an absolute path does not need, makes os.link() follow the symbolic link.
        os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor)
    except OSError:  # another file system, another kind of temporary file, or no /proc
        return False
    _sync(content)
    return True


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def replace_file(temporary: Path, path: Path) -> None:
    """Move a complete local file of the same folder to where a reader expects it, as :func:`write_atomically` does.

    :raises OSError: the path is a device, a pipe or a folder; nothing is moved
    """
    _move(temporary, path, _replaceable(path))


def _move(temporary: Path, path: Path, old: os.stat_result | None) -> None:
    _adopt_attributes(temporary, old)
    temporary.replace(path)
    _sync_folder(path.parent)


def _replaceable(path: Path) -> os.stat_result | None:
    """Return the file that is replaced, if there is one."""
    old = path.stat() if path.exists() else None
    if old is not None and not stat.S_ISREG(old.st_mode):
        raise OSError(errno.EINVAL, "not a regular file, so it is not replaced", str(path))
    return old


def _adopt_attributes(new: Path, old: os.stat_result | None) -> None:
    if old is None:
        new.chmod(0o666 & ~_umask())
        return
    created = new.stat()
    if (created.st_uid, created.st_gid) != (old.st_uid, old.st_gid):
        with suppress(PermissionError):  # only root may give a file away
            os.chown(new, old.st_uid, old.st_gid)
    new.chmod(stat.S_IMODE(old.st_mode))  # after chown, which clears bits of the mode


def _sync_folder(folder: Path) -> None:
    """Make the renaming durable; the file itself is complete either way."""
    with suppress(OSError):  # some file systems have no sync of folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    # Reading it means setting it. With mkstemp's own mode of 0600, only the worker's user could read the file.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
