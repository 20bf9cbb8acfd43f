"""The question before a command changes something."""

from __future__ import annotations

import sys
from typing import Any

from vi_airflow_provider.cli.errors import CommandError, ExitCode
from vi_airflow_provider.storage.console import printable


def require(arguments: Any) -> None:
    """Refuse a command that will have to ask, and cannot; before it has read anything.

    :raises CommandError: there is neither ``--yes`` nor a terminal
    """
    if not arguments.yes and not _can_ask():
        raise CommandError("This needs a confirmation: run it in a terminal, or add --yes.", ExitCode.UNUSABLE)


def confirm(arguments: Any, question: str) -> None:
    """Return once the user has agreed.

    :param question: whether to do what will happen, with its question mark
    :raises CommandError: the user did not
    """
    require(arguments)
    if arguments.yes:
        return
    print(f"{printable(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandError("Nothing was changed.", ExitCode.NO)


def _can_ask() -> bool:
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))
