"""The two kinds of documents that a cleanup deletes. One machinery plans, guards, archives and deletes both.

A kind provides what differs: the words, the policy, the calls, and how the selected ones are archived.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, TypeAlias

from vi_airflow_provider.cleanup.policy import Decision, Measured, RetentionPolicy, unmeasured

if TYPE_CHECKING:
    from vi_airflow_provider.api.async_client import AsyncViClient
    from vi_airflow_provider.api.client import ViClient
    from vi_airflow_provider.api.models import DeletedFlow, DeletedRun
    from vi_airflow_provider.cleanup.destination import Destination
    from vi_airflow_provider.cleanup.outcome import DeleteResult
    from vi_airflow_provider.cleanup.subject import Subject

Found: TypeAlias = "DeletedFlow | DeletedRun | Subject"


class Execution(NamedTuple):
    """How a cleanup sends its requests.

    :param connect: opens a client for many requests at a time
    :param concurrency: how many of them
    :param stopped: whether the task was killed
    """

    connect: Callable[[], Awaitable[AsyncViClient]]
    concurrency: int
    stopped: Callable[[], bool]


class Archived(NamedTuple):
    """What was archived.

    :param uri: URL of the archive, ``None`` if there is nothing in it
    :param decisions: what is in the archive, and may be deleted
    :param settled: the results of those that could not be archived, and are therefore left alone
    """

    uri: str | None
    decisions: Sequence[Decision]
    settled: Sequence[DeleteResult] = ()


class Kind(ABC):
    """What is cleaned up."""

    noun: ClassVar[str]
    policy: ClassVar[type[RetentionPolicy]]

    @abstractmethod
    def list(self, client: ViClient, page_size: int | None) -> Iterator[Subject]:
        """Yield all there are."""

    @abstractmethod
    def find(self, client: ViClient, document_id: str) -> Subject | None:
        """Return one of them, ``None`` if it does not exist."""

    @abstractmethod
    async def delete_if(self, client: AsyncViClient, document_id: str, matches: Callable[[Any], bool]) -> Found:
        """Delete one of them while it matches; return it if it does not."""

    @abstractmethod
    def archive(
        self, decisions: Sequence[Decision], destination: Destination, organization_id: str, details: Mapping[str, Any],
        execution: Execution,
    ) -> Archived:  # fmt: skip
        """Archive what is selected.

        :raises ArchiveError: the archive could not be written, or does not read back as it was written
        """

    def measure(self, policy: RetentionPolicy, ids: Collection[str], execution: Execution) -> Mapping[str, Measured]:
        """Return the best value of the policy's metric for each of them; only runs have metrics."""
        return unmeasured(ids)


class FlowKind(Kind):
    """Flows."""

    noun = "flow"
    policy = RetentionPolicy

    def list(self, client: ViClient, page_size: int | None) -> Iterator[Subject]:
        """Yield all flows."""
        return client.list_flows(page_size=page_size)

    def find(self, client: ViClient, document_id: str) -> Subject | None:
        """Return a flow."""
        return client.find_flow(flow_id=document_id)

    async def delete_if(self, client: AsyncViClient, document_id: str, matches: Callable[[Any], bool]) -> Found:
        """Delete a flow while it matches."""
        return await client.delete_flow_if(document_id, matches)

    def archive(
        self, decisions: Sequence[Decision], destination: Destination, organization_id: str, details: Mapping[str, Any],
        execution: Execution,
    ) -> Archived:  # fmt: skip
        """Archive the flows as they were when they were selected, all or none."""
        flows = {decision.document_id: decision.document for decision in decisions}
        return Archived(destination.write(flows, organization_id, details), decisions)


FLOWS: Final = FlowKind()
