"""Thousands of gates and changes: the work for each does not grow with their number, and no turn is long."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any, Final

import pytest

from tests.unit.gates.turns import turns_of_others
from tests.unit.gates.watching import Client
from vi_airflow_provider.api.errors import ViServerError
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.gates import changes, flow_changes
from vi_airflow_provider.gates.changes import Snapshot, Version
from vi_airflow_provider.gates.flow_changes import FlowChangeDetector
from vi_airflow_provider.gates.poller import SharedPoller
from vi_airflow_provider.gates.reader import GETS_PER_PAGE
from vi_airflow_provider.gates.source import Extent, Listing
from vi_airflow_provider.gates.timers import BATCH
from vi_airflow_provider.selection.filter import FlowFilter
from vi_airflow_provider.triggers.version_store import VersionStore

operations: Final = Counter[str]()


@pytest.fixture(autouse=True)
def _no_operations() -> None:
    operations.clear()


async def longest_turn(work: Coroutine[Any, Any, Any], operation: str) -> int:
    """Do some work, and return the largest number of operations in one turn of the event loop."""
    task = asyncio.create_task(work)
    longest = last = 0
    while not task.done():
        await asyncio.sleep(0)
        now = operations[operation]
        longest, last = max(longest, now - last), now
    task.result()
    return longest


# --- many gates ----------------------------------------------------------------------------------------------------


class Key:
    """A key that counts how often it is hashed and compared."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        operations["hash"] += 1
        return hash(self.number)

    def __eq__(self, other: object) -> bool:
        operations["compare"] += 1
        return isinstance(other, Key) and self.number == other.number


class Direct:
    """Calls without a client."""

    client = SimpleNamespace(settings=SimpleNamespace(endpoint="https://vi.test", organization_id="one"))

    async def call(self, ask: Callable[[Any], Awaitable[Any]]) -> Any:
        return await ask(self.client)


class Documents:
    """Documents that can be fetched singly, and a listing that is too long, or complete."""

    listed = True
    has_head = False

    def __init__(self, *, listing: bool | None) -> None:
        self._listing = listing
        self._in_flight = 0
        self.most_in_flight = 0

    def needs_listing(self, _key: Key) -> bool:
        return False

    def must_be_created(self, _key: Key) -> bool:
        return False

    def created(self, document: int) -> int:
        return document

    async def get(self, _client: Any, key: Key) -> int:
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        await asyncio.sleep(0)
        self._in_flight -= 1
        operations["get"] += 1
        return key.number

    async def scan(self, _client: Any, _keys: Collection[Key], _extent: Extent) -> Listing[Key, int]:
        if self._listing is None:
            raise ViServerError("503")
        operations["scan"] += 1
        await asyncio.sleep(0)

        def find(key: Key) -> int:
            operations["find"] += 1
            return key.number

        return Listing(1, True, find) if self._listing else Listing(10**6, False, None)


async def poll_all(count: int, documents: Documents, *, rounds: int = 2) -> None:
    """Let many gates poll a key of their own each, all at once, several times."""
    poller: SharedPoller[Key, int] = SharedPoller(Direct(), documents)  # type: ignore[arg-type]
    keys = [Key(number) for number in range(count)]
    async with AsyncExitStack() as stack:
        for key in keys:
            await stack.enter_async_context(poller.subscribe(key))
        for _ in range(rounds):
            found = await asyncio.gather(*(poller.poll(key) for key in keys), return_exceptions=True)
            assert found == list(range(count)) or documents._listing is None
            operations["polls"] += count
    assert (poller._single_jobs, poller._group_jobs, poller._results) == ({}, [], {})


@pytest.mark.parametrize("listing", [True, False, None], ids=["listed", "singly", "failing"])
async def test_the_work_for_a_poll_does_not_grow_with_the_gates(listing: bool | None) -> None:
    work = {}
    for count in (400, 4000):
        operations.clear()
        await poll_all(count, Documents(listing=listing))
        work[count] = (operations["hash"] + operations["compare"]) / operations["polls"]
    assert work[4000] == pytest.approx(work[400], rel=0.1)
    assert work[4000] <= 30


