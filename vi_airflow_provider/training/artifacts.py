"""What a run has produced: checkpoints, models, a log. From the arguments of a task to its result."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any, Final

from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.api.protocol.redaction import Redactor
from vi_airflow_provider.api.transport.download import Downloader
from vi_airflow_provider.selection.arguments import choice
from vi_airflow_provider.selection.combinations import metric_of_best
from vi_airflow_provider.storage import tempfiles
from vi_airflow_provider.storage.files import write_atomically
from vi_airflow_provider.storage.places import json_lines_file
from vi_airflow_provider.storage.safe_text import safe_json
from vi_airflow_provider.storage.urls import refuse_folder, resolve_file
from vi_airflow_provider.training.log_export import export_log
from vi_airflow_provider.training.model_export import ExportedModel, export_model, select_output
from vi_airflow_provider.training.model_lineage import model_lineage
from vi_airflow_provider.training.summary import (
    MAX_BYTES,
    BestMetric,
    best,
    described_output,
    described_outputs,
    latest,
    size_of,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from vi_airflow_provider.api.models import Run, RunOutput
    from vi_airflow_provider.api.settings import ViSettings
    from vi_airflow_provider.api.verbs import BlockingVerbs

log = logging.getLogger(__name__)

_SELECT: Final = ("latest", "best", "all")


class RunArtifacts:
    """What a run has produced.

    :param client: retries as usual
    :param run: the run as it is now
    """

    #: The model that was exported.
    _exported: ExportedModel | None = None

    def __init__(self, client: BlockingVerbs, settings: ViSettings, run: Run) -> None:
        self._client = client
        self._settings = settings
        self._run = run

    def outputs(self, select: object, best_metric: object, destination: object) -> dict[str, Any]:
        """Return the latest, the best or all checkpoints, and write all of them to a file if one is named.

        :raises ViValidationError: an argument is unusable
        """
        chosen, metric = choice("select", select, _SELECT), BestMetric.build(best_metric)
        metric_of_best(select=chosen, best_metric=metric)
        target = None
        if destination is not None:
            target = resolve_file("destination", json_lines_file("destination", destination))
            refuse_folder("destination", target)
        outputs = list(self._client.list_run_outputs(self._run.run_id))
        result: dict[str, Any] = {"run_id": self._run.run_id, "outputs": len(outputs)}
        if target is not None:
            result |= self._write(outputs, target)
        if chosen == "all":
            return result | described_outputs(outputs, metric, MAX_BYTES - size_of(result))
        output = latest(outputs) if chosen == "latest" else best(outputs, metric)
        return result | described_output(output, metric, MAX_BYTES - size_of(result))

    def _write(self, outputs: list[RunOutput], target: ObjectStoragePath) -> dict[str, Any]:
        """Write one line of JSON per checkpoint, the latest one last, without its pre-signed URL."""
        digest, redact = hashlib.sha256(), Redactor(self._settings.secrets())
        with tempfiles.file() as file:
            for output in sorted(outputs, key=lambda output: output.age_key):
                document = output.to_wire()
                document["status"].pop("contents", None)
                line = canonical_json(safe_json(document, redact)) + b"\n"
                digest.update(line)
                file.write(line)
            write_atomically(target, file)
        log.info("%d checkpoints of run %s written: %s", len(outputs), self._run.run_id, target)
        return {"uri": str(target), "sha256": digest.hexdigest()}

    def export_model(self, select: object, best_metric: object, destination: object) -> dict[str, Any]:
        """Store the content of a checkpoint, and return where, and what it is.

        :raises ViValidationError: an argument is unusable
        """
        metric, target = BestMetric.build(best_metric), resolve_file("destination", destination)
        output = select_output(self._client, self._run.run_id, select, metric)
        self._exported = exported = export_model(self._client, Downloader(self._settings).download, output, target)
        version = exported.version
        result: dict[str, Any] = {
            "uri": str(exported.files.data),
            "manifest_uri": str(exported.files.manifest),
            "run_id": version.run_id,
            "size": version.size,
            "sha256": version.sha256,
        }
        return result | described_output(output, metric, MAX_BYTES - size_of(result))

    def lineage(self) -> Any:
        """Return what OpenLineage receives about the export of a model, ``None`` without one."""
        return None if self._exported is None else model_lineage(self._run, self._exported)

    def export_log(self, destination: object) -> dict[str, Any]:
        """Write the log to a file, and return its place, its number of lines and its sha256."""
        active, redact = not self._run.state.is_ended, Redactor(self._settings.secrets())
        return export_log(self._client, self._run.run_id, destination, active=active, redact=redact)._asdict()
