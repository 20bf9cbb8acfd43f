"""Local temporary files without a name: they disappear with their process, however it ends."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

#: Bytes that are written at a time: with the default of some kilobytes, each document is a write of its own.
_BUFFER: Final = 1 << 18


def file() -> IO[bytes]:
    """Return a new file, open for writing and reading."""
    return tempfile.TemporaryFile(buffering=_BUFFER)


def linkable_file(folder: Path) -> IO[bytes]:
    """Return a new file that can be given a name in the folder's file system (Linux).

    :raises OSError: the file system has no such files, or the folder is not writable
    """
    if not hasattr(os, "O_TMPFILE"):
        raise OSError(errno.ENOTSUP, "not on this platform")
    return os.fdopen(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600), "w+b", buffering=_BUFFER)


def database() -> sqlite3.Connection:
    """Return a new database on disk, of which a few megabytes are held in memory."""
    # With the empty name, SQLite unlinks the file as soon as it is open.
    database = sqlite3.connect("", isolation_level=None)
    # The database need not survive a crash: one transaction that is never committed, in large pages, writes documents
    # of some kilobytes in a quarter of the time.
    database.executescript(
        "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA page_size=16384; PRAGMA cache_size=-4000; BEGIN;"
    )
    return database
