"""Local temporary files without a name: they disappear with their process, however it ends."""

from __future__ import annotations

import sqlite3
import tempfile
from typing import IO, Final

#: Bytes that are written at a time: with the default of some kilobytes, each document is a write of its own.
_BUFFER: Final = 1 << 18


def file() -> IO[bytes]:
    """Return a new file, open for writing and reading."""
    return tempfile.TemporaryFile(buffering=_BUFFER)


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
