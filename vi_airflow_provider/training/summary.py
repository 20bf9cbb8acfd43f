"""What a task returns about a run: small, of plain JSON, without secrets, and the same in every mode."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from vi_airflow_provider.api.canonical import spec_digest
from vi_airflow_provider.api.errors import one_line
from vi_airflow_provider.api.models import Run, RunOutput
from vi_airflow_provider.selection.best_metric import BestMetric, best
from vi_airflow_provider.selection.xcom import RESERVED_KEYS
from vi_airflow_provider.storage.safe_text import redacted
from vi_airflow_provider.training.identity import FLOW_DIGEST, FLOW_ID, NAMESPACE, RUN_NUMBER

__all__ = [
    "MAX_BYTES",
    "BestMetric",
    "best",
    "describe",
    "describe_output",
    "described_output",
    "described_outputs",
    "latest",
    "size_of",
    "summarize",
    "summarize_listed",
]

#: Bytes of a summary as JSON, in which characters outside of ASCII are escaped, as Airflow stores it.
MAX_BYTES: Final = 8_000


class Bounds(NamedTuple):
    """How much of a checkpoint or a run is shown.

    :param metrics: number of metrics of a checkpoint; further ones are counted
    :param text: characters of a name or a reason
    """

    metrics: int
    text: int


#: The first of these that fits counts. With the last one, everything does.
BOUNDS: Final = (Bounds(50, 100), Bounds(20, 100), Bounds(8, 100), Bounds(0, 100), Bounds(0, 20))
#: How many of the bounds are tried for a list of checkpoints, before the oldest ones are omitted.
_FOR_MANY: Final = 3
#: What surrounds the checkpoints of a list, and what separates them.
_ENVELOPE: Final = ', "checkpoints": [], "omitted": 1000000'
_SEPARATOR: Final = ", "
_FIELDS: Final = ("run_output_id", "epoch", "kind", "metrics", "storage_object")
#: Characters of an id.
_MAX_ID: Final = 255
#: Characters of a text that stands where an id is expected.
_MAX_FOREIGN: Final = 20
#: Bits of a time or an epoch; a larger number means nothing.
_MAX_BITS: Final = 63
#: Known only to a task that has read the checkpoints of a run, or has started it.
_NOT_LISTED: Final = ("adopted", "outputs", "model", "best")


def summarize(
    run: Run,
    outputs: Sequence[RunOutput],
    best_metric: BestMetric | None,
    *,
    adopted: bool,
    url: str,
) -> dict[str, Any]:
    """Return the result of a run: at most ``MAX_BYTES`` of JSON.

    :param outputs: the checkpoints of all pages
    :param adopted: whether an active run was taken over
    :param url: web address of the run
    """
    digest = run.metadata.attributes.get(FLOW_DIGEST) or spec_digest(run.spec.flow.to_wire())
    facts = {
        "state": run.state.value,
        "flow_digest": _id(digest),
        "run_number": _run_number(run.metadata.attributes),
        "adopted": adopted,
        **_times(run),
        "outputs": len(outputs),
        "url": url,
    }
    chosen = {"model": latest(outputs), "best": best(outputs, best_metric)}
    for bounds in BOUNDS:
        checkpoints = {key: describe_output(output, bounds, best_metric) for key, output in chosen.items()}
        summary = {"run_id": run.run_id, **facts, **_texts(run, bounds.text), **checkpoints}
        if size_of(summary) <= MAX_BYTES:
            break
    return summary


def size_of(value: Any) -> int:
    """Return the size of an XCom in bytes."""
    return len(json.dumps(value, allow_nan=False))


def _texts(run: Run, limit: int) -> dict[str, str | None]:
    attributes = run.metadata.attributes
    return {
        "flow_id": _id(attributes.get(FLOW_ID)),
        "flow_name": _text(run.spec.flow.name, limit),
        "training_project": _id(run.spec.training_project),
        "namespace": _text(attributes.get(NAMESPACE, ""), limit),
        "reason": _text(run.reason, limit),
    }


def _times(run: Run) -> dict[str, float | None]:
    created, started, ended = map(_number, (run.metadata.time_created, run.started_at, run.ended_at))
    return {
        "created_at": created,
        "started_at": started,
        "ended_at": ended,
        "queued_seconds": _seconds(created, started),
        "running_seconds": _seconds(started, ended),
    }


def describe(run: Run, outputs: Sequence[RunOutput], best_metric: Any, url: str) -> dict[str, Any]:
    """Return the summary for the record of a run that is about to be deleted."""
    summary = summarize(run, outputs, BestMetric.build(best_metric), adopted=False, url=url)
    return {key: value for key, value in summary.items() if key != "adopted"}


def summarize_listed(run: Run, *, url: str) -> dict[str, Any]:
    """Return what a listing reports of a run: the summary without its checkpoints, which are not read."""
    summary = summarize(run, (), None, adopted=False, url=url)
    return {key: value for key, value in summary.items() if key not in _NOT_LISTED}


def latest(outputs: Iterable[RunOutput]) -> RunOutput | None:
    """Return the checkpoint of the highest epoch, of those the one that was made last."""
    return max(outputs, key=lambda output: output.age_key, default=None)


def describe_output(
    output: RunOutput | None, bounds: Bounds = BOUNDS[0], first: BestMetric | None = None
) -> dict[str, Any] | None:
    """Return a checkpoint as JSON data, with finite numbers and without its pre-signed URL.

    Metrics whose names Airflow reserves are omitted: the push of the XCom would fail after the run was paid for.

    :param first: the metric that is shown if only some are
    """
    if output is None:
        return None
    finite, non_finite = output.metrics, output.non_finite_metrics
    names = [name for name in (*sorted(finite), *non_finite) if name not in RESERVED_KEYS]
    names.sort(key=lambda name: (first is None or name != first.name, name not in finite))
    metrics: dict[str, float | None] = {}
    for name in names[: bounds.metrics]:
        metrics.setdefault(name[: bounds.text], finite.get(name))
    described: dict[str, Any] = {
        "run_output_id": _id(output.run_output_id),
        "epoch": _number(output.spec.epoch),
        "kind": _text(output.spec.kind, bounds.text),
        "metrics": metrics,
        "storage_object": _text(output.status.storage_object, bounds.text) or None,
    }
    if non_finite:
        described["non_finite"] = [name[: bounds.text] for name in non_finite[: bounds.metrics]]
    omitted = len(finite) + len(non_finite) - len(metrics)
    return described | ({"metrics_omitted": omitted} if omitted > 0 else {})


def described_output(output: RunOutput | None, first: BestMetric | None, max_bytes: int) -> dict[str, Any]:
    """Return a checkpoint within a number of bytes; without one, the same keys with null."""
    if output is None:
        return dict.fromkeys(_FIELDS)
    for bounds in BOUNDS:
        described = describe_output(output, bounds, first)
        if size_of(described) <= max_bytes:
            break
    return described or {}


def described_outputs(outputs: Sequence[RunOutput], first: BestMetric | None, max_bytes: int) -> dict[str, Any]:
    """Return ``checkpoints``, the latest one last, and ``omitted``, the number of the oldest ones that do not fit."""
    newest = sorted(outputs, key=lambda output: output.age_key, reverse=True)
    shown: list[dict[str, Any] | None] = []
    for bounds in BOUNDS[:_FOR_MANY]:
        shown, size = [], len(_ENVELOPE)
        for output in newest:
            described = describe_output(output, bounds, first)
            size += size_of(described) + len(_SEPARATOR)
            if size > max_bytes:
                break
            shown.append(described)
        if len(shown) == len(newest):
            break
    return {"checkpoints": shown[::-1], "omitted": len(newest) - len(shown)}


def _text(text: str | None, limit: int) -> str | None:
    """Return text of the server on one line, bounded, and without the secrets of URLs."""
    if text is None:
        return None
    return one_line(redacted(text[: 40 * limit]), limit)


def _id(text: str | None) -> str | None:
    return _text(text, _MAX_ID if text is not None and text.isascii() else _MAX_FOREIGN)


def _number(number: int | None) -> int | None:
    return number if number is not None and number.bit_length() <= _MAX_BITS else None


def _seconds(begin: int | None, end: int | None) -> float | None:
    return None if begin is None or end is None else max(0, end - begin) / 1000


def _run_number(attributes: Mapping[str, str]) -> int:
    text = attributes.get(RUN_NUMBER, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 1
