"""Operators for what a run has produced; ``operators.runs`` exports them."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from vi_airflow_provider.operators.existing_runs import ViRunBaseOperator
from vi_airflow_provider.selection.arguments import identifier
from vi_airflow_provider.selection.best_metric import output_selector
from vi_airflow_provider.selection.combinations import Combination, metric_of_best
from vi_airflow_provider.selection.literals import optional
from vi_airflow_provider.storage.places import json_lines_file, log_file, written_file

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from airflow.providers.common.compat.sdk import Context

    from vi_airflow_provider.training.artifacts import RunArtifacts


class RunArtifactsBaseOperator(ViRunBaseOperator):
    """Base of the operators for what a run has produced."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the run, and deliver what it has produced."""
        from vi_airflow_provider.training.artifacts import RunArtifacts

        with self.session(context) as hook:
            run = hook.get_run(identifier("run_id", self.run_id))
            self._announce(context, run)
            return self.deliver(RunArtifacts(hook, hook.settings, run))

    @abstractmethod
    def deliver(self, artifacts: RunArtifacts) -> dict[str, Any]:
        """Return the result of the task."""


class GetRunOutputsOperator(RunArtifactsBaseOperator):
    """Read the metrics of a run's checkpoints, and write all checkpoints to a file if one is named.

    :param run_id: the run's id
    :param select: which checkpoint to return: the ``"latest"``, the ``"best"``, or ``"all"`` of them
    :param best_metric: name of a metric and ``"max"`` or ``"min"``, by which the best checkpoint is selected
    :param destination: URL of a file, as ObjectStoragePath takes it: one line of JSON per checkpoint, with all metrics
    :return: ``{"run_id", "outputs", "run_output_id", "epoch", "kind", "metrics", "storage_object"}``; with
        ``select="all"``, ``{"run_id", "outputs", "checkpoints", "omitted"}``; with a destination, also ``uri`` and
        ``sha256``
    """

    template_fields = (*ViRunBaseOperator.template_fields, "select", "best_metric", "destination")
    choices: ClassVar = {"select": ("latest", "best", "all")}
    checks: ClassVar = {"destination": optional(json_lines_file)}
    combinations: ClassVar = (Combination(("select", "best_metric"), metric_of_best),)

    def __init__(
        self,
        *,
        select: Literal["latest", "best", "all"] = "latest",
        best_metric: Sequence[str] | None = None,
        destination: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.select = select
        self.best_metric = best_metric
        self.destination = destination
        self.refuse_literals()

    def deliver(self, artifacts: RunArtifacts) -> dict[str, Any]:
        """Return the selected checkpoints."""
        return artifacts.outputs(self.select, self.best_metric, self.destination)


class ExportModelOperator(RunArtifactsBaseOperator):
    """Store the model of a checkpoint in any storage, with a manifest: whole or not at all.

    A retry continues the download where the storage host can, and finds a model that is stored already. Memory does not
    grow with the size of the model. The pre-signed URL of the download is shown nowhere, and the secret key is not sent
    to its host.

    :param run_id: the run's id
    :param select: which checkpoint: the ``"latest"``, the ``"best"``, or one with this id; by default the best one if
        ``best_metric`` is given, else the latest
    :param best_metric: name of a metric and ``"max"`` or ``"min"``, by which the best checkpoint is selected
    :param destination: URL of the file, as ObjectStoragePath takes it
    :return: ``{"uri", "manifest_uri", "run_id", "size", "sha256", "run_output_id", "epoch", "kind", "metrics",
        "storage_object"}``
    """

    template_fields = (*ViRunBaseOperator.template_fields, "select", "best_metric", "destination")
    checks: ClassVar = {"destination": written_file, "select": output_selector}
    required: ClassVar = (*ViRunBaseOperator.required, ("destination",))
    combinations: ClassVar = (Combination(("select", "best_metric"), metric_of_best),)
    #: What was stored, for OpenLineage.
    _artifacts: RunArtifacts | None = None

    def __init__(
        self,
        *,
        destination: str,
        select: str | None = None,
        best_metric: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.select = select
        self.best_metric = best_metric
        self.refuse_literals()

    def limiting_fields(self) -> Collection[str]:
        """Return what selects the checkpoint: without it, another model would be stored."""
        return ("select", "best_metric")

    def deliver(self, artifacts: RunArtifacts) -> dict[str, Any]:
        """Store the model."""
        self._artifacts = artifacts
        return artifacts.export_model(self.select, self.best_metric, self.destination)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Report to OpenLineage which model was stored, and where."""
        return None if self._artifacts is None else self._artifacts.lineage()


class ExportRunLogsOperator(RunArtifactsBaseOperator):
    """Write the log of a run, of all its blocks, to a file.

    A reader sees the old file or the new one, never a part of one. Secrets in the log are redacted.

    :param run_id: the run's id
    :param destination: URL of the file, as ObjectStoragePath takes it; with the suffix ``.jsonl`` or ``.ndjson``, each
        line is a JSON object with everything that the server sent of it
    :return: ``{"uri", "lines", "sha256"}``
    """

    template_fields = (*ViRunBaseOperator.template_fields, "destination")
    checks: ClassVar = {"destination": log_file}
    required: ClassVar = (*ViRunBaseOperator.required, ("destination",))

    def __init__(self, *, destination: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.refuse_literals()

    def deliver(self, artifacts: RunArtifacts) -> dict[str, Any]:
        """Write the log."""
        return artifacts.export_log(self.destination)
