"""What a ``FlowEventTrigger`` remembers of the flows, kept in the asset's state store (Airflow 3.3).

Airflow holds an event in memory until it has written it to its database, and reports to nobody when it has. A snapshot
that was stored along with its event would hide the changes for good if the triggerer were killed in between. So a
snapshot whose changes were reported is *pending* until a later poll, ``HANDOVER`` seconds after the event at the
earliest. Until then, a restart reports the changes again: at least once, never less.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any, Final

from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.gates.changes import FlowVersion, Snapshot
from vi_airflow_provider.gates.timers import in_turns

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds that Airflow has to write an event to its database; it usually takes one or two.
HANDOVER: Final = 10.0


class VersionStore:
    """Keeps the latest snapshot of which the changes have certainly been handed over.

    :param store: the asset's state store; ``None`` where Airflow has none
    :param watched: what the trigger watches; a trigger that watches something else starts over
    """

    def __init__(self, store: Any, watched: Mapping[str, Any], log: Any) -> None:
        self._store = store
        self._key = f"vi_flows_{hashlib.sha256(canonical_json(watched)).hexdigest()[:16]}"
        self._log = log
        self._stored: Snapshot | None = None
        #: When the last event will have been handed over, and with it all before.
        self._handed_over = -math.inf
        #: The next snapshot to store, and the latest one after it, each with the time from which it is safe.
        self._pending: Snapshot | None = None
        self._safe_at = -math.inf
        self._latest: Snapshot | None = None
        self._latest_safe_at = -math.inf

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

    def put(self, snapshot: Snapshot, now: float) -> None:
        """Take the snapshot of a poll, after its event if it has one; its changes are dropped."""
        if snapshot.changes:
            self._handed_over = now + HANDOVER
            snapshot.changes.clear()
        if self._pending is None:
            self._pending, self._safe_at = snapshot, self._handed_over
        else:  # not in its place, or frequent changes would put off the first write forever
            self._latest, self._latest_safe_at = snapshot, self._handed_over

    async def save(self, now: float) -> None:
        """Store what is safe; called before and after each poll, so that an event has at least one interval."""
        if self._latest is not None and now >= self._latest_safe_at:
            self._advance()
        if self._pending is not None and now >= self._safe_at and await self._write(self._pending):
            self._advance()

    def _advance(self) -> None:
        self._pending, self._safe_at, self._latest = self._latest, self._latest_safe_at, None

    async def _write(self, snapshot: Snapshot) -> bool:
        if self._store is None or (self._stored is not None and self._stored.same_as(snapshot)):
            return True
        versions = {flow_id: list(version) async for flow_id, version in in_turns(snapshot.versions.items(), 500)}
        try:
            await self._store.aset(self._key, {"organization_id": snapshot.organization_id, "versions": versions})
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
    return Snapshot(str(organization_id), {flow_id: FlowVersion(*version) for flow_id, version in versions.items()})
