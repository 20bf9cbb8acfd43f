"""Which run belongs to which task instance: ids that any try derives again, and the stamps on a run.

The client chooses the id of a run, so a task instance needs to store nothing: every try derives the same ids from what
identifies the task instance. The stamps are attributes of the run. They distinguish the tries, the clears and the
deployments that may meet at one id, and hold the lease by which an orphan is recognized.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.api.models import Run
from vi_airflow_provider.api.run_state import FLOW_ID_ATTRIBUTE

_NAMESPACE: Final = uuid.UUID("6f1f8b60-5f0e-5c0b-9d3c-1d5f3f0f7a55")
PREFIX: Final = "vi_airflow."

FLOW_ID: Final = FLOW_ID_ATTRIBUTE
FLOW_DIGEST: Final = f"{PREFIX}flow_digest"
TASK: Final = f"{PREFIX}task"
NAMESPACE: Final = f"{PREFIX}namespace"
DAG_RUN_START: Final = f"{PREFIX}dag_run_start"
GENERATION: Final = f"{PREFIX}generation"
OWNER: Final = f"{PREFIX}owner"
RUN_NUMBER: Final = f"{PREFIX}run_number"
#: When the run was requested, in milliseconds on the worker's clock: the difference to the server's is the skew.
REQUESTED_AT: Final = f"{PREFIX}started_by_clock"
#: Until when the run may last, in milliseconds on the worker's clock; without it the run has no limit.
DEADLINE: Final = f"{PREFIX}deadline"
KILL_REASON: Final = f"{PREFIX}kill_reason"
#: The task instance of a ``KillRunOperator`` that has killed the run.
KILLED_BY: Final = f"{PREFIX}killed_by"


class TaskIdentity(NamedTuple):
    """A try of a task instance, as far as it matters for its runs.

    :param namespace: distinguishes deployments that share an organization and have equal DAGs
    :param dag_run_start: start of the DAG run: the same for all tries, and practically never shared by deployments
    :param max_tries: changes when the task is cleared, and never when it is retried
    """

    namespace: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    dag_run_start: str
    max_tries: int
    try_number: int

    @property
    def task(self) -> str:
        """The task instance, for a person to read and for a comparison."""
        suffix = "" if self.map_index < 0 else f"[{self.map_index}]"
        return f"{self.dag_id}/{self.run_id}/{self.task_id}{suffix}"

    @property
    def generation(self) -> str:
        """What all tries until the next clear have in common."""
        return str(self.max_tries)

    @property
    def owner(self) -> str:
        """The try that may kill the run."""
        return f"{self.max_tries}/{self.try_number}"

    def id_of(self, number: int) -> str:
        """Derive the id of the n-th run (from 0) that the task instance ever starts.

        It has the form of a UUID of version 4, which is what the vendor's SDK makes.
        """
        parts = [self.namespace, self.dag_id, self.run_id, self.task_id, self.map_index]
        key = uuid.uuid5(_NAMESPACE, canonical_json(parts).decode())
        return str(uuid.UUID(bytes=uuid.uuid5(key, str(number)).bytes, version=4))

    def stamps(self) -> dict[str, str]:
        """Return the stamps that name the task instance and this try."""
        return {
            TASK: self.task,
            NAMESPACE: self.namespace,
            DAG_RUN_START: self.dag_run_start,
            GENERATION: self.generation,
            OWNER: self.owner,
        }


class Stamps(NamedTuple):
    """The stamps of a run; a missing one is an empty text. ``owner`` is as of :func:`order_of`."""

    task: str
    dag_run_start: str
    generation: str
    owner: tuple[int, int]
    run_number: int
    flow_digest: str
    kill_reason: str

    @classmethod
    def of(cls, run: Run) -> Stamps:
        """Read the stamps of a run; a stamp that cannot be read counts as missing."""
        attributes = run.metadata.attributes
        return cls(
            task=attributes.get(TASK, ""),
            dag_run_start=attributes.get(DAG_RUN_START, ""),
            generation=attributes.get(GENERATION, ""),
            owner=order_of(attributes.get(OWNER, "")),
            run_number=max(1, whole_number(attributes.get(RUN_NUMBER, ""))),
            flow_digest=attributes.get(FLOW_DIGEST, ""),
            kill_reason=attributes.get(KILL_REASON, ""),
        )


def order_of(owner: str) -> tuple[int, int]:
    """Return an owner as something that can be ordered: a later try is greater; one that is no owner is the least.

    The number of the try comes first, as it only ever grows. ``max_tries`` shrinks if an author lowers ``retries``.
    """
    generation, _, number = owner.partition("/")
    return whole_number(number), whole_number(generation)


def owner_stamps(owner: str) -> dict[str, str]:
    """Return the stamps by which a try takes its run back from the late request of an earlier try."""
    return {OWNER: owner, GENERATION: owner.partition("/")[0]}


def requested_at(attributes: Mapping[str, Any]) -> int | None:
    """Return when a run was requested, in milliseconds on the worker's clock; ``None`` without such a stamp."""
    value = whole_number(str(attributes.get(REQUESTED_AT, "")))
    return value if value > 0 else None


def whole_number(text: str) -> int:
    """Return the number that a stamp holds; -1 if it holds none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else -1
