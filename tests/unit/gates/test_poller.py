"""What a thousand gates ask for together: few requests, one session, and nobody pays for his neighbour's trouble."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import pytest

from tests.unit.gates.virtual import LATENCY, VirtualClock, VirtualVi
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.errors import (
    ViAuthenticationError,
    ViConfigurationError,
    ViError,
    ViPermissionError,
    ViResponseError,
    ViServerError,
)
from vi_airflow_provider.api.models import Flow
from vi_airflow_provider.gates import poller as lookouts
from vi_airflow_provider.gates.condition import Target
from vi_airflow_provider.gates.poller import FEW, SharedPoller
from vi_airflow_provider.hooks.vi import ViHook
from vi_airflow_provider.triggers import shared
from vi_airflow_provider.triggers.shared import shared_poller

CONN: Final = "vi_default"
LISTING: Final = "/flows$"


def by_id(*flow_ids: str) -> list[Target]:
    return [Target(flow_id=flow_id) for flow_id in flow_ids]


def many(count: int) -> list[Target]:
    return by_id(*(f"f{number}" for number in range(count)))


def by_name(*names: str) -> list[Target]:
    return [Target(flow_name=name) for name in names]


@asynccontextmanager
async def watched(targets: Iterable[Target], conn_id: str = CONN) -> AsyncIterator[SharedPoller]:
    """A lookout with gates that watch the targets."""
    async with AsyncExitStack() as stack:
        lookout = await stack.enter_async_context(shared_poller(conn_id))
        for target in targets:
            await stack.enter_async_context(lookout.watching(target))
        yield lookout


async def look(lookout: SharedPoller, *targets: Target, **how: Any) -> list[str | type[ViError] | None]:
    """What each gate is told that looks for a target at the same time: an id, an error, or that there is none."""
    found = await asyncio.gather(*(lookout.look(target, **how) for target in targets), return_exceptions=True)
    return [told(answer) for answer in found]


def told(answer: Flow | BaseException | None) -> Any:
    if isinstance(answer, ViError):
        return type(answer)
    if isinstance(answer, BaseException):
        raise answer
    return answer and answer.flow_id


def run(
    clock: VirtualClock, targets: list[Target], what: Callable[[SharedPoller], Awaitable[Any]] | None = None
) -> Any:
    """Let gates watch the targets and do something; by default, let them all look."""

    async def main() -> Any:
        async with watched(targets) as lookout:
            return await (what(lookout) if what else look(lookout, *targets))

    return clock.run(main())


def paths(vi: VirtualVi) -> list[str]:
    """The requests so far, by the end of their paths, and no more of them after that."""
    seen = [request.path.rpartition("/")[2] for request in vi.asked]
    vi.asked.clear()
    return seen


# --- few requests --------------------------------------------------------------------------------------------------


def test_gates_for_the_same_flow_share_one_request(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.put("a")
    assert run(clock, by_id("a") * 50) == ["a"] * 50
    assert paths(vi) == ["a"]


@pytest.mark.parametrize("count", [1, FEW, FEW + 1, 100])
def test_few_flows_are_asked_for_one_by_one_and_many_by_their_listing(
    count: int, vi: VirtualVi, clock: VirtualClock
) -> None:
    vi.put("f0")
    assert run(clock, many(count)) == ["f0"] + [None] * (count - 1)
    expected = [f"f{number}" for number in range(count)] if count <= FEW else ["flows"]
    assert sorted(paths(vi)) == sorted(expected)


def test_one_gate_for_a_name_lets_the_listing_answer_all(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.put("a", name="weld")
    targets = [*by_id("a", "b"), *by_name("weld", "Weld")]
    assert run(clock, targets) == ["a", None, "a", None]
    assert paths(vi) == ["flows"]


def test_the_listing_finds_what_asking_would_have_found(vi: VirtualVi, clock: VirtualClock) -> None:
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


def test_a_listing_that_is_too_long_is_left_and_not_tried_again_soon(vi: VirtualVi, clock: VirtualClock) -> None:
    """The listing has 41 pages, each worth 16 flows that are asked for: it takes 641 gates to make it worth while."""
    vi.connect(extra={"verify": False, "page_size": 1})
    for number in range(40):
        vi.put(f"x{number}")
    vi.put("f3")

    async def main() -> list[tuple[int, int]]:
        counts = []
        async with watched(many(9)) as lookout:
            for more in (0, 0, 8, 1, 30, 631, 632):
                async with watched([Target(flow_id=f"y{number}") for number in range(more)]):
                    targets = [*many(9), *(Target(flow_id=f"y{number}") for number in range(more))]
                    assert await look(lookout, *targets) == [None] * 3 + ["f3"] + [None] * (len(targets) - 4)
                    counts.append((len(targets), sum(request.lists for request in vi.asked)))
                    vi.asked.clear()
        return counts

    # Each time that it is given up, there must be twice as many gates before it is tried again.
    assert clock.run(main()) == [(9, 1), (9, 0), (17, 2), (10, 0), (39, 0), (640, 40), (641, 0)]


def test_many_gates_do_not_wait_for_a_long_listing(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.connect(extra={"verify": False, "page_size": 1})
    for number in range(200):
        vi.put(f"x{number}")
    run(clock, many(100))
    assert sum(request.lists for request in vi.asked) <= 100 / 16 + 1


def test_an_answer_is_shared_for_as_long_as_the_asker_allows(vi: VirtualVi, clock: VirtualClock) -> None:
    async def main(lookout: SharedPoller) -> list[Any]:
        (target,) = by_id("a")
        answers = [await look(lookout, target)]
        vi.put("a")
        await asyncio.sleep(0.9)
        answers.append(await look(lookout, target, max_age=1.0))
        await asyncio.sleep(0.2)
        answers.append(await look(lookout, target, max_age=1.0))
        answers.append(await look(lookout, target))
        return [answer for (answer,) in answers]

    assert run(clock, by_id("a"), main) == [None, None, "a", "a"]
    assert paths(vi) == ["a", "a", "a"]


# --- whoever comes and goes ----------------------------------------------------------------------------------------


def test_a_gate_that_comes_while_the_listing_is_read_gets_an_answer_of_its_own(
    vi: VirtualVi, clock: VirtualClock
) -> None:
    vi.put("late")

    async def main(lookout: SharedPoller) -> Any:
        reading = asyncio.create_task(look(lookout, *many(6)))
        await asyncio.sleep(LATENCY / 2)
        (late,) = by_id("late")
        async with lookout.watching(late):
            return await look(lookout, late), await reading

    assert run(clock, many(6), main) == (["late"], [None] * 6)


def test_gates_that_come_while_their_flow_is_asked_for_share_the_answer(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.put("a")

    async def main(lookout: SharedPoller) -> Any:
        first = asyncio.create_task(look(lookout, *by_id("a")))
        await asyncio.sleep(LATENCY / 2)
        return await look(lookout, *by_id("a")) + await first

    assert run(clock, by_id("a"), main) == ["a", "a"]
    assert paths(vi) == ["a"]


@pytest.mark.parametrize("count", [1, 6])
def test_a_gate_that_is_cancelled_leaves_the_answer_to_the_others(
    count: int, vi: VirtualVi, clock: VirtualClock
) -> None:
    vi.put("f0")

    async def main(lookout: SharedPoller) -> Any:
        (first, *rest) = (asyncio.create_task(look(lookout, target)) for target in [*many(1), *many(count)])
        await asyncio.sleep(LATENCY / 2)
        first.cancel()
        answers = await asyncio.gather(*rest)
        assert first.cancelled()
        return answers

    assert run(clock, many(count), main)[0] == ["f0"]
    assert len(vi.asked) == 1


def test_a_flow_that_nobody_waits_for_any_more_is_forgotten(vi: VirtualVi, clock: VirtualClock) -> None:
    async def main(lookout: SharedPoller) -> Any:
        for number in range(100):
            targets = by_id(*(f"g{number}-{each}" for each in range(10)))
            async with watched(targets):
                reading = asyncio.create_task(look(lookout, *targets))
                await asyncio.sleep(LATENCY / 2)
                if number % 2:
                    reading.cancel()  # its job ends after everybody has gone
                await asyncio.wait([reading])
        await asyncio.sleep(1)
        return [lookout._answers, lookout._jobs, dict(lookout._wanted)]

    assert run(clock, [], main) == [{}, {}, {}]


def test_a_gate_that_comes_back_before_its_answer_gets_it(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.put("a")
    (target,) = by_id("a")

    async def main(lookout: SharedPoller) -> Any:
        async with lookout.watching(target):
            gone = asyncio.create_task(lookout.look(target))
            await asyncio.sleep(LATENCY / 2)
            gone.cancel()
        async with lookout.watching(target):
            return await look(lookout, target)

    assert run(clock, [], main) == ["a"]
    assert paths(vi) == ["a"]


def test_a_gate_that_was_away_when_the_answers_came_looks_again(
    vi: VirtualVi, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = many(10)
    gone: list[Target] = []
    best, end = lookouts._best, SharedPoller._end

    async def main(lookout: SharedPoller) -> Any:
        def note(by_key: Any, target: Target) -> Any:
            if not gone:
                gone.append(next(each for each in targets if each is not target))
                del lookout._wanted[gone[0]]
            return best(by_key, target)

        def come_back(lookout: SharedPoller, job: Any) -> None:
            lookout._wanted[gone[0]] = 1
            end(lookout, job)

        monkeypatch.setattr(lookouts, "_best", note)
        monkeypatch.setattr(SharedPoller, "_end", come_back)
        return await look(lookout, *targets)

    assert run(clock, targets, main) == [None] * 10
    assert len(paths(vi)) == 2


def test_what_nobody_expects_reaches_all_who_wait(
    vi: VirtualVi, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> Any:
        raise LookupError("a mistake of ours")

    monkeypatch.setattr(SharedPoller, "_read_listing", broken)

    async def main(lookout: SharedPoller) -> Any:
        looks = (lookout.look(target) for target in many(50))
        return await asyncio.gather(*looks, return_exceptions=True)

    assert {type(error) for error in run(clock, many(50), main)} == {LookupError}


# --- trouble -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ({"status": 503}, ViServerError),
        ({"status": 401}, ViAuthenticationError),
        ({"drop": True}, ViError),
        ({"status": 429, "retry_after": "5"}, ViError),
    ],
)
def test_trouble_that_everybody_has_costs_one_request(
    rule: dict[str, Any], error: type[ViError], vi: VirtualVi, clock: VirtualClock
) -> None:
    vi.faults.add(**rule, times=None)
    answers = run(clock, many(200))
    assert len({*answers}) == 1
    assert issubclass(answers[0], error)
    assert paths(vi) == ["flows"]


def test_a_failed_look_is_as_old_as_any_other(vi: VirtualVi, clock: VirtualClock) -> None:
    """Who looks within a second of a failure shares it, so that an outage is not the time of the most requests."""
    vi.faults.add(status=503, times=None)

    async def main(lookout: SharedPoller) -> Any:
        for _ in range(10):
            assert await look(lookout, *by_id("a"), max_age=1.0) == [ViServerError]
            await asyncio.sleep(0.05)

    run(clock, by_id("a"), main)
    assert paths(vi) == ["a"]


BROKEN_FLOW: Final = {"path": "/flows/f1$", "status": 200, "body": '{"flowId": "f1"}', "times": None}


def test_one_flow_that_cannot_be_read_is_no_trouble_of_the_others(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.put("f0")
    vi.put("f1", name="weld")
    broken = '{"items": [{"flowId": "f0"}, {"flowId": "f1", "spec": {"name": "weld"}}]}'
    vi.faults.add(path=LISTING, status=200, body=broken, times=1)
    vi.faults.add(**BROKEN_FLOW)

    expected = ["f0", ViResponseError, *[None] * 8, "f1"]
    assert run(clock, [*many(10), *by_name("weld")]) == expected


def test_a_listing_that_may_not_be_read_does_not_end_the_wait_for_ids(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.put("f0")
    vi.faults.add(path=LISTING, status=403, times=None)
    assert run(clock, many(10)) == ["f0"] + [None] * 9
    assert run(clock, [*many(10), *by_name("f0")]) == ["f0"] + [None] * 9 + [ViPermissionError]


def test_a_listing_that_is_not_there_is_no_answer_about_ids(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.put("f0")
    vi.faults.add(path=LISTING, status=404, times=None)
    assert run(clock, many(10)) == ["f0"] + [None] * 9


def test_one_flow_that_is_refused_is_no_trouble_of_the_others(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.connect(extra={"verify": False, "page_size": 1})
    for number in range(20):
        vi.put(f"f{number}")
    vi.faults.add(path="/flows/f1$", status=403, times=None)
    # The listing is longer than the gates are many, so they ask one by one.
    assert run(clock, many(10)) == ["f0", ViPermissionError, *(f"f{number}" for number in range(2, 10))]


@pytest.mark.parametrize("count", [1, 3, 10])
def test_a_listing_that_may_have_missed_a_flow_does_not_make_it_absent(
    count: int, vi: VirtualVi, clock: VirtualClock
) -> None:
    vi.put("f0")
    vi.faults.add(path=LISTING, status=200, body='{"items": []}', times=None)
    certain = run(clock, many(count), lambda lookout: look(lookout, *many(count)[:1], certain=True))
    assert certain == ["f0"]
    assert paths(vi) == (["flows", "f0"] if count > FEW else ["f0"])


def test_an_error_does_not_grow_with_those_who_get_it(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.faults.add(status=503, times=None)

    async def main(lookout: SharedPoller) -> int:
        found = await asyncio.gather(*(lookout.look(t) for t in by_id("a") * 500), return_exceptions=True)
        (error,) = set(found)
        assert isinstance(error, ViServerError)
        depth, traceback = 0, error.__traceback__
        while traceback is not None:
            depth, traceback = depth + 1, traceback.tb_next
        return depth

    assert run(clock, by_id("a"), main) < 10


# --- the connection ------------------------------------------------------------------------------------------------


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[AsyncViClient]:
    """The clients that are made; each means that the connection was read."""
    made: list[AsyncViClient] = []
    original = ViHook.get_async_conn

    async def get_async_conn(hook: ViHook) -> AsyncViClient:
        await asyncio.sleep(1.0)  # the first look-up in a triggerer takes seconds
        made.append(await original(hook))
        return made[-1]

    monkeypatch.setattr(ViHook, "get_async_conn", get_async_conn)
    return made


def test_the_connection_is_read_once_however_many_begin_to_look(
    vi: VirtualVi, clock: VirtualClock, looked_up: list[AsyncViClient]
) -> None:
    run(clock, many(FEW))
    assert len(looked_up) == 1


@pytest.mark.parametrize("count", [1, FEW, 100])
def test_a_rotated_key_is_found_in_the_connection_once_for_all(
    count: int, vi: VirtualVi, clock: VirtualClock, looked_up: list[AsyncViClient]
) -> None:
    vi.put("f0")

    async def main(lookout: SharedPoller) -> Any:
        before = await look(lookout, *many(count))
        vi.rotate_key()
        return before, await look(lookout, *many(count))

    before, after = run(clock, many(count), main)
    assert before == after == ["f0"] + [None] * (count - 1)
    assert len(looked_up) == 2


def test_a_refused_key_that_the_connection_still_has_is_refused(
    vi: VirtualVi, clock: VirtualClock, looked_up: list[AsyncViClient]
) -> None:
    async def main(lookout: SharedPoller) -> Any:
        await look(lookout, *many(FEW))
        vi.revoke_key()
        return await look(lookout, *many(FEW))

    assert run(clock, many(FEW), main) == [ViAuthenticationError] * FEW
    refused = [request for request in vi.asked if request.status == 401]
    assert len(refused) == FEW, "the same key was tried again"


def test_a_call_that_is_under_way_with_the_old_key_is_not_cut_off(
    vi: VirtualVi, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[float] = []
    close = AsyncViClient.close

    async def closing(client: AsyncViClient) -> None:
        closed.append(clock.elapsed)
        await close(client)

    monkeypatch.setattr(AsyncViClient, "close", closing)
    vi.put("slow")
    vi.faults.add(path="/flows/slow$", latency_ms=5000)

    async def main(lookout: SharedPoller) -> Any:
        slow = asyncio.create_task(look(lookout, *by_id("slow")))
        await asyncio.sleep(1)
        vi.rotate_key()
        assert await look(lookout, *by_id("fast")) == [None]
        return await slow

    assert run(clock, by_id("slow", "fast"), main) == ["slow"]
    assert len(closed) == 2
    assert min(closed) > 5


def test_those_who_list_and_those_who_make_certain_notice_a_rotated_key_too(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.put("a")

    async def main(lookout: SharedPoller) -> Any:
        listed = [await lookout.list()]
        vi.rotate_key()
        listed.append(await lookout.list())
        vi.rotate_key()
        return [flow.flow_id for flows in listed for flow in flows], told(await lookout.get("a"))

    assert run(clock, [], main) == (["a", "a"], "a")


@pytest.mark.parametrize(
    ("variable", "words"),
    [(None, "vi_default"), ('{"conn_type": "vi", "login": "o", "password": "short"}', "password: ")],
)
def test_a_connection_that_cannot_be_used_is_an_error_that_says_so(
    variable: str | None, words: str, vi: VirtualVi, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_VI_DEFAULT")
    if variable:
        monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", variable)

    async def main(lookout: SharedPoller) -> None:
        with pytest.raises(ViConfigurationError, match=words):
            await lookout.look(Target(flow_id="a"))

    run(clock, by_id("a"), main)


def test_a_connection_that_is_mended_is_used(
    vi: VirtualVi, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi.put("a")
    monkeypatch.delenv("AIRFLOW_CONN_VI_DEFAULT")

    async def main(lookout: SharedPoller) -> Any:
        before = await look(lookout, *by_id("a"))
        vi.connect()
        await asyncio.sleep(1)
        return before + await look(lookout, *by_id("a"))

    assert run(clock, by_id("a"), main) == [ViConfigurationError, "a"]


# --- sharing -------------------------------------------------------------------------------------------------------


def test_a_lookout_is_shared_by_connection_and_closed_by_the_last_who_leaves(
    vi: VirtualVi, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[SharedPoller] = []

    async def close(lookout: SharedPoller) -> None:
        closed.append(lookout)

    monkeypatch.setattr(SharedPoller, "close", close)

    async def main() -> None:
        async with shared_poller("a") as first, shared_poller("b") as other:
            async with shared_poller("a") as second:
                assert first is second
                assert first is not other
            assert closed == []
        assert closed == [other, first]
        async with shared_poller("a") as again:
            assert again is not first

    clock.run(main())


def test_each_event_loop_has_its_own_and_leaves_nothing_behind(vi: VirtualVi, clock: VirtualClock) -> None:
    async def main() -> weakref.ref[SharedPoller]:
        async with watched(by_id("a")) as lookout:
            await look(lookout, *by_id("a"))
            return weakref.ref(lookout)

    loops = len(shared._shared)
    remains = [clock.run(main()) for _ in range(3)]
    gc.collect()
    assert [lookout() for lookout in remains] == [None] * 3
    assert len(shared._shared) <= loops


def test_closing_ends_what_is_under_way(vi: VirtualVi, clock: VirtualClock) -> None:
    vi.faults.add(latency_ms=50_000, times=None)

    async def main() -> None:
        async with watched(many(2)) as lookout:
            gates = [asyncio.create_task(lookout.look(target)) for target in many(2)]
            await asyncio.sleep(1)
            for gate in gates:
                gate.cancel()
        await asyncio.wait(gates)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    clock.run(main())
    assert clock.elapsed < 2
