"""What a training run reports to OpenLineage: made from what the task has read of the run, without a request.

Only OpenLineage imports this module, so its packages are installed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attr
from airflow.providers.common.compat.openlineage.facet import Dataset, OutputDataset
from airflow.providers.openlineage.extractors import OperatorLineage
from openlineage.client.facet_v2 import RunFacet, dataset_version_dataset

from vi_airflow_provider.training.identity import FLOW_DIGEST, FLOW_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vi_airflow_provider.api.models import FlowSpec, Run


@attr.define
class TrainingRunFacet(RunFacet):
    """How a training run went.

    :param metrics: those of the checkpoint that is the output, finite numbers only
    """

    run_id: str
    state: str
    run_output_id: str | None = None
    epoch: int | None = None
    metrics: dict[str, float] = attr.field(factory=dict)
    queued_seconds: float | None = None
    running_seconds: float | None = None


def run_lineage(run: Run, result: Mapping[str, Any] | None) -> OperatorLineage[Any, Any]:
    """Return flow and dataset as inputs, the models of the flow as output, and metrics as a facet of the task's run.

    :param result: the summary of a run that has succeeded, ``None`` if it has not
    """
    facts = result or {}
    model = facts.get("best") or facts.get("model") or {}
    metrics = {name: value for name, value in (model.get("metrics") or {}).items() if _is_finite(value)}
    facet = TrainingRunFacet(
        run_id=run.run_id,
        state=facts.get("state", run.state.value),
        run_output_id=model.get("run_output_id"),
        epoch=model.get("epoch"),
        metrics=metrics,
        queued_seconds=facts.get("queued_seconds"),
        running_seconds=facts.get("running_seconds"),
    )
    outputs = [_models(run, model["run_output_id"])] if model else []
    return OperatorLineage(inputs=_inputs(run), outputs=outputs, run_facets={"viTrainingRun": facet})


def _inputs(run: Run) -> list[Dataset]:
    inputs, flow_id = [], run.metadata.attributes.get(FLOW_ID)
    if flow_id:
        digest = run.metadata.attributes.get(FLOW_DIGEST, "")
        facets: dict[str, Any] = (
            {"version": dataset_version_dataset.DatasetVersionDatasetFacet(digest)} if digest else {}
        )
        inputs.append(Dataset(namespace=_namespace(run), name=f"flows/{flow_id}", facets=facets))
    return inputs + [Dataset(namespace=_namespace(run), name=f"datasets/{name}") for name in _datasets(run.spec.flow)]


def _models(run: Run, run_output_id: str) -> OutputDataset:
    flow_id = run.metadata.attributes.get(FLOW_ID)
    name = f"flows/{flow_id}/models" if flow_id else f"runs/{run.run_id}/models"
    version = dataset_version_dataset.DatasetVersionDatasetFacet(run_output_id)
    return OutputDataset(namespace=_namespace(run), name=name, facets={"version": version})


def _datasets(spec: FlowSpec) -> list[str]:
    """Return the ids of datasets; the API does not document where they stand (VI_API.md, section 9)."""
    ids = [(block.settings or {}).get("datasetId") for block in spec.blocks if block.block == "dataset"]
    return [name for name in ids if isinstance(name, str) and name]


def _namespace(run: Run) -> str:
    return f"vi://{run.organization_id}"


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
