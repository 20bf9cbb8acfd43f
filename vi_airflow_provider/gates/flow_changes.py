"""Which flows were created, updated or deleted between two polls; ``changes`` explains how that is found out."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.gates.changes import Detector, Poll, Version

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from vi_airflow_provider.api.async_client import AsyncViClient
    from vi_airflow_provider.selection.filter import FlowFilter

EVENTS: Final = ("created", "updated", "deleted")

#: The version of a flow whose creation was reported, perhaps in vain, by a triggerer that was killed soon after.
REPORTED: Final = Version("", "")


@dataclass(frozen=True)
class FlowChange:
    """One flow that changed. All but the first two are ``None`` if it was deleted."""

    event: str
    spec_changed: bool
    name: str | None = None
    generation: int | None = None
    last_updated: int | None = None
    digest: str | None = None

    @property
    def events(self) -> tuple[str, ...]:
        """What happened."""
        return (self.event,)

    def as_data(self, flow_id: str) -> list[dict[str, Any]]:
        """Return the change as an event lists it."""
        data: dict[str, Any] = {"event": self.event, "flow_id": flow_id, "spec_changed": self.spec_changed}
        if self.digest is not None:
            data |= {name: getattr(self, name) for name in ("name", "generation", "last_updated", "digest")}
        return [data]


class FlowChangeDetector(Detector[Flow]):
    """Finds what changed among the flows that are watched.

    :param flow_filter: which flows are watched
    :param flow_id: watch this flow only
    :param events: which of ``EVENTS`` to report
    :param spec_changes_only: leave out updates after which the flow trains the same
    """

    def __init__(
        self, flow_filter: FlowFilter, *, flow_id: str | None, events: Collection[str], spec_changes_only: bool
    ) -> None:
        super().__init__(flow_id)
        self._filter = flow_filter
        self._events = frozenset(events)
        self._spec_changes_only = spec_changes_only

    def listing(self, client: AsyncViClient) -> AsyncIterator[Flow]:
        """Yield all flows."""
        return client.list_flows()

    async def find(self, client: AsyncViClient, document_id: str) -> Flow | None:
        """Return one flow, ``None`` if it does not exist."""
        return await client.find_flow(flow_id=document_id)

    def id_of(self, document: Flow) -> str:
        """Return the id of a flow."""
        return document.flow_id

    def compare(self, poll: Poll[Flow], document: Flow, old: Version | None) -> None:
        """Note the version of a flow that exists, and what changed since ``old``."""
        flow = document
        if not self._filter.matches(flow, datetime.now(UTC)):
            if old is not None:  # it was updated so that it does not match any more
                digest = flow.digest
                self._change(poll, "updated", flow, digest, spec_changed=old.digest != digest[:16])
            return
        if old == REPORTED:
            old = None
        version = _version_of(flow)
        if old is not None and old.version == version:
            poll.after.versions[flow.flow_id] = old
            return
        digest = flow.digest
        poll.after.versions[flow.flow_id] = new = Version(version, digest[:16])
        event = "created" if old is None else "updated"
        changed = old is None or old.digest != new.digest
        self._change(poll, event, flow, digest, spec_changed=changed)

    def deleted(self, poll: Poll[Flow], document_id: str) -> None:
        """Note that a flow does not exist any more."""
        if self._reports("deleted", spec_changed=True):
            poll.after.changes[document_id] = FlowChange("deleted", True)

    def _reports(self, event: str, *, spec_changed: bool) -> bool:
        return event in self._events and (spec_changed or not self._spec_changes_only)

    def _change(self, poll: Poll[Flow], event: str, flow: Flow, digest: str, *, spec_changed: bool) -> None:
        if self._reports(event, spec_changed=spec_changed):
            facts = (flow.spec.name, flow.metadata.generation, flow.metadata.last_updated, digest)
            poll.after.changes[flow.flow_id] = FlowChange(event, spec_changed, *facts)


def _version_of(flow: Flow) -> str:
    version = f"{flow.etag}/{flow.metadata.generation}/{flow.metadata.last_updated}"
    return hashlib.sha256(version.encode("utf-8", "replace")).hexdigest()[:16]
