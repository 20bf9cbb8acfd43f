"""``vi-airflow runs logs``: the log of a run, without terminal commands and without the secrets of URLs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from vi_airflow_provider.cli.connection import open_client
from vi_airflow_provider.cli.errors import ExitCode
from vi_airflow_provider.selection.arguments import optional_count, optional_seconds
from vi_airflow_provider.storage.console import print_lines
from vi_airflow_provider.training.log_pages import LogReader
from vi_airflow_provider.training.logs import safe_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vi_airflow_provider.api.client import ViClient


def show(arguments: Any) -> int:
    """Print the log, all of it or its end, and follow it if requested."""
    tail, pause = optional_count("--tail", arguments.tail), optional_seconds("--poll-interval", arguments.poll_interval)
    with open_client(arguments) as client:
        lines = _lines(client, arguments.run_id, arguments.block, tail, pause if arguments.follow else None)
        print_lines(map(safe_line, lines))
    return ExitCode.OK


def _lines(client: ViClient, run_id: str, block: str | None, tail: int | None, pause: float | None) -> Iterator[str]:
    """Yield the lines of a log.

    :param tail: of those that exist, yield only the last ones, up to this number
    :param pause: seconds between two reads until the run has ended; ``None`` reads once
    """
    reader = LogReader()
    ended = pause is None or client.get_run(run_id).has_stopped
    first = reader.new_lines(client.get_run_logs(run_id, block=block).lines)
    yield from (line.line for line in (first if tail is None else first[len(first) - min(tail, len(first)) :]))
    while not ended:
        time.sleep(max(pause or 0, 0.1))
        # Before the log: once the run has ended, the log that is read next is complete.
        ended = client.get_run(run_id).has_stopped
        piece = client.get_run_logs(run_id, block=block, since=reader.position).lines
        yield from (line.line for line in reader.new_lines(piece))
