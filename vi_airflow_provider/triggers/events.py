"""``FlowEventTrigger``: flows that are created, updated or deleted become events that start DAGs (Airflow 3)."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from airflow.providers.common.compat.triggers import BaseEventTrigger
from airflow.triggers.base import TriggerEvent

from vi_airflow_provider.api.canonical import canonical_json
from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.api.validation import checked_id
from vi_airflow_provider.gates.outcome import MAX_FAILURES, MAX_PAUSE, next_tick
from vi_airflow_provider.gates.poller import MAX_SPREAD, MIN_INTERVAL, SPREAD
from vi_airflow_provider.provider_info import DEFAULT_CONN_ID
from vi_airflow_provider.selection.filter import FlowFilter
from vi_airflow_provider.triggers.shared import shared_poller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from vi_airflow_provider.api.models import Flow
    from vi_airflow_provider.gates.poller import SharedPoller

EVENTS: Final = ("created", "updated", "deleted")
#: Changes that one event lists at most; ``count`` says how many there were.
MAX_LISTED: Final = 100
#: Arguments that do not say what is watched, but how often.
_PACE: Final = frozenset({"poke_interval", "max_failures"})


class FlowVersion(NamedTuple):
    """What is remembered of a flow: enough to see that it changed, and whether its spec did."""

    version: str
    digest: str

    @classmethod
    def of(cls, flow: Flow, before: FlowVersion | None = None) -> FlowVersion:
        """Return the mark of a flow as it is now; ``before`` saves the digest of a flow that has not changed."""
        version = f"{flow.etag}/{flow.metadata.generation}/{flow.metadata.last_updated}"
        version = hashlib.sha256(version.encode("utf-8", "replace")).hexdigest()[:16]
        return before if before is not None and before.version == version else cls(version, flow.digest[:16])


class FlowEventTrigger(BaseEventTrigger):
    """Watches flows for an ``AssetWatcher``, and yields one event for all that changed between two looks.

    It fires on changes, not on states: what is there when it starts to watch causes no event. With Airflow 3.3, what
    it has seen is kept in the asset's state store, so a restart of the triggerer neither repeats an event nor misses
    what happened meanwhile; before 3.3 it begins anew. It never ends: an outage slows it down.

    :param vi_conn_id: id of a connection of type ``vi``
    :param flow_id: watch this flow only
    :param name_pattern: watch flows whose name matches this glob
    :param training_project: watch flows of this training project
    :param attributes: watch flows that have these attributes
    :param events: which of ``created``, ``updated`` and ``deleted`` to report
    :param spec_changes_only: leave out updates after which the flow trains the same (layout, attributes)
    :param poke_interval: seconds between two looks
    :param max_failures: failed looks in a row after which the pauses begin to grow, up to an hour
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
        # Checked here, unlike in an operator: a watcher is no template, and an error in the triggerer nobody sees.
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
        """Look for ever, and yield an event after each look that shows a change."""
        marks = stored = await self._remembered()
        failures = 0
        offset = random.uniform(0, min(self.poke_interval * SPREAD, MAX_SPREAD))  # noqa: S311 - not for secrets
        earliest = 0.0
        async with shared_poller(self.vi_conn_id) as lookout:
            while True:
                tick = next_tick(max(earliest, time.time()), self.poke_interval)
                await asyncio.sleep(max(0.0, tick + offset - time.time()))
                began = min(tick, time.time())  # the clock may have been set back
                earliest = began + self.poke_interval
                try:
                    flows = {flow.flow_id: flow for flow in await self._flows(lookout, marks or {})}
                except ViError as error:
                    failures += 1
                    earliest = began + self._pause(error, failures, time.time() - began)
                    continue
                failures = 0
                seen = await self._marks(flows, marks or {})
                changes = [] if marks is None else list(self._changes(marks, seen, flows))
                if changes:
                    yield TriggerEvent(self._payload(changes))  # type: ignore[no-untyped-call]
                marks = seen
                # After the event: if we are killed in between, it is repeated rather than lost.
                if stored != seen and await self._remember(seen):
                    stored = seen

    async def _flows(self, lookout: SharedPoller, marks: Mapping[str, FlowVersion]) -> list[Flow]:
        """Return the flows that there are, those among them that the filter does not match included."""
        if self.flow_id is not None:
            flow = await lookout.get(self.flow_id)
            flows = [] if flow is None else [flow]
        else:
            flows = await lookout.list()
            for flow_id in marks.keys() - {flow.flow_id for flow in flows}:
                # A listing that changes while it is read may miss a flow, so nobody is declared deleted by it.
                if (flow := await lookout.get(flow_id)) is not None:
                    flows.append(flow)
        return flows

    async def _marks(self, flows: Mapping[str, Flow], before: Mapping[str, FlowVersion]) -> dict[str, FlowVersion]:
        marks = {}
        for number, flow in enumerate(self._filter.select(flows.values(), datetime.now(UTC))):
            if number % 100 == 0:
                await asyncio.sleep(0)  # a digest takes 50 microseconds, and the event loop belongs to everybody
            marks[flow.flow_id] = FlowVersion.of(flow, before.get(flow.flow_id))
        return marks

    def _changes(
        self, before: Mapping[str, FlowVersion], after: Mapping[str, FlowVersion], flows: Mapping[str, Flow]
    ) -> Iterator[dict[str, Any]]:
        for flow_id in sorted(before.keys() | after.keys()):
            old, new = before.get(flow_id), after.get(flow_id)
            if old == new:
                continue
            # A flow that the filter does not match any more has been updated so that it does not.
            event = "created" if old is None else "updated" if flow_id in flows else "deleted"
            spec_changed = old is None or new is None or old.digest != new.digest
            if event not in self.events or (self.spec_changes_only and not spec_changed):
                continue
            change: dict[str, Any] = {"event": event, "flow_id": flow_id, "spec_changed": spec_changed}
            if flow := flows.get(flow_id):
                change |= {
                    "name": flow.spec.name,
                    "generation": flow.metadata.generation,
                    "last_updated": flow.metadata.last_updated,
                    "digest": flow.digest,
                }
            yield change

    def _payload(self, changes: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "version": 1,
            "vi_conn_id": self.vi_conn_id,
            "count": len(changes),
            "changes": changes[:MAX_LISTED],
        }

    def _pause(self, error: ViError, failures: int, elapsed: float) -> float:
        """Return the seconds from one look to the next, if the failed one took ``elapsed`` of them."""
        asked = elapsed + (error.retry_after or 0.0)
        if failures < self.max_failures and error.retryable:
            self.log.warning("Look %d in a row failed: %s", failures, error)
            pause = self.poke_interval
        else:
            # It must not end: Airflow would start it again two seconds later, and so for ever.
            self.log.error("Look %d in a row failed, so the pauses grow: %s", failures, error)
            growth = 2.0 ** min(failures - (self.max_failures if error.retryable else 1) + 1, 20)
            pause = self.poke_interval * growth
        return max(self.poke_interval, min(max(pause, asked), MAX_PAUSE))

    @property
    def _state_key(self) -> str:
        """Key of what is remembered: an asset may have several watchers, and a changed one begins anew."""
        watched = {name: value for name, value in self.serialize()[1].items() if name not in _PACE}
        return f"vi_flows_{hashlib.sha256(canonical_json(watched)).hexdigest()[:16]}"

    async def _remembered(self) -> dict[str, FlowVersion] | None:
        """Return the marks of an earlier life, ``None`` where there are none."""
        store = getattr(self, "asset_state_store", None)
        if store is None:
            return None
        try:
            stored = await store.aget(self._state_key)
        except ValueError as error:  # one trigger that watches for several assets: Airflow has no store for it
            self.log.warning("What is seen cannot be stored, so a restart begins anew: %s", error)
            self.asset_state_store = None
            return None
        if not isinstance(stored, dict) or not all(
            isinstance(mark, list) and len(mark) == 2 for mark in stored.values()
        ):
            return None
        return {flow_id: FlowVersion(*mark) for flow_id, mark in stored.items()}

    async def _remember(self, marks: Mapping[str, FlowVersion]) -> bool:
        store = getattr(self, "asset_state_store", None)
        if store is None:
            return True
        try:
            await store.aset(self._state_key, {flow_id: list(mark) for flow_id, mark in marks.items()})
        except Exception as error:
            # It must not end, or Airflow would start it again with the old marks: the same event every two seconds.
            self.log.error("What was seen could not be stored; the next look tries again: %s", error)
            return False
        return True
