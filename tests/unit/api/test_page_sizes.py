"""Pages that grow: each flow exactly once, however the server pages, and large pages only where they pay."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.api.listing_server import Cursor, ListingServer, OverCap, listed, listed_ids, protocol_for, run
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.api.errors import ViAuthenticationError, ViServerError
from vi_airflow_provider.api.protocol import page_sizes
from vi_airflow_provider.api.protocol.messages import Failure, FailureKind, Response
from vi_airflow_provider.api.protocol.page_sizes import LearnedSizes, PageFacts, Walk, may_refuse_size
from vi_airflow_provider.api.settings import ViSettings
from vi_airflow_provider.emulator import Emulator

CURSORS: Final = get_args(Cursor)
OVER_CAP: Final = get_args(OverCap)
#: A page of small documents that came at once.
QUICK: Final = PageFacts(100, 10_000, 0.05, "next")


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


def full(size: int, **changes: Any) -> PageFacts:
    return PageFacts(size, size * 100, 0.1, "more")._replace(**changes)


# --- each flow once ------------------------------------------------------------------------------------------------


#: A server whose pages are counted in the requested size, of which it sends less: a gap for any client that trusts it.
TREACHEROUS: Final[dict[str, Any]] = {
    **{"count": 1_000, "cursor": "requested", "cap": 250, "over_cap": "cap", "latency": 0.03},
    **{"pace": 0.0, "padding": 0, "large_pages": 1_000_000, "limit": None, "prefetch": True},
}


@settings(max_examples=100, deadline=None)
@example(**TREACHEROUS)
@example(**TREACHEROUS | {"cap": 120, "limit": 600})
@given(
    count=st.one_of(st.integers(0, 450), st.integers(0, 3_500)),
    cursor=st.sampled_from(CURSORS),
    cap=st.one_of(st.integers(100, 400), st.just(10_000)),
    over_cap=st.sampled_from(OVER_CAP),
    latency=st.sampled_from([0.0, 0.03, 0.6, 1.5]),
    pace=st.sampled_from([0.0, 0.0005, 0.02]),
    padding=st.sampled_from([0, 4_000]),
    large_pages=st.one_of(st.integers(0, 4), st.just(1_000_000)),
    limit=st.one_of(st.none(), st.integers(0, 700)),
    prefetch=st.booleans(),
)
def test_every_server_lists_every_flow_once(limit: int | None, prefetch: bool, **server: Any) -> None:
    served = ListingServer(**server)
    protocol = protocol_for(served, max_retries=0)
    for _ in range(2):  # the second listing knows what the first one has learned
        paginator = protocol.list_simple_flows(limit=limit)
        paginator.prefetch = prefetch
        assert [flow.flow_id for flow in listed(paginator, served)] == served.ids[:limit]


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(0, 2_500),
    cursor=st.sampled_from(CURSORS),
    cap=st.integers(100, 1_100),
    over_cap=st.sampled_from(OVER_CAP),
    large_pages=st.one_of(st.integers(0, 4), st.just(1_000_000)),
)
def test_an_explicit_size_is_never_changed(**server: Any) -> None:
    served = ListingServer(**server)
    assert listed_ids(protocol_for(served), served, page_size=100) == served.ids
    assert set(served.sizes) == {100}


def test_a_changed_order_repeats_and_omits_nothing() -> None:
    served = ListingServer(3_000)
    flows = listed(protocol_for(served).list_simple_flows(), served)
    seen = [next(flows).flow_id]
    served.ids.reverse()  # before the large pages begin
    seen += [flow.flow_id for flow in flows]
    assert (len(seen), set(seen)) == (3_000, set(served.ids))


# --- which sizes ---------------------------------------------------------------------------------------------------

#: Server, and the sizes that a listing of its flows requests.
SIZES: Final[dict[str, tuple[dict[str, Any], list[int]]]] = {
    "one page": ({"count": 100}, [100]),
    "little more": ({"count": 150}, [100, 1_000, 100]),
    "one large page": ({"count": 700}, [100, 1_000, 700]),
    "cap that looks like the end": ({"count": 1_000, "cap": 250, "cursor": "requested"}, [100, 1_000, *[250] * 4]),
    "small documents": ({"count": 2_500}, [100, 1_000, 1_000, 1_000]),
    "documents of 4 KB": ({"count": 1_000, "padding": 4_160}, [100, 472, 472, 472]),
    "large documents": ({"count": 300, "padding": 10_000}, [100, 100, 100]),
    "slow documents": ({"count": 500, "pace": 0.02}, [100, 100, 100, 100, 100]),
    "slow connection": ({"count": 1_000, "latency": 0.4}, [100, 400, 400, 400]),
    "slow first page": ({"count": 1_000, "latency": 0.6, "pace": 0.003}, [100, 400, 400, 400]),
    "cap of the first size": ({"count": 300, "cap": 100}, [100, 1_000, 100, 100]),
    "cap": ({"count": 600, "cap": 250}, [100, 1_000, 200, 200, 200]),
    "cap below the first size": ({"count": 120, "cap": 50}, [100, 100, 100]),
    **{status: ({"count": 250, "cap": 100, "over_cap": status}, [100, 1_000, 100, 100]) for status in OVER_CAP[1:]},
    "failure later": ({"count": 2_150, "large_pages": 2}, [100, 1_000, 1_000, 1_000, *[100] * 22]),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_those_that_pay(name: str) -> None:
    server, sizes = SIZES[name]
    served = ListingServer(**server)
    assert listed_ids(protocol_for(served, max_retries=0), served) == served.ids
    assert served.sizes == sizes


@pytest.mark.parametrize("over_cap", OVER_CAP[1:])
def test_a_refused_size_is_remembered(over_cap: Any) -> None:
    served = ListingServer(250, cap=100, over_cap=over_cap)
    protocol = protocol_for(served)
    listed_ids(protocol, served)
    served.sizes.clear()
    assert listed_ids(protocol, served) == served.ids
    assert served.sizes == [100, 100, 100]


def test_a_cap_is_remembered() -> None:
    served = ListingServer(600, cap=250)
    protocol = protocol_for(served)
    listed_ids(protocol, served)
    served.sizes.clear()
    listed_ids(protocol, served)
    assert served.sizes == [100, 200, 200, 200]


@pytest.mark.parametrize(
    ("limit", "sizes"), [(150, [100, 100]), (200, [100, 100]), (201, [100, 201]), (500, [100, 500])]
)
def test_a_limit_bounds_the_size(limit: int, sizes: list[int]) -> None:
    served = ListingServer(5_000)
    assert listed_ids(protocol_for(served), served, limit=limit) == served.ids[:limit]
    assert served.sizes == sizes


def test_pages_with_public_cursors_keep_their_size() -> None:
    served = ListingServer(450)
    paginator = protocol_for(served).iter_flow_pages()
    for _ in range(2):
        steps = paginator.next_page()
        assert steps is not None
        run(steps, served)
    assert served.sizes == [100, 100]


def test_a_scan_begins_with_the_size_that_proved_itself() -> None:
    served = ListingServer(2_000)
    protocol = protocol_for(served)
    for sizes in ([100, 1_000, 1_000], [1_000, 1_000]):
        served.sizes.clear()
        assert run(protocol.scan_flows((), ()), served).pages == len(sizes)
        assert served.sizes == sizes


@pytest.mark.parametrize("cursor", ["key", "offset", "page", "sized"])
@pytest.mark.parametrize(
    "behaviour",
    [{}, {"page_cap": 120}, {"page_cap": 100, "over_cap": "413"}, {"page_cap": 100, "over_cap": "500"}],
)
def test_both_clients_list_every_flow_and_run(emulator: Emulator, cursor: Any, behaviour: dict[str, Any]) -> None:
    emulator.reset(flows=310, runs=310, cursor=cursor, **behaviour)
    settings = ViSettings(
        organization_id=emulator.organization_id, secret_key=emulator.secret_key, endpoint=emulator.url
    )

    def check_sizes() -> None:
        # Which large size is tried depends on the time of the first page.
        sizes = [int(request.params["s"]) for request in emulator.requests]
        assert sizes[0] == 100
        assert sum(size != 100 for size in sizes) <= (1 if behaviour else 2)
        emulator.clear_requests()

    async def listed_by_the_async_client(verb: str) -> list[Any]:
        async with AsyncViClient(settings) as client:
            return [document async for document in getattr(client, verb)()]

    flows, runs = emulator.store.flow_ids(), emulator.store.run_ids()
    for verb, identity, ids in (("list_simple_flows", "flow_id", flows), ("list_simple_runs", "run_id", runs)):
        with ViClient(settings) as client:
            documents = list(getattr(client, verb)())
        assert [getattr(each, identity) for each in documents] == ids
        check_sizes()
        documents = asyncio.run(listed_by_the_async_client(verb))
        assert [getattr(each, identity) for each in documents] == ids
        check_sizes()


# --- errors --------------------------------------------------------------------------------------------------------


def test_an_error_that_small_pages_meet_as_well_is_raised() -> None:
    served = ListingServer(500)
    flows = listed(protocol_for(served, max_retries=0).list_simple_flows(), served)
    assert [next(flows).flow_id for _ in range(1)] == served.ids[:1]
    served.failure = Response(401, {}, b"{}")
    with pytest.raises(ViAuthenticationError):
        list(flows)


def test_a_trial_is_not_retried_and_a_large_page_is() -> None:
    served = ListingServer(2_500, large_pages=0)
    protocol = protocol_for(served, max_retries=3)
    assert listed_ids(protocol, served) == served.ids
    assert served.sizes[:3] == [100, 1_000, 100]
    served = ListingServer(2_500, large_pages=1)
    assert listed_ids(protocol_for(served, max_retries=3), served) == served.ids
    assert served.sizes[:7] == [100, 1_000, 1_000, 1_000, 1_000, 1_000, 100]


def test_a_small_page_that_fails_is_an_error() -> None:
    served = ListingServer(500, cap=99, over_cap="500")
    with pytest.raises(ViServerError):
        listed_ids(protocol_for(served, max_retries=0), served)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        *((Response(status), True) for status in (400, 408, 413, 414, 422, 500, 502, 503, 504)),
        *((Response(status), False) for status in (401, 403, 404, 409, 429)),
        *((Failure(kind), kind.name in ("TIMEOUT", "BROKEN", "TOO_LARGE")) for kind in FailureKind),
    ],
)
def test_outcomes_that_the_size_may_have_caused(outcome: Any, expected: bool) -> None:
    assert may_refuse_size(outcome) == expected


# --- decisions -----------------------------------------------------------------------------------------------------


def test_growth_begins_another_walk_without_a_cursor() -> None:
    walk = Walk(100).after(QUICK, LearnedSizes(), None)
    assert walk is not None
    assert (walk.size, walk.token, walk.number, walk.is_trial) == (1_000, None, 1, True)
    assert walk.small is not None
    assert (walk.small.size, walk.small.token) == (100, "next")


def test_only_a_full_page_proves_a_size() -> None:
    learned = LearnedSizes()
    trial = Walk(100).after(QUICK, learned, None)
    assert trial is not None
    large = trial.after(full(1_000), learned, None)
    assert (large, learned.proven) == (Walk(1_000, "more", number=1, pages=1, seconds=trial.seconds), 1_000)
    small = trial.after(full(150), learned, None)
    assert small is not None
    assert (small.size, small.token, small.settled, learned) == (100, "next", True, LearnedSizes(100))


def test_a_large_page_that_costs_more_than_small_ones_is_given_up() -> None:
    trial = Walk(100).after(QUICK, LearnedSizes(), None)
    assert trial is not None
    slow = trial.after(full(1_000, seconds=1.5), LearnedSizes(), None)
    assert slow is not None
    assert slow.settled
    quick = trial.after(full(1_000, seconds=0.9), LearnedSizes(), None)
    assert quick is not None
    assert not quick.settled


def test_a_listing_grows_early_or_never() -> None:
    walk: Walk | None = Walk(100)
    for _ in range(3):
        assert walk is not None
        walk = walk.after(QUICK._replace(seconds=page_sizes.PAGE_SECONDS + 0.1), LearnedSizes(), None)
    assert walk is not None
    after = walk.after(QUICK, LearnedSizes(), None)
    assert after is not None
    assert after.size == 100


SHORT: Final = Walk(100, "t", pages=1)


@pytest.mark.parametrize(
    ("documents", "more", "proven", "pages", "expected", "learned"),
    [
        (250, True, None, 1, Walk(200, number=2, small=SHORT), LearnedSizes(200)),
        (150, True, 900, 1, replace(SHORT, number=2, settled=True), LearnedSizes(100)),
        (100, False, 900, 1, replace(SHORT, number=2, settled=True), LearnedSizes(100)),
        (200, False, None, 2, replace(SHORT, pages=2, number=2, settled=True), LearnedSizes(100)),
        (101, False, None, 1, replace(SHORT, number=2, settled=True), LearnedSizes(1_000)),
        (201, False, None, 2, Walk(201, number=2, small=replace(SHORT, pages=2)), LearnedSizes(1_000)),
        (250, False, 500, 1, None, LearnedSizes(1_000, 500)),
        (250, False, 250, 1, Walk(250, number=2, small=SHORT), LearnedSizes(1_000, 250)),
    ],
    ids=str,
)
def test_a_short_page_of_a_trial_is_followed_by_what_it_may_mean(
    documents: int, more: bool, proven: int | None, pages: int, expected: Walk | None, learned: LearnedSizes
) -> None:
    trial = Walk(1_000, number=1, small=replace(SHORT, pages=pages))
    known = LearnedSizes(1_000, proven)
    assert trial.after(PageFacts(documents, 1, 0.1, "n" if more else None), known, None) == expected
    assert known == learned
