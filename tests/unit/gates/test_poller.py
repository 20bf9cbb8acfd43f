"""What a thousand gates request together: few requests, and no gate fails because of another gate's flow."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any, Final

import pytest

from tests.documents import wire_flow, wire_page
from tests.unit.gates.polling import LISTING, Poller, by_id, by_name, many, paths, poll, run, subscribed
from tests.unit.gates.virtual import LATENCY, VirtualClock, VirtualVi
from vi_airflow_provider.api.errors import (
    ViAuthenticationError,
    ViError,
    ViPermissionError,
    ViResponseError,
    ViServerError,
)
from vi_airflow_provider.emulator.settings import DEFAULT_ORGANIZATION_ID
from vi_airflow_provider.gates import flow_source
from vi_airflow_provider.gates.condition import Target
from vi_airflow_provider.gates.poller import SharedPoller
from vi_airflow_provider.gates.reader import MAX_SINGLE_GETS, Reader

# --- few requests --------------------------------------------------------------------------------------------------


def test_gates_for_the_same_flow_share_one_request(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.put("a")
    assert run(clock, by_id("a") * 50) == ["a"] * 50
    assert paths(vi) == ["a"]


@pytest.mark.parametrize("count", [1, MAX_SINGLE_GETS, MAX_SINGLE_GETS + 1, 100])
def test_few_flows_are_fetched_singly_and_many_from_the_listing(count: int, vi: VirtualVi, clock: VirtualClock) -> None:
    vi.put("f0")
    assert run(clock, many(count)) == ["f0"] + [None] * (count - 1)
    expected = [f"f{number}" for number in range(count)] if count <= MAX_SINGLE_GETS else ["flows"]
    assert sorted(paths(vi)) == sorted(expected)


def test_one_gate_for_a_name_makes_all_share_the_listing(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.put("a", name="weld")
    targets = [*by_id("a", "b"), *by_name("weld", "Weld")]
    assert run(clock, targets) == ["a", None, "a", None]
    assert paths(vi) == ["flows"]


def test_the_listing_finds_the_same_flows_as_single_requests(vi: VirtualVi, clock: VirtualClock) -> None:
    for flow_id, name, project in (("a", "w", "p"), ("b", "w", "q"), ("c", "w", None), ("d", "id:a", "p")):
        vi.put(flow_id, name=name, trainingProject=project)
        clock.sleep(1)
    choices: list[dict[str, str]] = [*({"flow_id": i} for i in "abcx"), *({"flow_name": n} for n in ("w", "id:a", "a"))]
    targets = [Target(**choice, training_project=project) for choice in choices for project in (None, "p", "q", "r")]

    together = run(clock, targets)
    assert paths(vi) == ["flows"]
    alone = [run(clock, [target])[0] for target in targets]
    assert together == alone
    assert Counter(together) == {"a": 3, "b": 3, "c": 2, "d": 2, None: 18}


def test_a_long_listing_is_given_up_and_not_soon_tried_again(vi: VirtualVi, clock: VirtualClock) -> None:
    """Each of the 41 pages takes the time of 16 GETs, so the listing pays from 641 gates on."""
    vi.connect(extra={"verify": False, "page_size": 1})
    for number in range(40):
        vi.put(f"x{number}")
    vi.put("f3")

    async def main() -> list[tuple[int, int]]:
        counts = []
        async with subscribed(many(9)) as poller:
            for more in (0, 0, 8, 1, 23, 631, 632):
                async with subscribed([Target(flow_id=f"y{number}") for number in range(more)]):
                    targets = [*many(9), *(Target(flow_id=f"y{number}") for number in range(more))]
                    assert await poll(poller, *targets) == [None] * 3 + ["f3"] + [None] * (len(targets) - 4)
                    counts.append((len(targets), sum(request.lists for request in vi.requests)))
                    vi.requests.clear()
        return counts

    # Each time that it is given up, the number of gates for the next attempt doubles.
    assert clock.run(main()) == [(9, 1), (9, 0), (17, 2), (10, 0), (32, 0), (640, 40), (641, 0)]


def test_many_gates_do_not_wait_for_a_long_listing(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.connect(extra={"verify": False, "page_size": 1})
    for number in range(200):
        vi.put(f"x{number}")
    run(clock, many(100))
    assert sum(request.lists for request in vi.requests) <= 100 / 16 + 1


def test_a_result_is_shared_up_to_the_age_that_a_poll_allows(vi: VirtualVi, clock: VirtualClock) -> None:
    async def main(poller: Poller) -> list[Any]:
        (target,) = by_id("a")
        results = [await poll(poller, target)]
        vi.put("a")
        await asyncio.sleep(0.9)
        results.append(await poll(poller, target, max_age=1.0))
        await asyncio.sleep(0.2)
        results.append(await poll(poller, target, max_age=1.0))
        results.append(await poll(poller, target))
        return [result for (result,) in results]

    assert run(clock, by_id("a"), main) == [None, None, "a", "a"]
    assert paths(vi) == ["a", "a", "a"]


# --- gates that come and go ----------------------------------------------------------------------------------------


def test_a_gate_that_joins_during_a_listing_gets_its_own_request(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.put("late")

    async def main(poller: Poller) -> Any:
        reading = asyncio.create_task(poll(poller, *many(6)))
        await asyncio.sleep(LATENCY / 2)
        (late,) = by_id("late")
        async with poller.subscribe(late):
            return await poll(poller, late), await reading

    assert run(clock, many(6), main) == (["late"], [None] * 6)


def test_gates_that_join_a_request_in_flight_share_its_result(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.put("a")

    async def main(poller: Poller) -> Any:
        first = asyncio.create_task(poll(poller, *by_id("a")))
        await asyncio.sleep(LATENCY / 2)
        return await poll(poller, *by_id("a")) + await first

    assert run(clock, by_id("a"), main) == ["a", "a"]
    assert paths(vi) == ["a"]


@pytest.mark.parametrize("count", [1, 6])
def test_a_cancelled_gate_leaves_the_request_to_the_others(count: int, vi: VirtualVi, clock: VirtualClock) -> None:
    vi.put("f0")

    async def main(poller: Poller) -> Any:
        (first, *rest) = (asyncio.create_task(poll(poller, target)) for target in [*many(1), *many(count)])
        await asyncio.sleep(LATENCY / 2)
        first.cancel()
        results = await asyncio.gather(*rest)
        assert first.cancelled()
        return results

    assert run(clock, many(count), main)[0] == ["f0"]
    assert len(vi.requests) == 1


def test_a_flow_without_subscribers_is_forgotten(vi: VirtualVi, clock: VirtualClock) -> None:
    async def main(poller: Poller) -> Any:
        for number in range(100):
            targets = by_id(*(f"g{number}-{each}" for each in range(10)))
            async with subscribed(targets):
                reading = asyncio.create_task(poll(poller, *targets))
                await asyncio.sleep(LATENCY / 2)
                if number % 2:
                    reading.cancel()  # its job ends after the last subscriber has left
                await asyncio.wait([reading])
        await asyncio.sleep(1)
        return [poller._results, poller._single_jobs, poller._group_jobs, len(poller._keys)]

    assert run(clock, [], main) == [{}, {}, [], 0]


def test_a_gate_that_returns_before_the_response_gets_it(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.put("a")
    (target,) = by_id("a")

    async def main(poller: Poller) -> Any:
        async with poller.subscribe(target):
            gone = asyncio.create_task(poller.poll(target))
            await asyncio.sleep(LATENCY / 2)
            gone.cancel()
        async with poller.subscribe(target):
            return await poll(poller, target)

    assert run(clock, [], main) == ["a"]
    assert paths(vi) == ["a"]


def test_a_gate_that_missed_the_results_polls_again(
    vi: VirtualVi, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi.put("f0")
    targets = many(10)
    gone: list[Target] = []
    latest, end = flow_source._latest, SharedPoller._end

    async def main(poller: Poller) -> Any:
        def note(by_id: Any, by_name: Any, target: Target) -> Any:
            if not gone:
                gone.append(next(each for each in targets if each is not target))
                del poller._keys._subscribers[gone[0]]
            return latest(by_id, by_name, target)

        def come_back(poller: Poller, *done: Any) -> None:
            poller._keys._subscribers[gone[0]] = 1
            end(poller, *done)

        monkeypatch.setattr(flow_source, "_latest", note)
        monkeypatch.setattr(SharedPoller, "_end", come_back)
        return await poll(poller, *targets)

    assert run(clock, targets, main) == ["f0"] + [None] * 9
    assert len(paths(vi)) == 2


def test_only_subscribed_keys_can_be_polled(vi: VirtualVi, clock: VirtualClock) -> None:
    async def main(poller: Poller) -> None:
        with pytest.raises(LookupError, match="flow b is not subscribed to"):
            await poller.poll(Target(flow_id="b"))

    run(clock, many(10), main)
    assert vi.requests == []


def test_an_unexpected_exception_reaches_all_waiters(
    vi: VirtualVi, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> Any:
        raise LookupError("a bug")

    monkeypatch.setattr(Reader, "_read_listing", broken)

    async def main(poller: Poller) -> Any:
        polls = (poller.poll(target) for target in many(50))
        return await asyncio.gather(*polls, return_exceptions=True)

    assert {type(error) for error in run(clock, many(50), main)} == {LookupError}


# --- failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ({"status": 503}, ViServerError),
        ({"status": 401}, ViAuthenticationError),
        ({"drop": True}, ViError),
        ({"status": 429, "retry_after": "5"}, ViError),
    ],
)
def test_a_service_wide_error_costs_one_request(
    rule: dict[str, Any], error: type[ViError], vi: VirtualVi, clock: VirtualClock
) -> None:
    vi.faults.add(**rule, times=None)
    results = run(clock, many(200))
    assert len({*results}) == 1
    assert issubclass(results[0], error)
    assert paths(vi) == ["flows"]


def test_a_failure_is_shared_like_any_other_result(vi: VirtualVi, clock: VirtualClock) -> None:
    """So that an outage does not multiply the requests."""
    vi.faults.add(status=503, times=None)

    async def main(poller: Poller) -> Any:
        for _ in range(10):
            assert await poll(poller, *by_id("a"), max_age=1.0) == [ViServerError]
            await asyncio.sleep(0.05)

    run(clock, by_id("a"), main)
    assert paths(vi) == ["a"]


BROKEN_FLOW: Final[dict[str, Any]] = {"path": "/flows/f1$", "status": 200, "body": '{"flowId": "f1"}', "times": None}


def test_one_unreadable_flow_does_not_affect_the_others(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.put("f0")
    vi.put("f1", name="weld")
    broken = '{"items": [{"flowId": "f0"}, {"flowId": "f1", "spec": {"name": "weld"}}]}'
    vi.faults.add(path=LISTING, status=200, body=broken, times=1)
    vi.faults.add(**BROKEN_FLOW)

    expected = ["f0", ViResponseError, *[None] * 8, "f1"]
    assert run(clock, [*many(10), *by_name("weld")]) == expected


def test_a_forbidden_listing_does_not_affect_gates_for_ids(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.put("f0")
    vi.faults.add(path=LISTING, status=403, times=None)
    assert run(clock, many(10)) == ["f0"] + [None] * 9
    assert run(clock, [*many(10), *by_name("f0")]) == ["f0"] + [None] * 9 + [ViPermissionError]


def test_a_missing_listing_does_not_affect_gates_for_ids(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.put("f0")
    vi.faults.add(path=LISTING, status=404, times=None)
    assert run(clock, many(10)) == ["f0"] + [None] * 9


def test_one_forbidden_flow_does_not_affect_the_others(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.connect(extra={"verify": False, "page_size": 1})
    for number in range(20):
        vi.put(f"f{number}")
    vi.faults.add(path="/flows/f1$", status=403, times=None)
    # The listing has too many pages for ten gates, so each flow is fetched singly.
    assert run(clock, many(10)) == ["f0", ViPermissionError, *(f"f{number}" for number in range(2, 10))]


@pytest.mark.parametrize("count", [1, 3, 10])
def test_absence_from_a_listing_is_confirmed_on_request(count: int, vi: VirtualVi, clock: VirtualClock) -> None:
    vi.put("f0")
    vi.faults.add(path=LISTING, status=200, body='{"items": []}', times=None)
    certain = run(clock, many(count), lambda poller: poll(poller, *many(count)[:1], certain=True))
    assert certain == ["f0"]
    assert paths(vi) == (["flows", "f0"] if count > MAX_SINGLE_GETS else ["f0"])


def test_the_traceback_of_a_shared_error_does_not_grow(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.faults.add(status=503, times=None)

    async def main(poller: Poller) -> int:
        found = await asyncio.gather(*(poller.poll(t) for t in by_id("a") * 500), return_exceptions=True)
        (error,) = set(found)
        assert isinstance(error, ViServerError)
        depth, traceback = 0, error.__traceback__
        while traceback is not None:
            depth, traceback = depth + 1, traceback.tb_next
        return depth

    assert run(clock, by_id("a"), main) < 10


# --- other documents than requested --------------------------------------------------------------------------------


def serve(vi: VirtualVi, **changes: Any) -> None:
    """Respond to every request with the same flow."""
    flow = wire_flow(**{"flowId": "f0", "spec__name": "weld", "workspaceId": DEFAULT_ORGANIZATION_ID, **changes})
    vi.faults.add(path=LISTING, status=200, body=json.dumps(wire_page(flow)), times=None)
    vi.faults.add(path="/flows/", status=200, body=json.dumps(flow), times=None)


@pytest.mark.parametrize("count", [1, 10])
def test_a_flow_of_another_organization_is_not_a_result(count: int, vi: VirtualVi, clock: VirtualClock) -> None:
    serve(vi, workspaceId="another-one")
    assert run(clock, [*many(count), *by_name("weld")])[::count] == [ViResponseError, ViResponseError]


def test_another_flow_than_requested_is_not_a_result(vi: VirtualVi, clock: VirtualClock) -> None:
    serve(vi)
    assert run(clock, by_id("f0", "f1")) == ["f0", ViResponseError]
    assert run(clock, [*by_id("f0", "f1"), *by_name("weld", "Weld")]) == ["f0", None, "f0", None]
