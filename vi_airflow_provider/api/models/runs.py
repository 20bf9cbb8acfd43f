"""Training runs and what they produce (VI_API.md section 5)."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Final, Literal

from pydantic import Field, SecretStr, StrictInt

from vi_airflow_provider.api.models.document import DeletedDocument, Document, ResourceMetadata
from vi_airflow_provider.api.models.flows import FlowSpec
from vi_airflow_provider.api.run_state import RunState

log = logging.getLogger(__name__)


#: The words of all four vocabularies of VI_API.md section 5, in lower case.
_FAILED: Final = frozenset({"failed", "error"})
_KILLED: Final = frozenset({"cancelled", "canceled", "killed"})
_SUCCEEDED: Final = frozenset({"finished", "succeeded", "completed", "complete"})
_RUNNING: Final = frozenset({"started", "running", "starting"})
_STATUSES: Final = frozenset({"Waiting", "Reached", "FailedReach"})


class RunCondition(Document):
    """A milestone of a run; names and statuses are open sets."""

    condition: str
    status: str
    last_transition_time: StrictInt
    reason: str | None = None
    message: str | None = None


def classify(conditions: Iterable[RunCondition], *, killed: bool) -> RunState:
    """Derive the state of a run from its conditions (VI_API.md section 5), in whatever order and words they come.

    :param killed: whether a kill of the run was requested (``spec.killedAt``)
    """
    reached: set[str] = set()
    failed = False
    for condition in conditions:
        name = condition.condition.lower()
        if condition.status == "FailedReach":
            failed = True
        elif condition.status == "Reached":
            reached.add(name)
        elif condition.status not in _STATUSES:
            # A new word must not end a run, or start a second one.
            log.debug("Condition %.80r of a run has the unknown status %.80r", condition.condition, condition.status)
    if failed or reached & _FAILED:
        return RunState.KILLED if killed else RunState.FAILED
    if reached & _KILLED:
        return RunState.KILLED
    if reached & _SUCCEEDED:
        return RunState.SUCCEEDED
    if killed:
        return RunState.KILLED
    return RunState.RUNNING if reached & _RUNNING else RunState.QUEUED


class RunSpec(Document):
    """What a run trains: a copy of the flow, not a reference to it."""

    flow: FlowSpec
    killed_at: StrictInt | None = None
    training_project: str | None = None


class RunStatus(Document):
    """What the server reports about a run. ``log`` may be a pre-signed URL, so it is not shown."""

    log: str = Field(repr=False)
    observed_generation: StrictInt
    conditions: list[RunCondition]


class Run(Document):
    """A training run."""

    kind: Literal["Run"] = "Run"
    organization_id: str = Field(alias="workspaceId")
    run_id: str
    spec: RunSpec
    status: RunStatus
    metadata: ResourceMetadata
    self_link: str
    etag: str

    @property
    def state(self) -> RunState:
        """Where the run is in its life."""
        return classify(self.status.conditions, killed=self.spec.killed_at is not None)

    @property
    def has_stopped(self) -> bool:
        """Does a condition report that the run has ended? A killed run goes on until then, and may cost credits."""
        return classify(self.status.conditions, killed=False).is_ended

    @property
    def started_at(self) -> int | None:
        """When the run left the queue, in milliseconds since the epoch; ``None`` if that is not known."""
        return _first_transition(self.status.conditions, _RUNNING)

    @property
    def ended_at(self) -> int | None:
        """When the run ended, in milliseconds since the epoch; ``None`` if it has not, or that is not known."""
        if not self.state.is_ended:
            return None
        return _last_transition(self.status.conditions)

    @property
    def reason(self) -> str | None:
        """Why the run is in its state, in the server's words: reason and message of the condition that decided."""
        decisive = max(_decisive(self.status.conditions), key=lambda c: c.last_transition_time, default=None)
        if decisive is None:
            return None
        return ": ".join(filter(None, (decisive.reason, decisive.message))) or None


