"""Logs of runs. A line exists from its time on; the same run gives the same lines.

The parameters are assumed: `since` (inclusive) and `until` (exclusive) are timestamps as lines carry them, `block`
selects the lines of one block of the flow, and `limit` gives the first lines from `since` on, or without it the last
lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from vi_airflow_provider.emulator.store.errors import ApiError
from vi_airflow_provider.emulator.store.lifecycle import Event, Life
from vi_airflow_provider.emulator.store.outputs import epochs_of, metrics
from vi_airflow_provider.emulator.store.schema import Document

_MESSAGES = {
    "queued": "Run queued, waiting for an accelerator",
    "running": "Training started",
    "stumbled": "Node preempted, run will start again",
    "succeeded": "Training finished, model saved",
    "failed": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.20 GiB",
    "killed": "Run killed by user request",
}


class Line(NamedTuple):
    """One line of a log."""

    timestamp: str
    block: str
    text: str


def lines_of(run: Document, life: Life, now: int) -> list[Line]:
    """All lines so far, oldest first."""
    blocks = [block["block"] for block in run["spec"]["flow"]["blocks"]] or ["platform"]
    trainer = next((name for name in blocks if "model" in name), blocks[-1])
    events = [(event.at, Line(_timestamp(event.at), trainer, _MESSAGES[event.stage])) for event in life.happened(now)]
    training = [(at, Line(_timestamp(at), trainer, text)) for at, text in _training(run, life, now)]
    loading = [(event.at, _loading(event, blocks[0])) for event in life.happened(now) if event.stage == "running"]
    return [line for _, line in sorted([*events, *loading, *training], key=lambda item: item[0])]


def select(lines: list[Line], block: str | None, since: str | None, until: str | None, limit: str | None) -> list[Line]:
    """The lines that a request selects."""
    if limit is not None and not (limit.isascii() and limit.isdecimal() and len(limit) < 10):
        raise ApiError(400, "limit must be an integer of zero or more")
    chosen = [
        line
        for line in lines
        if (block is None or line.block == block)
        and (since is None or line.timestamp >= since)
        and (until is None or line.timestamp < until)
    ]
    if limit is None:
        return chosen
    count = int(limit)
    return chosen[:count] if since is not None else chosen[len(chosen) - min(count, len(chosen)) :]


def _training(run: Document, life: Life, now: int) -> Iterator[tuple[int, str]]:
    count, done = life.plan.log_lines, life.progress(now)
    for number in range(1, count + 1):
        if number / count > done:
            return
        measured = metrics(run["runId"], number, count)
        epoch = epochs_of(run) * number / count
        yield (
            life.moment_of(number / count),
            f"epoch {epoch:.2f} loss {measured['trainingLoss']:.4f} val_loss {measured['validationLoss']:.4f}",
        )


def _loading(event: Event, block: str) -> Line:
    return Line(_timestamp(event.at), block, "Dataset loaded: 1200 training and 300 validation samples")


def _timestamp(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
