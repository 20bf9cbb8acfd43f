"""Secrets, and the search for them: in every byte of a folder, however they were written down."""

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

#: Letters and digits that stand in a row in a secret. They are the same in every way to escape a text, so that a
#: piece of a secret is found whatever was done to the characters between them.
RUN: Final = 9
#: Between the runs: what URLs, JSON, HTML, shells and ``repr`` escape, each in its own way.
BETWEEN: Final = "\"\\'<&%+/"
_BLOCK: Final = 12


def make_secret(name: str, length: int, prefix: str = "") -> str:
    """Return a secret that no other text contains a piece of, the same in each run."""
    chance = random.Random(f"secret {name}")
    runs = ("".join(chance.choices(string.ascii_letters + string.digits, k=RUN)) for _ in itertools.count())
    text = "".join(itertools.chain.from_iterable(zip(runs, BETWEEN * length, strict=False)))
    return prefix + text[: length - len(prefix)]


def pieces(secret: str) -> frozenset[bytes]:
    """Return what gives a secret away: any 20 characters of it contain one of these, whatever escapes the rest."""
    for mark in BETWEEN:
        secret = secret.replace(mark, "\0")
    runs = [run for run in secret.split("\0") if len(run) >= RUN]
    return frozenset(piece.encode() for run in runs for piece in (run[-RUN:], run[: -RUN - 1 : -1]))


def encoded_pieces(secret: str) -> frozenset[bytes]:
    """Return what gives a secret away where it was written in base64, at whatever place in a longer text."""
    found = set()
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + secret.encode()).rstrip(b"=")[4:-4]
        found |= {text[at : at + _BLOCK] for at in range(0, len(text) - _BLOCK, _BLOCK)}
    return frozenset(found)


def leaks_in(content: bytes, secret: str) -> bool:
    """Tell whether a content gives away a secret or a piece of it."""
    return any(piece in content for piece in pieces(secret) | encoded_pieces(secret))


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file below a folder with its bytes, and every row of the tables of a SQLite database.

    Row by row, because in its file a long value lies scattered over pages.
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
    """Return the files and database tables below a folder that give a secret away."""
    wanted = pieces(secret) | encoded_pieces(secret)
    return {place for place, content in contents(folder) if any(piece in content for piece in wanted)}
