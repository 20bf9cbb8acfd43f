"""The log of a run within the log of its task: new lines only, bounded, and safe to print."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Final

from vi_airflow_provider.api.errors import ViError, one_line
from vi_airflow_provider.storage.safe_text import redacted, safe_json
from vi_airflow_provider.training.log_pages import LogReader

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import RunLogs
    from vi_airflow_provider.api.verbs import BlockingVerbs
    from vi_airflow_provider.training.waiting import RunVerbs

log = logging.getLogger(__name__)

#: Characters of a run's log that a task log gets at most.
MAX_CHARACTERS: Final = 1_000_000
#: Lines that are shown when a run has failed.
LAST_LINES: Final = 200
#: Characters of a log of an unknown shape.
MAX_RAW: Final = 4_000
#: Characters of one line.
MAX_LINE: Final = 2_000


class LogTail:
    """Reads the log of a run piece by piece. No failure of it matters for the run."""

    def __init__(self, client: RunVerbs, run_id: str) -> None:
        self._client = client
        self._run_id = run_id
        self._reader = LogReader()
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
            logs = await self._client.get_run_logs(self._run_id, since=self._reader.position)
        except ViError as error:
            if not self._complained:
                log.warning("The log of run %s cannot be read: %s", self._run_id, error)
                self._complained = True
            return []
        if logs.has_unknown_shape and not self._complained:
            self._complained = True
            show_raw(logs, self._run_id)
        return [item.line for item in self._reader.new_lines(logs.lines)]


def show_last_lines(client: BlockingVerbs, run_id: str) -> None:
    """Log the end of a run's log, of all its blocks."""
    try:
        logs = client.get_run_logs(run_id)
    except ViError as error:
        log.warning("The log of run %s cannot be read: %s", run_id, error)
        return
    if logs.has_unknown_shape:
        show_raw(logs, run_id)
    if lines := logs.lines[-LAST_LINES:]:
        text = "\n".join(safe_line(item.line) for item in lines)
        log.info("The last %d lines of the log of run %s:\n%s", len(lines), run_id, text)


def show_raw(logs: RunLogs, run_id: str) -> None:
    """Log the beginning of a response whose shape is unknown."""
    text = json.dumps(safe_json(logs.raw), ensure_ascii=False)
    log.warning("The log of run %s has an unknown shape: %s", run_id, one_line(text, MAX_RAW))


def safe_line(line: str) -> str:
    """Return a line without control characters and without the secrets of URLs, bounded."""
    return one_line(redacted(line[: 4 * MAX_LINE]), MAX_LINE)
