"""What a training run reports to OpenLineage."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.documents import FLOW_ID, ORGANIZATION_ID, wire_run, wire_run_output, wire_spec
from vi_airflow_provider.api.models import Run, RunOutput
from vi_airflow_provider.training.summary import BestMetric, summarize

pytest.importorskip("openlineage.client")

from vi_airflow_provider.training.lineage import run_lineage

DATASET = {"block": "dataset", "settings": {"datasetId": "weld-2026q2"}, "style": {}}


def run(*blocks: Any, **changes: Any) -> Run:
    return Run.model_validate(wire_run(spec__flow=wire_spec(blocks=list(blocks)), **changes))


def result_of(trained: Run, **metrics: Any) -> dict[str, Any]:
    outputs = [
        RunOutput.model_validate(
            wire_run_output(runOutputId=f"ckpt-{epoch}", spec__epoch=epoch, spec__evaluationMetrics=m)
        )
        for epoch, m in ((1, {"f1": 0.9}), (2, metrics))
    ]
    return summarize(trained, outputs, BestMetric("f1", "max"), adopted=False, url="https://vi.example")


def test_inputs_are_the_flow_and_the_dataset_of_its_spec() -> None:
    stamps = {"vi_airflow.flow_id": FLOW_ID, "vi_airflow.flow_digest": "d" * 64}
    lineage = run_lineage(run(DATASET, metadata__attributes=stamps), None)
    flow, dataset = lineage.inputs
    assert (flow.namespace, flow.name) == (f"vi://{ORGANIZATION_ID}", f"flows/{FLOW_ID}")
    assert flow.facets["version"].datasetVersion == "d" * 64
    assert (dataset.namespace, dataset.name) == (f"vi://{ORGANIZATION_ID}", "datasets/weld-2026q2")
    assert lineage.outputs == []


@pytest.mark.parametrize("settings", [{}, {"datasetId": None}, {"datasetId": 7}, {"datasetId": ""}], ids=str)
def test_spec_without_a_dataset_has_none(settings: dict[str, Any]) -> None:
    trained = run({"block": "dataset", "settings": settings, "style": {}}, metadata__attributes={})
    assert run_lineage(trained, None).inputs == []


def test_output_is_the_best_checkpoint_with_its_finite_metrics() -> None:
    trained = run(DATASET)
    lineage = run_lineage(trained, result_of(trained, f1=0.95, loss=math.nan, perplexity=math.inf, steps=3))
    (models,) = lineage.outputs
    assert (models.name, models.facets["version"].datasetVersion) == (f"flows/{FLOW_ID}/models", "ckpt-2")
    facet = lineage.run_facets["viTrainingRun"]
    assert (facet.run_id, facet.run_output_id, facet.epoch) == (trained.run_id, "ckpt-2", 2)
    assert facet.metrics == {"f1": 0.95, "steps": 3}


def test_run_without_a_flow_id_has_models_of_its_own() -> None:
    trained = run(metadata__attributes={})
    (models,) = run_lineage(trained, result_of(trained)).outputs
    assert models.name == f"runs/{trained.run_id}/models"
