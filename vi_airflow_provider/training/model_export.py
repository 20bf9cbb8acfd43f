"""The content of a checkpoint in any storage: whole or not at all, with a manifest, and fetched once.

Publishing a model
------------------
As for exports of flows, the manifest is written before the file, and accepts the version that it replaces, too: a file
is never without a manifest that accepts it. Killed after a step, this is left:

====================  =========  ====================  =====================================
after                 file       manifest accepts      what the next try does
====================  =========  ====================  =====================================
1. download           old        old                   finds all bytes, and publishes them
2. manifest           old        new, old              the same
3. file               new        new, old              finds the export, and returns it
====================  =========  ====================  =====================================

Two tasks may export to one destination at a time, each unaware of the other. So a manifest also accepts what the one
before it described, even if that file is not there yet, and after step 3 the manifest is read back: as long as the file
is ours, it must accept it. Of two tasks, the one that writes the file last is accepted, in any order of their steps.

A finished export is recognized by its manifest, and by size and sha256 of the file, which is read for that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter

from vi_airflow_provider import __version__
from vi_airflow_provider.api.errors import ViError, ViNotFoundError, ViResponseError
from vi_airflow_provider.api.settings import Secret
from vi_airflow_provider.selection.best_metric import output_selector
from vi_airflow_provider.selection.combinations import metric_of_best
from vi_airflow_provider.storage import tempfiles
from vi_airflow_provider.storage.files import write_atomically
from vi_airflow_provider.storage.manifest import ManifestKind, Suffix, sha256_of
from vi_airflow_provider.storage.places import LOCAL
from vi_airflow_provider.storage.spool import ContentSpool, place_for
from vi_airflow_provider.storage.urls import refuse_folder
from vi_airflow_provider.training.summary import BestMetric, best, latest

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import RunOutput
    from vi_airflow_provider.api.protocol.download import Sink
    from vi_airflow_provider.api.verbs import BlockingVerbs
    from vi_airflow_provider.storage.manifest import Files

log = logging.getLogger(__name__)

#: How often a task rewrites its manifest while other tasks write theirs.
_ATTEMPTS: Final = 3
#: Fills a sink with the content behind URLs, which the function returns.
Fetch = Callable[[Callable[[], Secret], "Sink"], None]


class ModelExportError(Exception):
    """A model does not match its manifest, or has none."""


MODEL: Final = ManifestKind(
    "vi-model", manifest=Suffix("", ".manifest.json"), report=Suffix("", ".report.html"), error=ModelExportError
)


@dataclass(frozen=True)
class ModelVersion:
    """One version of an exported file, and which model it is."""

    file: str
    size: int
    sha256: str
    organization_id: str
    run_id: str
    run_output_id: str
    epoch: int | None
    output_kind: str
    metrics: dict[str, float]
    created_at: str
    provider_version: str


_VERSION: Final = TypeAdapter(ModelVersion)


@dataclass(frozen=True)
class ExportedModel:
    """A model in a file."""

    files: Files
    version: ModelVersion
    output: RunOutput


def select_output(client: BlockingVerbs, run_id: str, select: object, best_metric: BestMetric | None) -> RunOutput:
    """Return the checkpoint that a DAG author selects.

    :param select: ``"latest"``, ``"best"`` or the id of a checkpoint; ``None`` for the best one if there is a metric
    :raises ViNotFoundError: the run has no checkpoint, or no checkpoint has the metric
    """
    selector = output_selector("select", select) or ("latest" if best_metric is None else "best")
    if selector not in ("latest", "best"):
        return client.get_run_output(run_id, selector)
    metric_of_best(select=selector, best_metric=best_metric)
    outputs = list(client.list_run_outputs(run_id))
    found = latest(outputs) if selector == "latest" else best(outputs, best_metric)
    if found is None:
        lack = "no checkpoint" if not outputs or best_metric is None else f"no checkpoint with {best_metric.name!r:.80}"
        raise ViNotFoundError(f"run {run_id} has {lack}", advice="Wait until the run has succeeded.")
    return found


def export_model(client: BlockingVerbs, fetch: Fetch, output: RunOutput, target: Any) -> ExportedModel:
    """Store the content of a checkpoint, or find it stored.

    :param fetch: downloads the content
    :param target: the file, checked
    """
    files = MODEL.files(str(target))
    refuse_folder("destination", files.data)
    for version in _accepted(files):
        if _is_of(version, output) and _is_stored(files, version):
            log.info("The model is stored already: %s", files.data)
            return ExportedModel(files, version, output)

    def new_url() -> Secret:
        return _url_of(client.get_run_output(output.run_id, output.run_output_id, contents=True))

    key = f"{output.organization_id}/{output.run_id}/{output.run_output_id}"
    with ContentSpool(place_for(files.data, key), _Progress()) as spool:
        try:
            fetch(new_url, spool)
        except ViError as error:
            if not error.retryable:
                spool.discard()
            raise
        sha256, size = spool.finish()
        version = _version_of(output, files, sha256, size)
        _publish(files, version, spool)
    log.info(
        "Model %s of run %s exported: %s, %s bytes, sha256 %s",
        output.run_output_id,
        output.run_id,
        files.data,
        f"{size:,}",
        sha256,
    )
    return ExportedModel(files, version, output)


def read_manifest(uri: str) -> list[ModelVersion]:
    """Return the versions that the manifest of a model accepts: first the one that it describes.

    :raises ModelExportError: the manifest is missing, malformed or of another kind
    """
    with MODEL.facts(MODEL.files(uri).manifest) as facts:
        return [_VERSION.validate_python(version) for version in (facts, facts["replaces"]) if version]


def _accepted(files: Files) -> list[ModelVersion]:
    files.manifest.fs.invalidate_cache()  # other processes write, too
    try:
        return read_manifest(str(files.data))
    except ModelExportError:
        return []


def _is_of(version: ModelVersion, output: RunOutput) -> bool:
    found = version.organization_id, version.run_id, version.run_output_id
    return found == (output.organization_id, output.run_id, output.run_output_id)


def _is_stored(files: Files, version: ModelVersion) -> bool:
    try:
        return files.data.stat().st_size == version.size and sha256_of(files.data) == version.sha256
    except FileNotFoundError:
        return False


def _publish(files: Files, version: ModelVersion, spool: ContentSpool) -> None:
    """Write the manifest, then the file, and check that the manifest accepts it: another task may have written its own.

    :raises ModelExportError: other tasks keep replacing the file
    """
    _write_manifest(files, version)
    if files.data.protocol in LOCAL:
        spool.move_to(Path(files.data.path).resolve())
    else:
        with spool.content() as content:
            write_atomically(files.data, content)
        spool.discard()
    for _ in range(_ATTEMPTS):
        if version.sha256 in {each.sha256 for each in _accepted(files)}:
            return
        if not _is_stored(files, version):
            return  # replaced, and settled by the task that replaced it
        log.warning("%s is being exported by another task, too; give each task a destination of its own", files.data)
        _write_manifest(files, version)
    raise ModelExportError(f"{files.data} keeps being replaced by other tasks; give each task a destination of its own")


def _write_manifest(files: Files, version: ModelVersion) -> None:
    """Write a manifest that also accepts the file that is there, or else the one that another task may be writing."""
    others = [old for old in _accepted(files) if old.sha256 != version.sha256]
    replaces = next((old for old in others if _is_stored(files, old)), next(iter(others), None))
    with tempfiles.file() as file:
        MODEL.write(file, {**asdict(version), "replaces": None if replaces is None else asdict(replaces)})
        write_atomically(files.manifest, file)


def _version_of(output: RunOutput, files: Files, sha256: str, size: int) -> ModelVersion:
    return ModelVersion(
        file=files.data.name,
        size=size,
        sha256=sha256,
        organization_id=output.organization_id,
        run_id=output.run_id,
        run_output_id=output.run_output_id,
        epoch=output.spec.epoch,
        output_kind=output.spec.kind,
        metrics=output.metrics,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        provider_version=__version__,
    )


def _url_of(output: RunOutput) -> Secret:
    contents = output.status.contents
    if contents is None or contents.download_url is None:
        raise ViResponseError(f"the server offers no download of checkpoint {output.run_output_id!r:.80}")
    return Secret(contents.download_url.url.get_secret_value())


class _Progress:
    """Logs how far a download is: ten lines at most if its size is known, else one per doubling."""

    _STEP: Final = 0.1
    _FIRST: Final = 256 << 20

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, size: int, total: int | None) -> None:
        if size < self._next:
            return
        if self._next:
            share = f" of {total:,} ({size / total:.0%})" if total else ""
            log.info("%s bytes%s downloaded", f"{size:,}", share)
        self._next = max(self._FIRST, 2 * size) if total is None else max(size, 1) + self._STEP * total
