"""What is known of every run, apart from the models, so that reading a DAG file does not import those."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

#: Attribute that names the flow of a run: a run embeds a copy of its flow, and no id (VI_API.md section 5).
FLOW_ID_ATTRIBUTE: Final = "vi_airflow.flow_id"


class RunState(StrEnum):
    """Where a run is in its life. Vi documents no such field: it is derived from the run's conditions."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    KILLED = "killed"

    @property
    def is_ended(self) -> bool:
        """Has the run come to its end? Whatever is not known to have ended is active."""
        return self in _ENDED


_ENDED: Final = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.KILLED})
