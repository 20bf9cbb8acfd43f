"""What an event trigger stores about the documents that it watches, kept in the asset's state store (Airflow 3.3).

Airflow holds an event in memory until it has written it to its database, and does not confirm that. A snapshot that was
stored along with its event would hide the changes for good if the triggerer were killed in between. So a snapshot
whose changes were reported is *pending* until ``HANDOVER`` seconds after its last event, and longer if there are many.
Until then, a restart reports the changes again: at least once, never less.

A flow that is created, reported and deleted before its snapshot is stored would leave no trace, and its deletion would
go unreported. Therefore, the ids of created flows are stored before their event.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.gates.changes import MAX_LISTED, Snapshot, Version
from vi_airflow_provider.gates.flow_changes import REPORTED
from vi_airflow_provider.gates.timers import in_turns

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds that Airflow has to write an event to its database; it usually takes one or two.
HANDOVER: Final = 5.0
#: Seconds for each further event of the same poll.
PER_EVENT: Final = 0.1


class _Entry(NamedTuple):
    """A snapshot that is to be stored, and the time from which that is safe."""

    snapshot: Snapshot
    safe_at: float
    #: Counts the snapshots.
    number: int


class VersionStore:
    """Keeps the latest snapshot whose changes have certainly been handed over.

    :param store: the asset's state store; ``None`` where Airflow has none
    :param watched: what the trigger watches; a trigger that watches something else starts over
    :param kind: the kind of documents
    """

    def __init__(self, store: Any, watched: Mapping[str, Any], log: Any, kind: str = "flows") -> None:
        self._store = store
        self._key = f"vi_{kind}_{hashlib.sha256(canonical_json(watched)).hexdigest()[:16]}"
        self._log = log
        self._stored: Snapshot | None = None
        self._number = 0
        #: Until when the last event is being handed over, and with it all before.
        self._handed_over = -math.inf
        #: The next snapshot to store, and the latest one after it.
        self._pending: _Entry | None = None
        self._latest: _Entry | None = None
        #: Documents that were reported as created, by the number of the snapshot. There are none among runs, whose
        #: deletion is not reported.
        self._created: dict[str, int] = {}

    async def load(self) -> Snapshot | None:
        """Return the snapshot that an earlier run has stored, ``None`` if there is none."""
        if self._store is None:
            return None
        try:
            value = await self._store.aget(self._key)
        except ValueError as error:  # equal watchers of several assets share a trigger, for which Airflow has no store
            self._log.warning("The state cannot be stored, so a restart will miss changes: %s", error)
            self._store = None
            return None
        self._stored = _read(value)
        return self._stored

    async def announce(self, snapshot: Snapshot) -> None:
        """Store which documents the next events report as created."""
        created = [document_id for document_id, change in snapshot.changes.items() if "created" in change.events]
        if created and self._store is not None and self._stored is not None:
            self._created |= dict.fromkeys(created, self._number)
            await self._write(self._stored)

    def put(self, snapshot: Snapshot, now: float) -> None:
        """Take the snapshot of a poll, after its events if it has some; its changes are dropped.

        :param now: seconds of a clock that is never set back
        """
        if snapshot.changes:
            self._handed_over = now + HANDOVER + PER_EVENT * (snapshot.count // MAX_LISTED)
            snapshot.changes.clear()
        entry = _Entry(snapshot, self._handed_over, self._number)
        self._number += 1
        if self._pending is None:
            self._pending = entry
        else:  # not in its place, or frequent changes would put off the first write forever
            self._latest = entry

    @property
    def safe_at(self) -> float:
        """When the next snapshot may be stored; infinite without one."""
        return math.inf if self._pending is None else self._pending.safe_at

    async def save(self, now: float) -> None:
        """Store what is safe; called before and after each poll, and once an event is handed over."""
        if self._latest is not None and now >= self._latest.safe_at:
            self._pending, self._latest = self._latest, None
        if self._pending is not None and now >= self._pending.safe_at and await self._ensure_stored(self._pending):
            self._pending, self._latest = self._latest, None

    async def _ensure_stored(self, entry: _Entry) -> bool:
        """Store a snapshot unless it is stored already; return whether it is."""
        created = {document_id: number for document_id, number in self._created.items() if number > entry.number}
        unchanged = self._stored is not None and self._stored.same_as(entry.snapshot)
        if self._store is None or (unchanged and created == self._created):
            return True
        self._created = created
        return await self._write(entry.snapshot)

    async def _write(self, snapshot: Snapshot) -> bool:
        items = in_turns(snapshot.versions.items(), 500)
        versions = {document_id: list(version) async for document_id, version in items}
        state = {"organization_id": snapshot.organization_id, "versions": versions, "reported": sorted(self._created)}
        try:
            await self._store.aset(self._key, state)
        except Exception as error:
            # The trigger must not end: Airflow would start it with the old state, to repeat its event forever.
            self._log.error("The state could not be stored; the next poll tries again: %s", error)
            return False
        self._stored = snapshot
        return True


def _read(value: Any) -> Snapshot | None:
    """Read a stored snapshot, also in the form of version 1, which is the versions alone."""
    if not isinstance(value, dict):
        return None
    current = isinstance(value.get("versions"), dict)
    versions = value["versions"] if current else value
    organization_id = value.get("organization_id", "") if current else ""
    if not all(isinstance(version, list) and len(version) == 2 for version in versions.values()):
        return None
    reported = dict.fromkeys(value.get("reported") or (), REPORTED) if current else {}
    return Snapshot(
        str(organization_id),
        reported | {document_id: Version(*version) for document_id, version in versions.items()},
    )
