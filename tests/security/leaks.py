"""Generate secrets, and search for them in every byte of a folder, in any encoding."""

from __future__ import annotations

import base64
import itertools
import random
import sqlite3
import string
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

#: Length of the runs of letters and digits in a secret. No encoding escapes these, so that a part of a secret is found
#: however the characters between the runs are escaped.
RUN: Final = 9
#: The characters between the runs, which URLs, JSON, HTML, shells and ``repr`` escape differently.
BETWEEN: Final = "\"\\'<&%+/"
_BLOCK: Final = 12


def make_secret(name: str, length: int, prefix: str = "") -> str:
    """Return a deterministic secret, no part of which occurs in other text."""
    chance = random.Random(f"secret {name}")
    runs = ("".join(chance.choices(string.ascii_letters + string.digits, k=RUN)) for _ in itertools.count())
    text = "".join(itertools.chain.from_iterable(zip(runs, BETWEEN * length, strict=False)))
    return prefix + text[: length - len(prefix)]


def pieces(secret: str) -> frozenset[bytes]:
    """Return the pieces to search for: any 20 characters of the secret contain one, however the rest is escaped."""
    for mark in BETWEEN:
        secret = secret.replace(mark, "\0")
    runs = [run for run in secret.split("\0") if len(run) >= RUN]
    return frozenset(piece.encode() for run in runs for piece in (run[-RUN:], run[: -RUN - 1 : -1]))


def encoded_pieces(secret: str) -> frozenset[bytes]:
    """Return the pieces to search for in base64, at any offset in a longer text."""
    found = set()
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + secret.encode()).rstrip(b"=")[4:-4]
        found |= {text[at : at + _BLOCK] for at in range(0, len(text) - _BLOCK, _BLOCK)}
    return frozenset(found)


def leaks_in(content: bytes, secret: str) -> bool:
    """Does the content contain a secret or a piece of it?"""
    return any(piece in content for piece in pieces(secret) | encoded_pieces(secret))


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file below a folder, and every row of its SQLite databases.

    The rows are needed because a database file may split a long value over several pages.
    """
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()
    for path in sorted(folder.rglob("*.db")):
        with closing(sqlite3.connect(path)) as database:
            database.text_factory = bytes
            for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                name = table.decode()
                for row in database.execute(f'SELECT * FROM "{name}"'):  # noqa: S608 - a name from the database itself
                    values = (value if isinstance(value, bytes) else str(value).encode() for value in row)
                    yield f"{path.name}: {name}", b"\n".join(values)


def places_that_leak(folder: Path, secret: str) -> set[str]:
    """Return the files and database tables below a folder that contain a secret or a piece of it."""
    wanted = pieces(secret) | encoded_pieces(secret)
    return {place for place, content in contents(folder) if any(piece in content for piece in wanted)}
