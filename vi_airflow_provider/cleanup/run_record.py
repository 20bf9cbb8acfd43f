"""What remains of a deleted run: a record of its summary, conditions, checkpoints with all metrics, and its log.

The record holds no secret: pre-signed URLs are left out or masked, and the log is redacted line by line. It cannot be
restored as a run, and lists what DELETE has destroyed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.api.errors import ViNotFoundError, one_line
from vi_airflow_provider.api.models import Run, RunOutput
from vi_airflow_provider.api.protocol.redaction import Redactor
from vi_airflow_provider.storage.safe_text import Redact, redacted, safe_json

if TYPE_CHECKING:
    from vi_airflow_provider.api.async_client import AsyncViClient

#: Makes the summary of a run of its checkpoints.
Summarize: TypeAlias = Callable[[Run, Sequence[RunOutput]], Mapping[str, Any]]

#: Lines of a log that are requested. Without a position to begin with, a server sends the last ones.
MAX_LINES: Final = 10_000
#: Characters of a log that a record holds: the last ones.
MAX_CHARACTERS: Final = 1_000_000
#: Characters of one line.
MAX_LINE: Final = 2_000


async def read_record(client: AsyncViClient, run: Run, summarize: Summarize) -> bytes:
    """Read what there is of a run, and return it as canonical JSON.

    :raises ViError: its checkpoints or its log cannot be read. A log that does not exist is no error
    """
    outputs = [output async for output in client.list_run_outputs(run.run_id)]
    document, redact = run.to_wire(), Redactor(client.settings.secrets())
    record = {
        "run_id": run.run_id,
        "summary": dict(summarize(run, outputs)),
        "conditions": document.pop("status")["conditions"],
        "outputs": list(map(_checkpoint, outputs)),
        "log": await _log(client, run.run_id, redact),
        "run": document,
    }
    return canonical_json(safe_json(record, redact))


async def _log(client: AsyncViClient, run_id: str, redact: Redact) -> dict[str, Any] | None:
    try:
        logs = await client.get_run_logs(run_id, limit=MAX_LINES)
    except ViNotFoundError:
        return None
    if logs.has_unknown_shape:  # what is not understood is kept as it is
        return {"raw": json.dumps(safe_json(logs.raw, redact))[:MAX_CHARACTERS], "requested": MAX_LINES}
    received = logs.lines
    lines: list[str] = []
    remaining = MAX_CHARACTERS
    for item in reversed(received):
        line = one_line(redacted(item.line[: 4 * MAX_LINE], redact), MAX_LINE)
        remaining -= len(line) + 1
        if remaining < 0:
            break
        lines.append(line)
    return {"lines": lines[::-1], "omitted": len(received) - len(lines), "requested": MAX_LINES}


def _checkpoint(output: RunOutput) -> dict[str, Any]:
    """Return a checkpoint without its pre-signed URL; metrics that are not finite are ``null``, and named."""
    wire = output.to_wire()
    wire["status"].pop("contents", None)
    return wire | {"non_finite": output.non_finite_metrics}
