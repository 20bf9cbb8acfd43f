"""Gates for documents that do not exist, in an organization whose listing is too long to be read at each poll.

Whatever the order of the listing, and whatever happens in it: a gate whose document appears learns of it at its next
poll where new documents stand at the head of the listing, and after a round of checks in every other case.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.gates.organization import ORDERS, OUTAGE, Organization
from tests.unit.gates.virtual import LATENCY, VirtualClock
from vi_airflow_provider.api.errors import ViError, ViResponseError
from vi_airflow_provider.gates.head import RETRY
from vi_airflow_provider.gates.poller import SharedPoller
from vi_airflow_provider.gates.reader import GETS_PER_PAGE

#: Seconds between two polls of a gate, and the age up to which it accepts the result of another.
INTERVAL: Final = 10.0
MAX_AGE: Final = 1.0
#: Documents at the beginning: a listing of 60 pages.
DOCUMENTS: Final = 1_200
KEYS: Final = [f"k{number:02}" for number in range(40)]
NAMES: Final = [f"name:n{number:02}" for number in range(20)]
#: Seconds in which every key has become covered.
SETTLED: Final = 3 * INTERVAL
#: Time of creation of the newest document at the beginning, and the milliseconds between two of them.
BEGINNING: Final = 10_000_000
STEP: Final = 1_000


class Event(NamedTuple):
    """Something that happens in the organization."""

    at: float
    do: Callable[[Organization, int], None]


class Simulation:
    """Gates that poll an organization until their documents appear."""

    def __init__(self, organization: Organization, keys: Iterable[str] = KEYS) -> None:
        self.organization = organization
        self.opened: dict[str, float] = {}
        #: Requests per interval: pages and GETs.
        self.requests: list[tuple[int, int]] = []
        #: Keys that the head covers at the end.
        self.covered = -1
        self._clock = VirtualClock()
        self._keys = list(keys)
        for number in range(DOCUMENTS):
            organization.put(f"d{number:04}", BEGINNING - STEP * number)

    def run(self, until: float, events: Iterable[Event] = ()) -> Simulation:
        for event in events:
            self._clock.at(event.at, partial(self._do, event))
        self._clock.run(self._main(until))
        return self

    def delays(self, created: dict[str, float]) -> dict[str, float]:
        """Return for each key the seconds from its creation until its gate opened."""
        return {key: self.opened.get(key, math.inf) - at for key, at in created.items()}

    def _do(self, event: Event) -> None:
        event.do(self.organization, self._now())

    def _now(self) -> int:
        return BEGINNING + STEP + round(self._clock.elapsed * 1000)

    async def _main(self, until: float) -> None:
        poller: SharedPoller[str, Any] = SharedPoller(self.organization, self.organization)  # type: ignore[arg-type]
        async with AsyncExitStack() as stack:
            for key in self._keys:
                await stack.enter_async_context(poller.subscribe(key))
            gates = [asyncio.create_task(self._gate(poller, key)) for key in self._keys]
            while self._clock.elapsed < until:
                before = self.organization.pages, self.organization.gets
                await asyncio.sleep(INTERVAL)
                self.requests.append((self.organization.pages - before[0], self.organization.gets - before[1]))
            self.covered = len(poller._keys.covered)
            for gate in gates:
                gate.cancel()
            failures = await asyncio.gather(*gates, return_exceptions=True)
            assert not [each for each in failures if isinstance(each, Exception)]
            await poller.close()
        assert (poller._single_jobs, poller._group_jobs, poller._results) == ({}, [], {})

    async def _gate(self, poller: SharedPoller[str, Any], key: str) -> None:
        while key not in self.opened:
            due = self._clock.elapsed + INTERVAL
            try:
                if await poller.poll(key, MAX_AGE) is not None:
                    self.opened[key] = self._clock.elapsed
            except ViError:
                pass
            await asyncio.sleep(due - self._clock.elapsed)


def create(key: str) -> Callable[[Organization, int], None]:
    return lambda organization, now: organization.put(key, now)


def restore(key: str) -> Callable[[Organization, int], None]:
    """A document appears with an old time of creation."""
    return lambda organization, now: organization.put(key, BEGINNING - 500 * STEP, updated=now)


def create_others(count: int) -> Callable[[Organization, int], None]:
    def do(organization: Organization, now: int) -> None:
        for number in range(count):
            organization.put(f"o{now}-{number}", now)

    return do


def delete_newest(count: int) -> Callable[[Organization, int], None]:
    def do(organization: Organization, _now: int) -> None:
        others = [each for each in organization.documents.values() if each.id not in KEYS]
        for each in sorted(others, key=lambda each: -each.created)[:count]:
            del organization.documents[each.id]

    return do


def update(number: int) -> Callable[[Organization, int], None]:
    def do(organization: Organization, now: int) -> None:
        if (old := organization.documents.get(f"d{number:04}")) is not None:
            organization.put(old.id, old.created, updated=now)

    return do


def fail(error: type[ViError] | None) -> Callable[[Organization, int], None]:
    return lambda organization, _now: setattr(organization, "failing", error)


def round_of_checks(requests: int) -> float:
    """Return the seconds after which every key was checked with this number of requests, and its next poll was due."""
    return (math.ceil(requests / GETS_PER_PAGE) + 2) * INTERVAL


# --- few requests --------------------------------------------------------------------------------------------------


def test_one_page_and_sixteen_checks_answer_all_gates() -> None:
    simulation = Simulation(Organization("newest")).run(12 * INTERVAL)
    assert simulation.requests[3:] == [(1, GETS_PER_PAGE)] * 9


def test_gates_for_names_share_a_page_and_read_the_listing_bit_by_bit() -> None:
    simulation = Simulation(Organization("newest"), NAMES).run(12 * INTERVAL)
    first, *rest = simulation.requests
    assert first == (DOCUMENTS // 20, 0)
    assert max(rest) == (1 + GETS_PER_PAGE, 0)


@pytest.mark.parametrize("order", ["oldest", "unsorted"])
def test_listing_without_order_costs_as_much_as_before(order: str) -> None:
    simulation = Simulation(Organization(order)).run(12 * INTERVAL)
    assert simulation.requests[1:] == [(0, len(KEYS))] * 11


def test_order_is_tried_again_from_time_to_time() -> None:
    simulation = Simulation(Organization("unsorted")).run(2.5 * RETRY)
    assert sum(pages > 0 for pages, _ in simulation.requests) == 3


def test_few_gates_fetch_their_documents() -> None:
    simulation = Simulation(Organization("newest"), KEYS[:10]).run(12 * INTERVAL)
    assert simulation.requests[1:] == [(0, 10)] * 11


# --- nothing is lost -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
def test_created_documents_open_their_gates(order: str) -> None:
    created = {key: SETTLED + 3.7 * number for number, key in enumerate(KEYS[:20])}
    simulation = Simulation(Organization(order)).run(200, [Event(at, create(key)) for key, at in created.items()])
    assert max(simulation.delays(created).values()) <= INTERVAL + 0.5


def test_restored_documents_open_their_gates_after_a_round_of_checks() -> None:
    organization = Organization("newest")
    restored = {key: SETTLED + 1.7 * number for number, key in enumerate(KEYS[:20])}
    simulation = Simulation(organization).run(200, [Event(at, restore(key)) for key, at in restored.items()])
    assert max(simulation.delays(restored).values()) <= round_of_checks(len(KEYS))
    assert max(simulation.delays(restored).values()) > INTERVAL


@pytest.mark.parametrize("keys", [NAMES, ["name:n07"]], ids=["many", "one"])
def test_renamed_document_opens_its_gate_after_the_whole_listing_was_read(keys: list[str]) -> None:
    def rename(organization: Organization, now: int) -> None:
        organization.put("d0700", organization.documents["d0700"].created, updated=now, name="n07")

    organization = Organization("newest")
    simulation = Simulation(organization, keys).run(200, [Event(SETTLED, rename)])
    assert simulation.delays({"name:n07": SETTLED})["name:n07"] <= round_of_checks(DOCUMENTS // 20)


def test_listing_that_looks_sorted_is_found_out_by_a_check() -> None:
    """Sorted by anything that happened to agree with the creation so far."""
    organization = Organization("newest")
    created = dict.fromkeys(KEYS[:30], SETTLED + 0.1)

    def misplace(organization: Organization, now: int) -> None:
        position = organization._position
        organization._position = lambda document: (document.id in KEYS, *position(document))
        for key in created:
            organization.put(key, now)

    simulation = Simulation(organization).run(200, [Event(SETTLED + 0.1, misplace)])
    assert max(simulation.delays(created).values()) <= 3 * INTERVAL
    assert simulation.covered == 0


def test_another_organization_has_another_head() -> None:
    """The connection is edited: what was absent before may exist from the first."""

    def move(organization: Organization, _now: int) -> None:
        organization.settings = type(organization.settings)(endpoint="https://vi.test", organization_id="two")
        for key in KEYS:
            organization.put(key, BEGINNING - 700 * STEP)

    simulation = Simulation(Organization("newest")).run(100, [Event(SETTLED, move)])
    assert max(simulation.delays(dict.fromkeys(KEYS, SETTLED)).values()) <= 2 * INTERVAL


@pytest.mark.parametrize("error", [OUTAGE, ViResponseError])
def test_failing_pages_delay_a_gate_and_lose_none(error: type[ViError]) -> None:
    created = {key: SETTLED + 5 + number for number, key in enumerate(KEYS[:20])}
    outage = [Event(SETTLED, fail(error)), Event(SETTLED + 40, fail(None))]
    events = [*outage, *(Event(at, create(key)) for key, at in created.items())]
    simulation = Simulation(Organization("newest")).run(200, events)
    assert max(simulation.opened[key] for key in created) <= SETTLED + 40 + INTERVAL + 1


@pytest.mark.parametrize("keys", [KEYS, NAMES], ids=["ids", "names"])
def test_head_that_grows_by_too_much_is_not_read_to_its_floor(keys: list[str]) -> None:
    created = dict.fromkeys(keys[:5], SETTLED + 0.2)
    events = [Event(SETTLED + 0.1, create_others(20 * GETS_PER_PAGE + 40))]
    for key, at in created.items():
        name = key.removeprefix("name:")
        events.append(Event(at, lambda organization, now, name=name: organization.put(name, now)))  # type: ignore[misc]
    simulation = Simulation(Organization("newest"), keys).run(200, events)
    assert max(simulation.delays(created).values()) <= INTERVAL + 2
    if keys == KEYS:
        assert max(pages for pages, _ in simulation.requests[3:]) == GETS_PER_PAGE


def test_failure_of_the_service_is_not_met_by_each_key() -> None:
    outage = [Event(SETTLED, fail(OUTAGE)), Event(SETTLED + 40, fail(None))]
    simulation = Simulation(Organization("newest")).run(SETTLED + 40, outage)
    assert simulation.requests[4:] == [(1, GETS_PER_PAGE)] * 3


disturbances = st.one_of(
    st.integers(1, 300).map(create_others),
    st.integers(1, 60).map(delete_newest),
    st.integers(0, DOCUMENTS - 1).map(update),
    st.sampled_from([OUTAGE, ViResponseError, None, None]).map(fail),
)
#: Moments that fall between pages, between polls, and into polls.
moments = st.one_of(
    st.floats(SETTLED, 120),
    st.builds(lambda poll, page: poll * INTERVAL + page * LATENCY + 0.01, st.integers(3, 11), st.integers(0, 5)),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@pytest.mark.parametrize("order", ORDERS)
@given(
    by_offset=st.booleans(),
    page_size=st.sampled_from([10, 20, 33]),
    created=st.dictionaries(st.sampled_from(KEYS[:30]), moments, max_size=8),
    restored=st.dictionaries(st.sampled_from(KEYS[30:]), moments, max_size=3),
    others=st.lists(st.tuples(moments, disturbances), max_size=8),
)
def test_no_gate_is_lost(
    order: str,
    by_offset: bool,
    page_size: int,
    created: dict[str, float],
    restored: dict[str, float],
    others: list[tuple[float, Callable[[Organization, int], None]]],
) -> None:
    organization = Organization(order, page_size=page_size, by_offset=by_offset)
    events = [Event(at, do) for at, do in others]
    events += [Event(at, create(key)) for key, at in created.items()]
    events += [Event(at, restore(key)) for key, at in restored.items()]
    ok_from = 125.0
    simulation = Simulation(organization).run(ok_from + 100, [*events, Event(ok_from, fail(None))])
    disturbed = any(do.__qualname__.startswith("fail") for _, do in others)
    for key, at in created.items():
        healthy = max(at, ok_from) if disturbed else at
        # One interval in which a document may be skipped because others vanish while pages are read.
        bound = 2 * INTERVAL if order == "newest" else round_of_checks(len(KEYS))
        assert simulation.opened.get(key, math.inf) - healthy <= bound + 1
    for key, at in restored.items():
        healthy = max(at, ok_from) if disturbed else at
        assert simulation.opened.get(key, math.inf) - healthy <= round_of_checks(len(KEYS)) + 1