def _decisive(conditions: Iterable[RunCondition]) -> Iterator[RunCondition]:
    for condition in conditions:
        name = condition.condition.lower()
        if condition.status == "FailedReach" or (condition.status == "Reached" and name in _FAILED | _KILLED):
            yield condition


def _first_transition(conditions: Iterable[RunCondition], names: frozenset[str]) -> int | None:
    times = (c.last_transition_time for c in conditions if c.status == "Reached" and c.condition.lower() in names)
    return min((time for time in times if time > 0), default=None)


def _last_transition(conditions: Iterable[RunCondition]) -> int | None:
    ends = _FAILED | _KILLED | _SUCCEEDED
    times = (
        c.last_transition_time
        for c in conditions
        if c.status == "FailedReach" or (c.status == "Reached" and c.condition.lower() in ends)
    )
    return max((time for time in times if time > 0), default=None)


class SimpleRun(Document):
    """The short form of a run (``simpleRuns``): its id and, maybe, its name."""

    run_id: str
    name: str | None = None


class DeletedRun(DeletedDocument):
    """What became of the delete of a run."""


class RunOutputSpec(Document):
    """What a checkpoint is, and how it performed. A metric may be NaN or infinite."""

    kind: str
    epoch: int | None = None
    evaluation_metrics: dict[str, Any] | None = None


class DownloadUrl(Document):
    """Where a checkpoint can be downloaded, for a while. The URL is a secret: it works without a key."""

    url: SecretStr
    expires_at: int | None = None


class RunOutputContents(Document):
    """The content of a checkpoint."""

    download_url: DownloadUrl | None = None


class RunOutputStatus(Document):
    """What the server reports about a checkpoint. ``contents`` has a pre-signed URL, so it is not shown."""

    observed_generation: StrictInt
    conditions: list[dict[str, Any]]
    storage_object: str | None = None
    contents: RunOutputContents | None = Field(default=None, repr=False)


class RunOutput(Document):
    """A checkpoint of a run; the vendor's SDK calls it a model."""

    kind: str = "RunOutput"
    organization_id: str = Field(alias="workspaceId")
    run_id: str
    run_output_id: str
    spec: RunOutputSpec
    status: RunOutputStatus
    metadata: ResourceMetadata
    self_link: str
    etag: str

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics that are finite numbers."""
        return {name: value for name, value in self._numbers() if _is_finite(value)}

    @property
    def non_finite_metrics(self) -> list[str]:
        """The names of the metrics that are NaN, infinite or beyond any float, sorted."""
        return sorted(name for name, value in self._numbers() if not _is_finite(value))

    @property
    def age_key(self) -> tuple[int, int, str]:
        """Sort key by which the latest checkpoint is the greatest: epoch, then time of creation."""
        epoch = self.spec.epoch if self.spec.epoch is not None else -1
        return epoch, self.metadata.time_created, self.run_output_id

    def _numbers(self) -> Iterator[tuple[str, float]]:
        for name, value in (self.spec.evaluation_metrics or {}).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield name, value


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int with hundreds of digits
        return False


class RunLogLine(Document):
    """A line of a run's log. Servers may send more with it (a time, a cursor, a block), which is kept as it is."""

    line: str


class RunLogs(Document):
    """A part of a run's log. The contract leaves its form open, so whatever the server sent is in ``raw``."""

    #: Fields of a response that may hold the lines; the first one with a list or a text counts.
    LINE_FIELDS: ClassVar = ("items", "lines", "data", "logs")

    lines: list[RunLogLine]
    raw: Any = Field(default=None, repr=False)

    @classmethod
    def lines_in(cls, raw: Any) -> list[Any] | str | None:
        """Return the part of a response that holds the lines, ``None`` if none of its parts is known to."""
        values = map(raw.get, cls.LINE_FIELDS) if isinstance(raw, dict) else [raw]
        return next((value for value in values if isinstance(value, (list, str))), None)

    @property
    def has_unknown_shape(self) -> bool:
        """Whether the response has contents in which no lines are found, so that only ``raw`` holds them."""
        return bool(self.raw) and self.lines_in(self.raw) is None

    @property
    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(item.line for item in self.lines)
