"""``ChangeEventTrigger``: what the triggers for asset watchers share, whatever kind of document changes (Airflow 3)."""

from __future__ import annotations

import asyncio
import random
import time
from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow.providers.common.compat.triggers import BaseEventTrigger
from airflow.triggers.base import TriggerEvent

from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.api.failed_polls import MAX_PAUSE, retry_after
from vi_airflow_provider.gates.pacing import MAX_SPREAD, MIN_INTERVAL, SPREAD, next_tick
from vi_airflow_provider.gates.timers import in_turns
from vi_airflow_provider.triggers.shared import shared_client
from vi_airflow_provider.triggers.version_store import VersionStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from vi_airflow_provider.gates.changes import Detector, Snapshot
    from vi_airflow_provider.gates.client import RefreshingClient

#: The growth of the pauses stops here; ``MAX_PAUSE`` is reached long before.
_MAX_DOUBLINGS: Final = 20


class ChangeEventTrigger(BaseEventTrigger):
    """Watches documents for an ``AssetWatcher``, and yields events for all that changed between two polls.

    Subclasses keep their arguments as attributes of the same names.
    """

    #: The kind of documents, the arguments that determine what is watched, and those that only affect how often.
    _kind: ClassVar[str]
    _watched: ClassVar[tuple[str, ...]]
    _pace: ClassVar[tuple[str, ...]]

    def __init__(self, vi_conn_id: str, events: Sequence[str], interval: float, max_failures: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.vi_conn_id = vi_conn_id
        self.events = list(events)
        self.max_failures = max_failures
        self._interval = max(interval, MIN_INTERVAL)

    def _check_events(self, known: Sequence[str]) -> None:
        """Refuse unknown events here, unlike in an operator: an error in the triggerer goes unnoticed."""
        unknown = set(self.events) - set(known)
        if unknown or not self.events:
            raise ValueError(f"events: {sorted(unknown)} are not among {', '.join(known)}")

    @abstractmethod
    def _detector(self) -> Detector[Any]:
        """Return what finds the changes."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {name: getattr(self, name) for name in (*self._watched, *self._pace)}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll forever, and after each poll that shows changes, yield an event for up to 100 of them at a time."""
        watched = {name: getattr(self, name) for name in self._watched}
        # Airflow sets the store on the trigger after it was made, and only where it has one.
        store = VersionStore(getattr(self, "asset_state_store", None), watched, self.log, self._kind)
        before = await self._load(store)
        async with shared_client(self.vi_conn_id) as client:
            async for snapshot in self._snapshots(client, before, store):
                if snapshot.changes:
                    await store.announce(snapshot)
                    # If the triggerer ends in between, nothing is stored of this poll, and all is reported again.
                    async for listed in in_turns(snapshot.listed_changes(), 1):
                        yield TriggerEvent(self._payload(listed))  # type: ignore[no-untyped-call]
                now = asyncio.get_running_loop().time()
                store.put(snapshot, now)
                await store.save(now)

    async def _load(self, store: VersionStore) -> Snapshot | None:
        """Return the stored state; wait while it cannot be read, because without it, changes would be missed."""
        pause = self._interval
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
        detector = self._detector()
        offset = random.uniform(0, min(self._interval * SPREAD, MAX_SPREAD))  # noqa: S311 - not for secrets
        failures = 0
        earliest = 0.0
        while True:
            tick = next_tick(max(earliest, time.time()), self._interval)
            await self._sleep(tick + offset - time.time(), store)
            began = min(tick, time.time())  # the clock may have been set back
            earliest = began + self._interval
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
                    "The connection is now for organization %s: its %s are watched from here on, and those of %s are "
                    "not reported as deleted",
                    *(snapshot.organization_id, self._kind, before.organization_id),
                )
            before = snapshot
            yield snapshot

    async def _sleep(self, seconds: float, store: VersionStore) -> None:
        """Sleep until the next poll, and store what becomes safe meanwhile."""
        now = asyncio.get_running_loop().time
        end = now() + max(0.0, seconds)
        if store.safe_at < end:
            await asyncio.sleep(max(0.0, store.safe_at - now()))
            await store.save(now())
        await asyncio.sleep(max(0.0, end - now()))

    def _payload(self, changes: list[dict[str, Any]]) -> dict[str, Any]:
        return {"version": 1, "vi_conn_id": self.vi_conn_id, "count": len(changes), "changes": changes}

    def _pause(self, error: ViError, failures: int, elapsed: float) -> float:
        """Return the seconds from one poll to the next, if the failed one took ``elapsed`` of them."""
        if failures < self.max_failures and error.retryable:
            self.log.warning("Poll %d in a row failed: %s", failures, error)
            pause = self._interval
        else:
            # It must not end: Airflow would start it again two seconds later, and so forever.
            self.log.error("Poll %d in a row failed, so the pauses grow: %s", failures, error)
            growth = min(failures - (self.max_failures if error.retryable else 1) + 1, _MAX_DOUBLINGS)
            pause = self._interval * 2.0**growth
        return max(self._interval, min(max(pause, elapsed + retry_after(error)), MAX_PAUSE))
