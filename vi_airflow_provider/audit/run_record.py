"""A run as an export has it: its document and, if wanted, the metrics of its checkpoints, without anything secret.

``status.log`` and the contents of a checkpoint may be pre-signed URLs, which work without a key. Neither is exported,
nor is what the contract does not name beside them; in the texts of the conditions, the query of a URL is cut off.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from vi_airflow_provider.api.canonical import canonical_spec, spec_digest
from vi_airflow_provider.api.models import Run, RunCondition
from vi_airflow_provider.api.models.document import Document
from vi_airflow_provider.api.models.runs import RunStatus

if TYPE_CHECKING:
    from vi_airflow_provider.api.models import RunOutput

_WORD: Final = re.compile(r"\S+")
#: Where the query of a URL begins, in which a signature would be.
_QUERY: Final = re.compile(r"[?#]")

#: The members of a run that an export has; of its status, the conditions follow.
_EXPORTED: Final = frozenset({"kind", "workspaceId", "runId", "spec", "metadata", "selfLink", "etag"})


class RecordedStatus(RunStatus):
    """The status of a run in an export, which has no log."""

    log: str = Field(default="", repr=False)


class Checkpoint(Document):
    """What an export has of a checkpoint. A metric that is not a finite number is null, and named."""

    run_output_id: str
    kind: str
    epoch: int | None = None
    evaluation_metrics: dict[str, Any] = Field(default_factory=dict)
    non_finite: list[str] = Field(default_factory=list)
    storage_object: str | None = None
    time_created: int


class RunRecord(Run):
    """A run in an export. ``outputs`` is absent if the checkpoints were not read."""

    status: RecordedStatus
    outputs: list[Checkpoint] | None = None

    @property
    def flow_digest(self) -> str:
        """The digest of the copy of the flow that the run trains."""
        return spec_digest(self.spec.flow.to_wire())


def record_run(run: Run, outputs: Iterable[RunOutput] | None) -> RunRecord:
    """Return what an export has of a run.

    :param outputs: its checkpoints of all pages; ``None`` if they were not read
    """
    wire = {name: value for name, value in run.to_wire().items() if name in _EXPORTED}
    wire["status"] = {
        "observedGeneration": run.status.observed_generation,
        "conditions": [_condition(condition) for condition in run.status.conditions],
    }
    if outputs is not None:
        wire["outputs"] = [_checkpoint(output) for output in sorted(outputs, key=lambda output: output.age_key)]
    return RunRecord.model_validate(wire)


def comparable_run(wire: dict[str, Any]) -> dict[str, Any]:
    """Return what counts when two versions of a run are compared: state, spec, attributes and checkpoints.

    :param wire: the wire form of a record
    """
    run = RunRecord.model_validate(wire)
    optional = ("trainingProject", "killedAt")
    spec = {key: value for key, value in wire["spec"].items() if key not in optional or value is not None}
    spec["flow"] = canonical_spec(spec["flow"])
    compared = {
        "state": run.state.value,
        "reason": run.reason,
        "spec": spec,
        "metadata": {"attributes": wire["metadata"]["attributes"]},
    }
    if wire.get("outputs") is not None:
        # By id, not by position: a new checkpoint must not look like a change of those behind it.
        compared["outputs"] = {
            output["runOutputId"]: {key: value for key, value in output.items() if key != "runOutputId"}
            for output in wire["outputs"]
        }
    return compared


def _condition(condition: RunCondition) -> dict[str, Any]:
    texts = {name: _without_queries(getattr(condition, name)) for name in ("reason", "message")}
    return {
        "condition": condition.condition,
        "status": condition.status,
        "lastTransitionTime": condition.last_transition_time,
        **{name: text for name, text in texts.items() if text is not None},
    }


def _checkpoint(output: RunOutput) -> dict[str, Any]:
    metrics = {name: _finite(value) for name, value in (output.spec.evaluation_metrics or {}).items()}
    return {
        "runOutputId": output.run_output_id,
        "kind": output.spec.kind,
        "epoch": output.spec.epoch,
        "evaluationMetrics": metrics,
        "nonFinite": output.non_finite_metrics,
        "storageObject": _without_queries(output.status.storage_object),
        "timeCreated": output.metadata.time_created,
    }


def _finite(value: Any) -> Any:
    """Replace numbers that JSON cannot write, at any depth."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return _without_queries(value)
    if isinstance(value, dict):
        return {key: _finite(member) for key, member in value.items()}
    return [_finite(member) for member in value] if isinstance(value, list) else value


def _without_queries(text: str | None) -> str | None:
    return None if text is None else _WORD.sub(lambda word: _without_query(word[0]), text)


def _without_query(word: str) -> str:
    """Return a word without what follows a URL in it from the query on."""
    url = word.find("://")
    query = None if url < 0 else _QUERY.search(word, url)
    return word if query is None else f"{word[: query.start()]}?…"
