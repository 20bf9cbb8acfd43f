"""Which flows were created, updated or deleted between two polls: pure bookkeeping, and the requests it takes.

Theory of operation. A poll reads the whole listing as a stream and keeps a :class:`FlowVersion` of each flow that
matches the filter; the flows themselves are dropped at once, as an organization may have 100,000 of them. What differs
from the versions of the poll before is a change.

A listing that changes while it is read may miss a flow, so absence from one listing does not prove a deletion. Each
flow that is missing is fetched; 404 confirms the deletion. If that fails, or there are too many, absence from the next
listing is enough. A flow whose absence is not confirmed keeps its old version and is no change yet: one failed request
delays the report of one flow, and never the poll.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vi_airflow_provider.api.errors import ViError, ViRateLimitError
from vi_airflow_provider.gates.timers import in_turns

if TYPE_CHECKING:
    from vi_airflow_provider.api.async_client import AsyncViClient
    from vi_airflow_provider.api.models import Flow
    from vi_airflow_provider.selection.filter import FlowFilter

EVENTS: Final = ("created", "updated", "deleted")
#: Changes that one event lists at most; ``count`` is the number of all.
MAX_LISTED: Final = 100
#: GETs in flight, and GETs in all, by which one poll confirms absences.
_CONCURRENT_GETS: Final = 16
_MAX_GETS: Final = 1_000


class FlowVersion(NamedTuple):
    """What is remembered of a flow: enough to see that it changed, and whether its spec did."""

    version: str
    digest: str


#: The version of a flow whose creation was reported, perhaps in vain, by a triggerer that was killed soon after.
REPORTED: Final = FlowVersion("", "")


class Change(NamedTuple):
    """One flow that changed. All but the first two are ``None`` if it was deleted."""

    event: str
    spec_changed: bool
    name: str | None = None
    generation: int | None = None
    last_updated: int | None = None
    digest: str | None = None

    def as_data(self, flow_id: str) -> dict[str, Any]:
        """Return the change as an event lists it."""
        data: dict[str, Any] = {"event": self.event, "flow_id": flow_id, "spec_changed": self.spec_changed}
        if self.digest is not None:
            data |= {name: getattr(self, name) for name in ("name", "generation", "last_updated", "digest")}
        return data


@dataclass
class Snapshot:
    """The flows of an organization as one poll found them, and what changed since the poll before."""

    organization_id: str
    versions: dict[str, FlowVersion] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)

    def same_as(self, other: Snapshot) -> bool:
        """Return whether two snapshots show the same versions of the same organization's flows."""
        return self.organization_id == other.organization_id and self.versions == other.versions

    def listed_changes(self) -> list[dict[str, Any]]:
        """Return the first changes in the order of flow ids, as an event lists them."""
        return [self.changes[flow_id].as_data(flow_id) for flow_id in heapq.nsmallest(MAX_LISTED, self.changes)]


class ChangeDetector:
    """Finds what changed among the flows that are watched.

    :param flow_filter: which flows are watched
    :param flow_id: watch this flow only
    :param events: which of ``EVENTS`` to report
    :param spec_changes_only: leave out updates after which the flow trains the same
    """

    def __init__(
        self, flow_filter: FlowFilter, *, flow_id: str | None, events: Collection[str], spec_changes_only: bool
    ) -> None:
        self._filter = flow_filter
        self._flow_id = flow_id
        self._events = frozenset(events)
        self._spec_changes_only = spec_changes_only
        #: Flows that the last listing lacked, and whose absence no GET has confirmed.
        self._absent_once: frozenset[str] = frozenset()

    async def poll(self, client: AsyncViClient, before: Snapshot | None) -> Snapshot:
        """Read the flows and compare them with the snapshot before.

        :param before: ``None`` at the first poll, which reports no change
        :raises ViError: the flows could not be read
        """
        organization_id = client.settings.organization_id
        if before is not None and before.organization_id not in ("", organization_id):
            before = None  # other flows altogether
        poll = _Poll(self, client, Snapshot(organization_id), {} if before is None else before.versions)
        if self._flow_id is not None:
            absent = await poll.read_one(self._flow_id)
        else:
            absent = await poll.read_listing(self._absent_once)
            self._absent_once = absent
        await poll.report_deleted(absent)
        if before is None:
            poll.after.changes.clear()
        return poll.after

    def watches(self, flow: Flow, now: datetime) -> bool:
        """Return whether a flow matches the filter."""
        return self._filter.matches(flow, now)

    def reports(self, event: str, *, spec_changed: bool) -> bool:
        """Return whether a change is to be reported."""
        return event in self._events and (spec_changed or not self._spec_changes_only)


