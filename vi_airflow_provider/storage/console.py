"""Standard output: for terminals of any encoding, without terminal commands, and silent once the reader has gone."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from contextvars import ContextVar
from typing import Any, Final

#: Standard output in a tuple, while it is reserved for results.
_RESERVED: Final[ContextVar[tuple[Any, ...]]] = ContextVar("reserved standard output", default=())


class OutputError(Exception):
    """Standard output cannot be written, for example because the disk is full."""


@contextmanager
def reserved_for_results() -> Iterator[None]:
    """Let only :func:`print_lines` print to standard output; what a library prints or logs there goes to stderr."""
    token = _RESERVED.set((sys.stdout,))
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _RESERVED.reset(token)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines as they arrive. Once the reader has gone, as ``head`` does, no more of them are taken.

    A character that the encoding lacks is shown as its escape.

    :raises OutputError: a line cannot be written
    """
    stdout = _stdout()
    if stdout is None:  # closed by the caller, as by `>&-`: only the exit code is wanted
        for _ in lines:
            pass
        return
    if isinstance(stdout, io.TextIOWrapper):
        stdout.reconfigure(errors="backslashreplace")
    for line in lines:
        if not _print(line, stdout):
            return


def stdout_is_terminal() -> bool:
    """Return whether results appear on a terminal."""
    stdout = _stdout()
    return stdout is not None and bool(stdout.isatty())


def printable(text: str) -> str:
    """Return foreign text with escapes for what is not printable, which could control a terminal or forge a line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _stdout() -> Any:
    return next(iter(_RESERVED.get()), sys.stdout)


def _print(line: str, stdout: Any) -> bool:
    """Print a line, and return whether there is still a reader."""
    try:
        print(line, file=stdout, flush=True)
    except BrokenPipeError:
        _discard_rest(stdout)
        return False
    except OSError as error:
        _discard_rest(stdout)
        reason = f"the output cannot be written: {error}"
    else:
        return True
    raise OutputError(reason)


def _discard_rest(stdout: Any) -> None:
    """Redirect what is still buffered to nowhere: at exit, Python flushes once more, and would report a failure."""
    with suppress(OSError):  # an object of a caller that is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
