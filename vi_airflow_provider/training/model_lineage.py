"""What the export of a model reports to OpenLineage: made from what was written, without a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vi_airflow_provider.storage.datasets import dataset_name
from vi_airflow_provider.training.identity import FLOW_ID

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from vi_airflow_provider.api.models import Run
    from vi_airflow_provider.training.model_export import ExportedModel


def model_lineage(run: Run, exported: ExportedModel) -> OperatorLineage[Any, Any]:
    """Return the checkpoint of the run as input, under the name of the run's output, and the file as output."""
    from airflow.providers.common.compat.openlineage.facet import (
        Dataset,
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
    )
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.facet_v2 import dataset_version_dataset

    version, flow_id = exported.version, run.metadata.attributes.get(FLOW_ID)
    namespace, name = dataset_name(exported.files.data)
    written = OutputDataset(
        namespace=namespace,
        name=name,
        facets={"version": dataset_version_dataset.DatasetVersionDatasetFacet(version.sha256)},
        outputFacets={"outputStatistics": OutputStatisticsOutputDatasetFacet(size=version.size)},
    )
    read = Dataset(
        namespace=f"vi://{version.organization_id}",
        name=f"flows/{flow_id}/models" if flow_id else f"runs/{version.run_id}/models",
        facets={"version": dataset_version_dataset.DatasetVersionDatasetFacet(version.run_output_id)},
    )
    return OperatorLineage(inputs=[read], outputs=[written])