@dataclass
class _Poll:
    """One poll in progress."""

    detector: ChangeDetector
    client: AsyncViClient
    after: Snapshot
    before: Mapping[str, FlowVersion]
    #: Flows that exist, whether or not they match the filter.
    present: set[str] = field(default_factory=set)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    async def read_one(self, flow_id: str) -> frozenset[str]:
        """Read the only flow that is watched; return the flows with unconfirmed absence: none."""
        if (flow := await self.client.find_flow(flow_id=flow_id)) is not None:
            self.note(flow)
        return frozenset()

    async def read_listing(self, absent_before: frozenset[str]) -> frozenset[str]:
        """Read all flows; return those that the listing lacks and whose absence is not confirmed.

        :param absent_before: the same of the listing before
        """
        number = 0
        async for flow in self.client.list_flows():
            self.note(flow)
            number += 1
            if number % 10 == 0:  # a digest takes 50 microseconds
                await asyncio.sleep(0)
        missing = [flow_id for flow_id in self.before if flow_id not in self.present]
        unconfirmed = await self._fetch(missing[:_MAX_GETS]) | set(missing[_MAX_GETS:])
        return frozenset(unconfirmed - absent_before)

    async def _fetch(self, flow_ids: Iterable[str]) -> set[str]:
        """Fetch flows that a listing lacks; return those for which that failed."""
        unconfirmed: set[str] = set()
        remaining = iter(flow_ids)

        async def work() -> None:
            for flow_id in remaining:
                try:
                    flow = await self.client.find_flow(flow_id=flow_id)
                except ViError as error:
                    unconfirmed.add(flow_id)
                    if isinstance(error, ViRateLimitError):
                        unconfirmed.update(remaining)  # ends the other workers as well
                else:
                    if flow is not None:
                        self.note(flow)

        await asyncio.gather(*(work() for _ in range(_CONCURRENT_GETS)))
        return unconfirmed

    def note(self, flow: Flow) -> None:
        """Take down a flow that exists."""
        self.present.add(flow.flow_id)
        old = self.before.get(flow.flow_id)
        if not self.detector.watches(flow, self.now):
            if old is not None:  # it was updated so that it does not match any more
                self._change(flow.flow_id, "updated", flow)
            return
        if old == REPORTED:
            old = None
        version = _version_of(flow)
        if old is not None and old.version == version:
            self.after.versions[flow.flow_id] = old
            return
        digest = flow.digest
        self.after.versions[flow.flow_id] = FlowVersion(version, digest[:16])
        event = "created" if old is None else "updated"
        self._change(flow.flow_id, event, flow, spec_changed=old is None or old.digest != digest[:16], digest=digest)

    async def report_deleted(self, unconfirmed: Collection[str]) -> None:
        """Report the flows that do not exist any more, and keep those whose absence is not confirmed."""
        async for flow_id in in_turns(self.before, 500):
            if flow_id in unconfirmed:
                self.after.versions[flow_id] = self.before[flow_id]
            elif flow_id not in self.present and self.detector.reports("deleted", spec_changed=True):
                self.after.changes[flow_id] = Change("deleted", True)

    def _change(
        self, flow_id: str, event: str, flow: Flow, *, spec_changed: bool = True, digest: str | None = None
    ) -> None:
        if self.detector.reports(event, spec_changed=spec_changed):
            metadata = flow.metadata
            self.after.changes[flow_id] = Change(
                event, spec_changed, flow.spec.name, metadata.generation, metadata.last_updated, digest or flow.digest
            )


def _version_of(flow: Flow) -> str:
    version = f"{flow.etag}/{flow.metadata.generation}/{flow.metadata.last_updated}"
    return hashlib.sha256(version.encode("utf-8", "replace")).hexdigest()[:16]
