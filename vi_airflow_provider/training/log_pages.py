"""New lines of a log that is read piece by piece, each of them once.

A piece begins at the position of the last known line, which servers include (``since``). A position is whatever the
server wrote into a line; none is ever made up. The lines of the last piece are recognized by position and text. So a
server that does not include the position loses no line, and one that sends its newest lines first, the lines of a time
in another order, or the whole log each time, repeats none. A server that marks no positions sends its log from the
start each time, and lines are counted.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import RunLogLine

#: Fields by which a server may mark the position of a line.
_POSITIONS: Final = ("cursor", "timestamp", "time", "ts")


class LogReader:
    """What is known of a log, and therefore which lines of the next piece are new."""

    def __init__(self) -> None:
        #: Where the next piece begins, ``None`` for the start of the log.
        self.position: str | None = None
        #: The number of lines that are known at the position.
        self.seen_at_position = 0
        self._seen: Counter[bytes] = Counter()
        self._count = 0

    def new_lines(self, piece: Sequence[RunLogLine]) -> list[RunLogLine]:
        """Return the lines of a piece that are new, and remember them."""
        if self.position is None and (not piece or position_of(piece[-1]) is None):
            new = list(piece[self._count :])
            self._count = max(self._count, len(piece))
            return new
        known, keys = Counter(self._seen), list(map(_key, piece))
        new = [line for line, key in zip(piece, keys, strict=True) if not _take(known, key)]
        if self.position is None:  # the log began to mark positions
            new, self._count = new[self._count :], 0
        if new:
            self._remember(piece, keys, new)
        return new

    def _remember(self, piece: Sequence[RunLogLine], keys: Sequence[bytes], new: Sequence[RunLogLine]) -> None:
        last = position_of(piece[-1]) or self.position
        if last == self.position:
            self._seen.update(map(_key, new))
            self.seen_at_position += len(new)
            return
        # The whole piece: a server may send more than what was requested, or its lines in another order.
        self.position, self._seen = last, Counter(keys)
        self.seen_at_position = sum(position_of(line) == last for line in piece)


def position_of(line: RunLogLine) -> str | None:
    """Return the position of a line as the server has written it, ``None`` if it marks none."""
    extra: dict[str, Any] = line.model_extra or {}
    found = (extra[name] for name in _POSITIONS if isinstance(extra.get(name), str | int))
    return next(map(str, found), None)


def _take(known: Counter[bytes], key: bytes) -> bool:
    """Return whether a line is among the known ones, of which it is then taken."""
    if known[key] <= 0:
        return False
    known[key] -= 1
    return True


def _key(line: RunLogLine) -> bytes:
    text = f"{position_of(line)}\0{(line.model_extra or {}).get('block')}\0{line.line}"
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
