"""``FlowEventTrigger``: flows that are created, updated or deleted become events that start DAGs (Airflow 3)."""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.triggers import BaseEventTrigger
from airflow.triggers.base import TriggerEvent

from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.api.validation import checked_id
from vi_airflow_provider.gates.changes import EVENTS, ChangeDetector
from vi_airflow_provider.gates.pacing import (
    MAX_FAILURES,
    MAX_PAUSE,
    MAX_SPREAD,
    MIN_INTERVAL,
    SPREAD,
    next_tick,
    retry_after,
)
from vi_airflow_provider.provider_info import DEFAULT_CONN_ID
from vi_airflow_provider.selection.filter import FlowFilter
from vi_airflow_provider.triggers.shared import shared_client
from vi_airflow_provider.triggers.version_store import VersionStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from vi_airflow_provider.gates.changes import Snapshot
    from vi_airflow_provider.gates.client import RefreshingClient

#: Arguments that do not affect what is watched, but how often.
_PACE: Final = frozenset({"poke_interval", "max_failures"})
#: The growth of the pauses stops here; ``MAX_PAUSE`` is reached long before.
_MAX_DOUBLINGS: Final = 20


class FlowEventTrigger(BaseEventTrigger):
    """Watches flows for an ``AssetWatcher``, and yields one event for all that changed between two polls.

    It fires on changes, not on states: flows that exist when it starts to watch cause no event. On Airflow 3.3, what
    it has seen is kept in the asset's state store, so that a restart of the triggerer misses no change; before 3.3, it
    starts over. Each change is reported at least once: a triggerer that is killed before the poll that follows an event
    reports the changes again. The trigger never ends; an outage slows it down.

    :param vi_conn_id: id of a connection of type ``vi``
    :param flow_id: watch this flow only
    :param name_pattern: watch flows whose name matches this glob
    :param training_project: watch flows of this training project
    :param attributes: watch flows that have these attributes
    :param events: which of ``created``, ``updated`` and ``deleted`` to report
    :param spec_changes_only: leave out updates after which the flow trains the same (layout, attributes)
    :param poke_interval: seconds between two polls
    :param max_failures: consecutive failed polls after which the pauses begin to grow, up to an hour
    """

    def __init__(
        self,
        *,
        vi_conn_id: str = DEFAULT_CONN_ID,
        flow_id: str | None = None,
        name_pattern: str | None = None,
        training_project: str | None = None,
        attributes: Mapping[str, str] | None = None,
        events: Sequence[str] = EVENTS,
        spec_changes_only: bool = False,
        poke_interval: float = 60.0,
        max_failures: int = MAX_FAILURES,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.vi_conn_id = vi_conn_id
        self.flow_id = flow_id
        self.name_pattern = name_pattern
        self.training_project = training_project
        self.attributes = None if attributes is None else dict(attributes)
        self.events = list(events)
        self.spec_changes_only = spec_changes_only
        self.poke_interval = max(poke_interval, MIN_INTERVAL)
        self.max_failures = max_failures
        # Checked here, unlike in an operator: a watcher has no templates, and an error in the triggerer goes unnoticed.
        unknown = set(self.events) - set(EVENTS)
        if unknown or not self.events:
            raise ValueError(f"events: {sorted(unknown)} are not among {', '.join(EVENTS)}")
        if flow_id is not None:
            checked_id(flow_id)
        self._filter = FlowFilter.build(
            name_pattern=name_pattern, training_project=training_project, attributes=self.attributes
        )

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        names = (
            *("vi_conn_id", "flow_id", "name_pattern", "training_project", "attributes", "events"),
            *("spec_changes_only", "poke_interval", "max_failures"),
        )
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll forever, and yield an event after each poll that shows a change."""
        watched = {name: value for name, value in self.serialize()[1].items() if name not in _PACE}
        # Airflow sets the store on the trigger after it was made, and only where it has one.
        store = VersionStore(getattr(self, "asset_state_store", None), watched, self.log)
        before = await self._load(store)
        async with shared_client(self.vi_conn_id) as client:
            async for snapshot in self._snapshots(client, before, store):
                if snapshot.changes:
                    await store.announce(snapshot)
                    yield TriggerEvent(self._payload(snapshot))  # type: ignore[no-untyped-call]
                now = asyncio.get_running_loop().time()
                store.put(snapshot, now)
                await store.save(now)

    async def _load(self, store: VersionStore) -> Snapshot | None:
        """Return the stored state; wait while it cannot be read, because without it, changes would be missed."""
        pause = self.poke_interval
        while True:
            try:
                return await store.load()
            except Exception as error:
                self.log.error("The state could not be read; trying again in %.0f s: %s", pause, error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE)

    async def _snapshots(
        self, client: RefreshingClient, before: Snapshot | None, store: VersionStore
    ) -> AsyncIterator[Snapshot]:
        """Yield what each poll finds, at the pace of the trigger."""
        detector = ChangeDetector(
            self._filter, flow_id=self.flow_id, events=self.events, spec_changes_only=self.spec_changes_only
        )
        offset = random.uniform(0, min(self.poke_interval * SPREAD, MAX_SPREAD))  # noqa: S311 - not for secrets
        failures = 0
        earliest = 0.0
        while True:
            tick = next_tick(max(earliest, time.time()), self.poke_interval)
            await asyncio.sleep(max(0.0, tick + offset - time.time()))
            began = min(tick, time.time())  # the clock may have been set back
            earliest = began + self.poke_interval
            await store.save(asyncio.get_running_loop().time())
            try:
                snapshot = await client.call(partial(detector.poll, before=before))
            except ViError as error:
                failures += 1
                earliest = began + self._pause(error, failures, time.time() - began)
                continue
            failures = 0
            if before is not None and before.organization_id not in ("", snapshot.organization_id):
                self.log.warning(
                    "The connection is now for organization %s: its flows are watched from here on, and those of %s "
                    "are not reported as deleted",
                    *(snapshot.organization_id, before.organization_id),
                )
            before = snapshot
            yield snapshot

    def _payload(self, snapshot: Snapshot) -> dict[str, Any]:
        return {
            "version": 1,
            "vi_conn_id": self.vi_conn_id,
            "count": len(snapshot.changes),
            "changes": snapshot.listed_changes(),
        }

    def _pause(self, error: ViError, failures: int, elapsed: float) -> float:
        """Return the seconds from one poll to the next, if the failed one took ``elapsed`` of them."""
        if failures < self.max_failures and error.retryable:
            self.log.warning("Poll %d in a row failed: %s", failures, error)
            pause = self.poke_interval
        else:
            # It must not end: Airflow would start it again two seconds later, and so forever.
            self.log.error("Poll %d in a row failed, so the pauses grow: %s", failures, error)
            growth = min(failures - (self.max_failures if error.retryable else 1) + 1, _MAX_DOUBLINGS)
            pause = self.poke_interval * 2.0**growth
        return max(self.poke_interval, min(max(pause, elapsed + retry_after(error)), MAX_PAUSE))
