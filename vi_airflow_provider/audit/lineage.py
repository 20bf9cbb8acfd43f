"""What an export reports to OpenLineage: made from what was written, without a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vi_airflow_provider.storage.datasets import dataset_name

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath
    from airflow.providers.openlineage.extractors import OperatorLineage

    from vi_airflow_provider.audit.manifest import ExportManifest
    from vi_airflow_provider.audit.subject import Subject


def export_lineage(
    subject: Subject[Any], target: ObjectStoragePath, manifest: ExportManifest
) -> OperatorLineage[Any, Any]:
    """Return the documents of the organization as input, and the export as output."""
    from airflow.providers.common.compat.openlineage.facet import (
        Dataset,
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
        SchemaDatasetFacet,
        SchemaDatasetFacetFields,
    )
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.facet_v2 import dataset_version_dataset

    facets: dict[str, Any] = {"version": dataset_version_dataset.DatasetVersionDatasetFacet(manifest.sha256)}
    if manifest.format != "jsonl":
        facets["schema"] = SchemaDatasetFacet(
            fields=[SchemaDatasetFacetFields(name=name, type=kind) for name, kind in subject.table.columns.items()]
        )
    namespace, name = dataset_name(target)
    written = OutputDataset(
        namespace=namespace,
        name=name,
        facets=facets,
        outputFacets={
            "outputStatistics": OutputStatisticsOutputDatasetFacet(rowCount=manifest.count, size=manifest.size)
        },
    )
    read = Dataset(namespace=f"vi://{manifest.organization_id}", name=f"{subject.noun}s")
    return OperatorLineage(inputs=[read], outputs=[written])
