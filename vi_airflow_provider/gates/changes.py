"""Which documents changed between two polls: pure bookkeeping, and the requests it takes.

Theory of operation. A poll reads the whole listing as a stream and keeps a :class:`Version` of each document that
matches the filter; the documents themselves are dropped at once, as an organization may have 100,000 of them. What
differs from the versions of the poll before is a change.

A listing that changes while it is read may miss a document, so absence from one listing does not prove a deletion. Each
document that is missing is fetched; 404 confirms the deletion. If that fails, or there are too many, absence from the
next listing is enough. A document whose absence is not confirmed keeps its old version and is no change yet: one failed
request delays the report of one document, and never the poll.

:class:`Detector` does this for any kind of document. What a version is, and which changes are reported, is decided by
its subclasses, for flows in ``flow_changes`` and for runs in ``run_changes``.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Protocol, TypeVar

from vi_airflow_provider.api.errors import ViError, ViRateLimitError
from vi_airflow_provider.gates.timers import in_turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from vi_airflow_provider.api.async_client import AsyncViClient

D = TypeVar("D")

#: Changes that one event lists at most.
MAX_LISTED: Final = 100
#: GETs in flight, and GETs in all, by which one poll confirms absences.
_CONCURRENT_GETS: Final = 16
_MAX_GETS: Final = 1_000


class Version(NamedTuple):
    """What is remembered of a document: enough to see what changed."""

    version: str
    digest: str


class Reported(Protocol):
    """The changes of one document between two polls."""

    @property
    def events(self) -> tuple[str, ...]:
        """What happened."""

    def as_data(self, document_id: str) -> Iterable[dict[str, Any]]:
        """Return the changes as an event lists them."""


@dataclass
class Snapshot:
    """The documents of an organization as one poll found them, and what changed since the poll before."""

    organization_id: str
    versions: dict[str, Version] = field(default_factory=dict)
    changes: dict[str, Reported] = field(default_factory=dict)

    def same_as(self, other: Snapshot) -> bool:
        """Return whether two snapshots show the same versions of the same organization's documents."""
        return self.organization_id == other.organization_id and self.versions == other.versions

    @property
    def count(self) -> int:
        """The number of all changes."""
        return sum(len(change.events) for change in self.changes.values())

    def listed_changes(self) -> Iterator[list[dict[str, Any]]]:
        """Yield all changes in the order of ids, as many at a time as one event lists."""
        ordered = sorted(self.changes)
        data = (entry for document_id in ordered for entry in self.changes[document_id].as_data(document_id))
        while listed := list(islice(data, MAX_LISTED)):
            yield listed


class Detector(ABC, Generic[D]):
    """Finds what changed among the documents that are watched.

    :param only: watch the document with this id only
    """

    def __init__(self, only: str | None = None) -> None:
        self._only = only
        #: Documents that the last listing lacked, and whose absence no GET has confirmed.
        self._absent_once: frozenset[str] = frozenset()

    async def poll(self, client: AsyncViClient, before: Snapshot | None) -> Snapshot:
        """Read the documents and compare them with the snapshot before.

        :param before: ``None`` at the first poll, which reports no change
        :raises ViError: the documents could not be read
        """
        organization_id = client.settings.organization_id
        if before is not None and before.organization_id not in ("", organization_id):
            before = None  # other documents altogether
        poll = Poll(self, client, Snapshot(organization_id), {} if before is None else before.versions)
        poll.is_first = before is None
        if self._only is not None:
            absent = await poll.read_one(self._only)
        else:
            absent = await poll.read_listing(self._absent_once)
            self._absent_once = absent
        await poll.note_absent(absent)
        if before is None:
            poll.after.changes.clear()
        return poll.after

    @abstractmethod
    def listing(self, client: AsyncViClient) -> AsyncIterator[D]:
        """Yield all documents."""

    @abstractmethod
    async def find(self, client: AsyncViClient, document_id: str) -> D | None:
        """Return one document, ``None`` if it does not exist."""

    @abstractmethod
    def id_of(self, document: D) -> str:
        """Return the id of a document."""

    @abstractmethod
    def compare(self, poll: Poll[D], document: D, old: Version | None) -> None:
        """Note the version of a document that exists, and what changed since ``old``."""

    def deleted(self, poll: Poll[D], document_id: str) -> None:
        """Note that a document does not exist any more."""


@dataclass
class Poll(Generic[D]):
    """One poll in progress."""

    detector: Detector[D]
    client: AsyncViClient
    after: Snapshot
    before: Mapping[str, Version]
    #: Documents that exist, whether or not they match the filter.
    present: set[str] = field(default_factory=set)
    #: Whether nothing is reported, because nothing was known before.
    is_first: bool = False

    async def read_one(self, document_id: str) -> frozenset[str]:
        """Read the only document that is watched; return the documents with unconfirmed absence: none."""
        if (document := await self.detector.find(self.client, document_id)) is not None:
            self.note(document)
        return frozenset()

    async def read_listing(self, absent_before: frozenset[str]) -> frozenset[str]:
        """Read all documents; return those that the listing lacks and whose absence is not confirmed.

        :param absent_before: the same of the listing before
        """
        number = 0
        async for document in self.detector.listing(self.client):
            self.note(document)
            number += 1
            if number % 10 == 0:  # a digest takes 50 microseconds
                await asyncio.sleep(0)
        missing = [document_id for document_id in self.before if document_id not in self.present]
        unconfirmed = await self._fetch(missing[:_MAX_GETS]) | set(missing[_MAX_GETS:])
        return frozenset(unconfirmed - absent_before)

    async def _fetch(self, document_ids: Iterable[str]) -> set[str]:
        """Fetch documents that a listing lacks; return those for which that failed."""
        unconfirmed: set[str] = set()
        remaining = iter(document_ids)

        async def work() -> None:
            for document_id in remaining:
                try:
                    document = await self.detector.find(self.client, document_id)
                except ViError as error:
                    unconfirmed.add(document_id)
                    if isinstance(error, ViRateLimitError):
                        unconfirmed.update(remaining)  # ends the other workers as well
                else:
                    if document is not None:
                        self.note(document)

        await asyncio.gather(*(work() for _ in range(_CONCURRENT_GETS)))
        return unconfirmed

    def note(self, document: D) -> None:
        """Take down a document that exists."""
        document_id = self.detector.id_of(document)
        self.present.add(document_id)
        self.detector.compare(self, document, self.before.get(document_id))

    async def note_absent(self, unconfirmed: Collection[str]) -> None:
        """Take down the documents that do not exist any more, and keep those whose absence is not confirmed."""
        async for document_id in in_turns(self.before, 500):
            if document_id in unconfirmed:
                self.after.versions[document_id] = self.before[document_id]
            elif document_id not in self.present:
                self.detector.deleted(self, document_id)