async def test_4_000_single_requests_never_occupy_the_event_loop() -> None:
    documents = Documents(listing=False)
    assert await longest_turn(poll_all(4000, documents), "get") <= 2 * GETS_PER_PAGE
    assert documents.most_in_flight <= GETS_PER_PAGE
    assert operations["get"] == 2 * 4000


async def test_thousands_of_keys_that_wait_for_a_request_are_no_tasks() -> None:
    """The garbage collector would stop the event loop to examine them."""
    documents = Documents(listing=False)
    poller: SharedPoller[Key, int] = SharedPoller(Direct(), documents)  # type: ignore[arg-type]
    keys = [Key(number) for number in range(1000)]
    async with AsyncExitStack() as stack:
        for key in keys:
            await stack.enter_async_context(poller.subscribe(key))
        poller._reader._pages = 10**6
        before = len(asyncio.all_tasks())
        polls = [asyncio.create_task(poller.poll(key)) for key in keys]
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) - before <= len(polls) + GETS_PER_PAGE
        assert await asyncio.gather(*polls) == list(range(1000))


async def test_polls_end_when_the_poller_closes() -> None:
    poller: SharedPoller[Key, int] = SharedPoller(Direct(), Documents(listing=False))  # type: ignore[arg-type]
    keys = [Key(number) for number in range(100)]
    async with AsyncExitStack() as stack:
        for key in keys:
            await stack.enter_async_context(poller.subscribe(key))
        poller._reader._pages = 10**6
        polls = [asyncio.create_task(poller.poll(key)) for key in keys]
        await asyncio.sleep(0)
        await poller.close()
        ends = await asyncio.gather(*polls, return_exceptions=True)
    assert {type(end) for end in ends} <= {int, asyncio.CancelledError}
    assert asyncio.CancelledError in map(type, ends)


async def test_the_results_of_a_listing_are_noted_in_turns() -> None:
    assert await longest_turn(poll_all(4000, Documents(listing=True)), "find") <= BATCH
    assert operations["scan"] == 2


# --- many changes --------------------------------------------------------------------------------------------------


async def test_20_000_changes_never_occupy_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(flow: Flow) -> str:
        operations["digest"] += 1
        return flow.flow_id

    monkeypatch.setattr(Flow, "digest", property(counted))
    as_data = flow_changes.FlowChange.as_data

    def built(change: flow_changes.FlowChange, flow_id: str) -> list[dict[str, Any]]:
        operations["built"] += 1
        return as_data(change, flow_id)

    monkeypatch.setattr(flow_changes.FlowChange, "as_data", built)
    client: Any = Client("one", *(f"f{number}" for number in range(20_000)))
    detector = FlowChangeDetector(FlowFilter.build(), flow_id=None, events=flow_changes.EVENTS, spec_changes_only=False)
    before = Snapshot("one")
    assert await longest_turn(detector.poll(client, before), "digest") <= BATCH
    snapshot = await detector.poll(client, before)
    assert len(snapshot.changes) == 20_000
    assert operations["digest"] == 2 * 20_000
    assert len(next(snapshot.listed_changes())) == changes.MAX_LISTED == operations["built"]


async def test_20_000_deletions_and_their_state_never_occupy_the_event_loop() -> None:
    class Store:
        async def aset(self, _key: str, value: Any) -> None:
            assert len(value["versions"]) == 20_000

    async def poll() -> None:
        snapshot = await detector.poll(Client("one"), Snapshot("one", versions))  # type: ignore[arg-type]
        assert len(snapshot.changes) == 20_000

    versions = {f"f{number}": Version("v", "d") for number in range(20_000)}
    detector = FlowChangeDetector(FlowFilter.build(), flow_id="x", events=flow_changes.EVENTS, spec_changes_only=False)
    assert await turns_of_others(poll()) >= 20_000 / 500
    store = VersionStore(Store(), {}, None)
    store.put(Snapshot("one", versions), now=0.0)
    assert await turns_of_others(store.save(now=0.0)) >= 20_000 / 500
