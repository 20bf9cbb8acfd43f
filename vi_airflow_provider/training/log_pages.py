"""New lines of a log that is read piece by piece, each of them once.

A piece begins at the position of the last known line, which servers include (``since``). A position is whatever the
server wrote into a line; none is ever made up. What was seen there is recognized by position and text, so that a server
which does not include the position loses no line, and one that sends lines of the same time in another order repeats
none. A server that marks no positions sends its log from the start each time, and lines are counted.
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
        self._seen: Counter[bytes] = Counter()
        self._count = 0

    @property
    def seen_at_position(self) -> int:
        """The number of lines that are known at the position."""
        return self._seen.total()

    def new_lines(self, piece: Sequence[RunLogLine]) -> list[RunLogLine]:
        """Return the lines of a piece that are new, and remember them."""
        if self.position is None and (not piece or position_of(piece[-1]) is None):
            new = list(piece[self._count :])
            self._count = max(self._count, len(piece))
            return new
        known = Counter(self._seen)
        new = [line for line in piece if not _take(known, line)]
        if self.position is None:  # the log began to mark positions
            new, self._count = new[self._count :], 0
        if new:
            self._remember(piece, new)
        return new

    def _remember(self, piece: Sequence[RunLogLine], new: Sequence[RunLogLine]) -> None:
        last = position_of(piece[-1]) or self.position
        if last == self.position:
            self._seen.update(map(_key, new))
            return
        # From the first line at this position on: a server may mix lines of other positions in.
        start = next(number for number, line in enumerate(piece) if position_of(line) == last)
        self.position, self._seen = last, Counter(map(_key, piece[start:]))


def position_of(line: RunLogLine) -> str | None:
    """Return the position of a line as the server has written it, ``None`` if it marks none."""
    extra: dict[str, Any] = line.model_extra or {}
    found = (extra[name] for name in _POSITIONS if isinstance(extra.get(name), str | int))
    return next(map(str, found), None)


def _take(known: Counter[bytes], line: RunLogLine) -> bool:
    """Return whether a line is among the known ones, of which it is then taken."""
    key = _key(line)
    if known[key] <= 0:
        return False
    known[key] -= 1
    return True


def _key(line: RunLogLine) -> bytes:
    text = f"{position_of(line)}\0{(line.model_extra or {}).get('block')}\0{line.line}"
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
