"""The log of a run within the log of its task: new lines only, bounded, and safe to print."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from vi_airflow_provider.api.errors import ViError, one_line
from vi_airflow_provider.storage.urls import url_secrets

if TYPE_CHECKING:
    from vi_airflow_provider.api.async_client import AsyncViClient
    from vi_airflow_provider.api.models import RunLogLine
    from vi_airflow_provider.api.verbs import BlockingVerbs

log = logging.getLogger(__name__)

#: Characters of a run's log that a task log gets at most.
MAX_CHARACTERS: Final = 1_000_000
#: Lines that are shown when a run has failed.
LAST_LINES: Final = 200
#: Characters of one line.
MAX_LINE: Final = 2_000

#: Fields by which a server may mark the position of a line; what it sent is sent back, and nothing is made up.
_POSITIONS: Final = ("cursor", "timestamp", "time", "ts")


class LogTail:
    """Reads the log of a run piece by piece. No failure of it matters for the run.

    A piece begins with the position of the last line that is known, which servers include. So the lines that were shown
    at that position are skipped. A server that marks no positions sends everything again, and lines are counted.
    """

    def __init__(self, client: AsyncViClient, run_id: str) -> None:
        self._client = client
        self._run_id = run_id
        self._position: str | None = None
        #: Lines shown of the log, or of those at the last position.
        self._shown = 0
        self._remaining = MAX_CHARACTERS
        self._complained = False

    async def show(self) -> None:
        """Log the lines that are new."""
        if self._remaining <= 0:
            return
        for line in await self._new_lines():
            text = safe_line(line)
            self._remaining -= len(text) + 1
            if self._remaining <= 0:
                log.info("[run] The task log shows no more of the log of run %s.", self._run_id)
                return
            log.info("[run] %s", text)

    async def _new_lines(self) -> list[str]:
        try:
            lines = (await self._client.get_run_logs(self._run_id, since=self._position)).lines
        except ViError as error:
            if not self._complained:
                log.warning("The log of run %s cannot be read: %s", self._run_id, error)
                self._complained = True
            return []
        new = [item.line for item in lines[self._shown :]]
        self._remember(lines)
        return new

    def _remember(self, lines: list[RunLogLine]) -> None:
        if not lines:
            return
        position = position_of(lines[-1])
        if position is None:
            self._shown = max(self._shown, len(lines)) if self._position is None else self._shown
            return
        self._shown = sum(1 for item in lines if position_of(item) == position)
        self._position = position


def position_of(line: RunLogLine) -> str | None:
    """Return the position of a line as the server has written it, ``None`` if it marks none."""
    extra: dict[str, Any] = line.model_extra or {}
    found = (extra[name] for name in _POSITIONS if isinstance(extra.get(name), str | int))
    return next(map(str, found), None)


def show_last_lines(client: BlockingVerbs, run_id: str) -> None:
    """Log the end of a run's log, of all its blocks."""
    try:
        lines = client.get_run_logs(run_id).lines[-LAST_LINES:]
    except ViError as error:
        log.warning("The log of run %s cannot be read: %s", run_id, error)
        return
    if lines:
        text = "\n".join(safe_line(item.line) for item in lines)
        log.info("The last %d lines of the log of run %s:\n%s", len(lines), run_id, text)


def safe_line(line: str) -> str:
    """Return a line without control characters and without the secrets of URLs, bounded."""
    for secret in url_secrets(line):
        line = line.replace(secret, "***")
    return one_line(line, MAX_LINE)
