"""The log of a run as a file: every line once, on one line each, without secrets, and whole or not at all."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vi_airflow_provider.storage import tempfiles
from vi_airflow_provider.storage.files import write_atomically
from vi_airflow_provider.storage.places import log_file
from vi_airflow_provider.storage.safe_text import Redact, redacted, safe_json
from vi_airflow_provider.storage.urls import refuse_folder, resolve_file
from vi_airflow_provider.training.log_pages import LogReader

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import RunLogLine
    from vi_airflow_provider.api.verbs import BlockingVerbs

log = logging.getLogger(__name__)

#: Lines per request, after the first one.
PAGE: Final = 10_000


class ExportedLog(NamedTuple):
    """A log in a file."""

    uri: str
    lines: int
    sha256: str


def export_log(client: BlockingVerbs, run_id: str, destination: object, *, active: bool, redact: Redact) -> ExportedLog:
    """Write the log of a run, of all its blocks, to a file.

    :param destination: URL of the file; with the suffix ``.jsonl`` or ``.ndjson``, each line is a JSON object with
        everything that the server sent of it
    :param active: whether the run goes on; then the export ends where the log ends now
    :param redact: removes what must not be written
    :raises ViValidationError: the destination is unusable
    """
    target = resolve_file("destination", log_file("destination", destination))
    refuse_folder("destination", target)
    write = _json_of if target.name.lower().endswith((".jsonl", ".ndjson")) else _text_of
    digest, count = hashlib.sha256(), 0
    with tempfiles.file() as file:
        for line in _lines(client, run_id, active=active):
            content = f"{write(line, redact)}\n".encode("utf-8", "backslashreplace")
            digest.update(content)
            file.write(content)
            count += 1
        write_atomically(target, file)
    log.info("%s lines of the log of run %s exported: %s", f"{count:,}", run_id, target)
    return ExportedLog(str(target), count, digest.hexdigest())


def _lines(client: BlockingVerbs, run_id: str, *, active: bool) -> Iterator[RunLogLine | Any]:
    """Yield the lines of a log, or the only document of one of an unknown shape."""
    reader, largest = LogReader(), 0
    piece = client.get_run_logs(run_id)
    if piece.has_unknown_shape:
        log.warning("The log of run %s has an unknown shape, and is exported as it is.", run_id)
        yield piece.raw
    while new := reader.new_lines(piece.lines):
        yield from new
        size, largest = len(piece.lines), max(largest, len(piece.lines))
        if reader.position is None or (active and size < largest):
            return
        # More than the known lines at this position: a crowd of lines of one time would look like the end.
        piece = client.get_run_logs(run_id, since=reader.position, limit=reader.seen_at_position + PAGE)


def _text_of(line: Any, redact: Redact) -> str:
    if not hasattr(line, "line"):
        return _json(line, redact)
    text = redacted(line.line.rstrip("\r\n"), redact)
    return text if text.isprintable() else "".join(map(_escaped, text))


def _json_of(line: Any, redact: Redact) -> str:
    return _json({"line": line.line, **(line.model_extra or {})} if hasattr(line, "line") else line, redact)


def _json(value: Any, redact: Redact) -> str:
    return json.dumps(safe_json(value, redact), ensure_ascii=False)


def _escaped(character: str) -> str:
    """Escape what would end the line or hide a part of it."""
    if character.isprintable() or character == "\t":
        return character
    return character.encode("unicode_escape", "surrogatepass").decode()
