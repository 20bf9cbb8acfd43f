"""By which metric checkpoints are compared, and which of them is the best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.validation import checked_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vi_airflow_provider.api.models import RunOutput


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


def best_metric(_name: str, value: Any) -> BestMetric | None:
    """Check the argument ``best_metric``."""
    return BestMetric.build(value)


def output_selector(name: str, value: Any) -> str | None:
    """Return an argument that selects a checkpoint: ``"latest"``, ``"best"``, an id, or ``None``."""
    if value is None:
        return None
    try:
        return checked_id(value, "run output id")  # "latest" and "best" have the form of an id, too
    except ViValidationError as error:
        reason = f"{name}: {error.args[0]}"
    raise ViValidationError(reason)


def best(outputs: Iterable[RunOutput], metric: BestMetric | None) -> RunOutput | None:
    """Return the checkpoint with the best finite value of a metric; of equals, the latest one."""
    if metric is None:
        return None
    sign = 1 if metric.goal == "max" else -1
    rated = [output for output in outputs if metric.name in output.metrics]
    return max(rated, key=lambda output: (sign * output.metrics[metric.name], output.age_key), default=None)
