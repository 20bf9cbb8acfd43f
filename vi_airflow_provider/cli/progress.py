"""How many documents were read so far, on the terminal of a person who waits."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from vi_airflow_provider.storage.console import stdout_is_terminal


@contextmanager
def counting(what: str, *, streams: bool = False) -> Iterator[Callable[[], None]]:
    """Lend a function that counts one document; the count is shown on stderr while the block runs.

    Nothing is shown if stderr is not a terminal, or if rows appear on the same terminal anyway.

    :param what: what is counted; nothing is shown if it is empty
    """
    if not what or not _is_terminal(sys.stderr) or (streams and stdout_is_terminal()):
        yield lambda: None
        return
    from rich.console import Console  # a dependency of Airflow
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn("line"), TextColumn("{task.description}: {task.completed:,.0f}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda: progress.advance(task)


def _is_terminal(stream: Any) -> bool:
    return stream is not None and stream.isatty()
