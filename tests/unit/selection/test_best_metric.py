"""Which checkpoint is the best: by a finite metric, and of equals the latest."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.documents import wire_run_output
from vi_airflow_provider.api.errors import ViValidationError
from vi_airflow_provider.api.models import RunOutput
from vi_airflow_provider.selection.best_metric import BestMetric, best, output_selector


def output(name: str, epoch: int, **metrics: float) -> RunOutput:
    wire = wire_run_output(runOutputId=name, spec__epoch=epoch, spec__evaluationMetrics=metrics)
    return RunOutput.model_validate(wire)


def test_best_checkpoint_has_the_best_finite_metric() -> None:
    outputs = [output("a", 1, f1=0.5, loss=3), output("b", 2, f1=math.nan, loss=1), output("c", 3, f1=0.9, loss=2)]
    assert best(outputs, BestMetric("f1", "max")) is outputs[2]
    assert best(outputs, BestMetric("f1", "min")) is outputs[0]
    assert best(outputs, BestMetric("loss", "min")) is outputs[1]
    assert best(outputs, BestMetric("loss", "max")) is outputs[0]
    assert best(outputs, BestMetric("recall", "max")) is None
    assert best(outputs, None) is None


@pytest.mark.parametrize("goal", ["max", "min"])
def test_of_equal_checkpoints_the_latest_is_the_best(goal: Any) -> None:
    outputs = [output("a", 1, f1=0.5), output("c", 3, f1=0.5), output("b", 2, f1=0.5)]
    assert best(outputs, BestMetric("f1", goal)) is outputs[1]


@pytest.mark.parametrize("value", [("f1", "max"), ["f1", "max"]], ids=repr)
def test_a_pair_may_be_a_list(value: Any) -> None:
    assert BestMetric.build(value) == BestMetric("f1", "max")
    assert BestMetric.build(("loss", "min")) == BestMetric("loss", "min")
    assert BestMetric.build(None) is None


@pytest.mark.parametrize(
    "value",
    ["f1", ("f1",), ("f1", "best"), ("", "max"), (1, "max"), ("f1", "max", 1), {}, {"f1": 1, "max": 2}, 5],
    ids=repr,
)
def test_another_value_is_refused_with_an_example(value: Any) -> None:
    with pytest.raises(ViValidationError) as caught:
        BestMetric.build(value)
    assert caught.value.args[0] == f'best_metric: {value!r} is not a name and a goal, like ("f1", "max")'


@pytest.mark.parametrize("value", ["latest", "best", "epoch-060", None], ids=repr)
def test_a_checkpoint_is_selected_by_word_or_id(value: Any) -> None:
    assert output_selector("select", value) == value


def test_another_selector_is_refused() -> None:
    with pytest.raises(ViValidationError) as caught:
        output_selector("select", "the best")
    assert caught.value.args[0].startswith("select: 'the best' is not a valid run output id")
