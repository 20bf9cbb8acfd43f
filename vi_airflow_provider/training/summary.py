"""What a task returns about a run: small, of plain JSON, without secrets, and the same in every mode."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from vi_airflow_provider.api.canonical import canonical_json, spec_digest
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.models import Run, RunOutput
from vi_airflow_provider.selection.xcom import RESERVED_KEYS
from vi_airflow_provider.training.identity import FLOW_DIGEST, FLOW_ID, NAMESPACE, RUN_NUMBER

#: Bytes of a summary as JSON.
MAX_BYTES: Final = 8_000
#: Metrics of a checkpoint that a summary has at most, fewer if they have long names; further ones are counted.
MAX_METRICS: Final = (50, 20, 8, 0)
#: Characters of a name or a reason that a summary has at most.
MAX_TEXT: Final = 100
#: Known only to a task that has read the checkpoints of a run, or has started it.
_NOT_LISTED: Final = ("adopted", "outputs", "model", "best")


class BestMetric(NamedTuple):
    """By which metric checkpoints are compared."""

    name: str
    goal: Literal["max", "min"]

    @classmethod
    def build(cls, value: Any) -> BestMetric | None:
        """Check what a DAG author gives: ``None``, or a name and ``"max"`` or ``"min"``.

        :raises ViValidationError: it is neither
        """
        if value is None:
            return None
        match list(value) if isinstance(value, (list, tuple)) else None:
            case [str(name), "max" | "min" as goal] if name:
                return cls(name, goal)
        raise ViValidationError(f'best_metric: {value!r:.80} is not a name and a goal, like ("f1", "max")')


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
    for max_metrics in MAX_METRICS:
        summary = _summary(run, outputs, best_metric, max_metrics, adopted=adopted, url=url)
        if len(canonical_json(summary)) <= MAX_BYTES:
            break
    return summary


def _summary(
    run: Run,
    outputs: Sequence[RunOutput],
    best_metric: BestMetric | None,
    max_metrics: int,
    *,
    adopted: bool,
    url: str,
) -> dict[str, Any]:
    attributes = run.metadata.attributes
    flow = run.spec.flow
    return {
        "run_id": run.run_id,
        "state": run.state.value,
        "flow_id": attributes.get(FLOW_ID),
        "flow_name": flow.name[:MAX_TEXT],
        "flow_digest": attributes.get(FLOW_DIGEST) or spec_digest(flow.to_wire()),
        "training_project": run.spec.training_project,
        "namespace": attributes.get(NAMESPACE, "")[:MAX_TEXT],
        "run_number": _number(attributes),
        "adopted": adopted,
        "created_at": run.metadata.time_created,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "queued_seconds": _seconds(run.metadata.time_created, run.started_at),
        "running_seconds": _seconds(run.started_at, run.ended_at),
        "reason": None if run.reason is None else run.reason[:MAX_TEXT],
        "outputs": len(outputs),
        "model": describe_output(latest(outputs), max_metrics),
        "best": describe_output(best(outputs, best_metric), max_metrics),
        "url": url,
    }


def summarize_listed(run: Run, *, url: str) -> dict[str, Any]:
    """Return what a listing reports of a run: the summary without its checkpoints, which are not read."""
    summary = summarize(run, (), None, adopted=False, url=url)
    return {key: value for key, value in summary.items() if key not in _NOT_LISTED}


def latest(outputs: Iterable[RunOutput]) -> RunOutput | None:
    """Return the checkpoint of the highest epoch, of those the one that was made last."""
    return max(outputs, key=lambda output: output.age_key, default=None)


def best(outputs: Iterable[RunOutput], metric: BestMetric | None) -> RunOutput | None:
    """Return the checkpoint with the best finite value of a metric; of equals, the latest one."""
    if metric is None:
        return None
    sign = 1 if metric.goal == "max" else -1
    rated = [output for output in outputs if metric.name in output.metrics]
    return max(rated, key=lambda output: (sign * output.metrics[metric.name], output.age_key), default=None)


def describe_output(output: RunOutput | None, max_metrics: int = MAX_METRICS[0]) -> dict[str, Any] | None:
    """Return a checkpoint as JSON data, with finite numbers and without its pre-signed URL.

    Metrics whose names Airflow reserves are omitted: the push of the XCom would fail after the run was paid for.
    """
    if output is None:
        return None
    usable = sorted((name, value) for name, value in output.metrics.items() if name not in RESERVED_KEYS)
    metrics = dict(usable[:max_metrics])
    described: dict[str, Any] = {
        "run_output_id": output.run_output_id,
        "epoch": output.spec.epoch,
        "kind": output.spec.kind[:MAX_TEXT],
        "metrics": {name[:MAX_TEXT]: value for name, value in metrics.items()},
        "storage_object": (output.status.storage_object or "")[:MAX_TEXT] or None,
    }
    for name in output.non_finite_metrics[:max_metrics]:
        if name not in RESERVED_KEYS:
            described["metrics"].setdefault(name[:MAX_TEXT], None)
    if output.non_finite_metrics:
        described["non_finite"] = [name[:MAX_TEXT] for name in output.non_finite_metrics[:max_metrics]]
    omitted = len(output.metrics) + len(output.non_finite_metrics) - len(described["metrics"])
    return described | ({"metrics_omitted": omitted} if omitted > 0 else {})


def _seconds(begin: int | None, end: int | None) -> float | None:
    if begin is None or end is None:
        return None
    seconds = max(0, end - begin) / 1000
    return seconds if math.isfinite(seconds) else None


def _number(attributes: Mapping[str, str]) -> int:
    text = attributes.get(RUN_NUMBER, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 1
