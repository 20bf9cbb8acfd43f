"""A worker and a trigger that see the same responses at the same times wait, and end, in the same way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Final, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.documents import wire_run
from vi_airflow_provider.api.errors import (
    ViAuthenticationError,
    ViError,
    ViNotFoundError,
    ViPermissionError,
    ViServerError,
)
from vi_airflow_provider.api.models import Run
from vi_airflow_provider.training.identity import OWNER, TaskIdentity
from vi_airflow_provider.training.starting import VISIBILITY_DELAY, RunTakenOverError
from vi_airflow_provider.training.waiting import RunEnd, WaitEnd, wait_for
from vi_airflow_provider.training.watch import Limit, Limits, RunWatch
from vi_airflow_provider.triggers import runs
from vi_airflow_provider.triggers.runs import RunTrigger

#: Seconds between two polls.
INTERVAL: Final = 60.0
IDENTITY: Final = TaskIdentity("", "dag", "run", "task", -1, "", 2, 2)
#: What a poll returns or raises; ``None`` if there is no such run.
Response: TypeAlias = Run | ViError | None


def running(owner: str = IDENTITY.owner, **changes: Any) -> Run:
    run = Run.model_validate(wire_run(**changes))
    return run.model_copy(
        update={"metadata": run.metadata.model_copy(update={"attributes": {OWNER: owner}})},
    )


RUNNING: Final = running()
#: The run began at this time.
BEGAN: Final = (RUNNING.started_at or RUNNING.metadata.time_created) / 1000
ENDED: Final = running(
    status__conditions=[{"condition": "Succeeded", "status": "Reached", "lastTransitionTime": int(BEGAN * 1000)}]
)
BUSY: Final = ViServerError("busy", status_code=503)


def busy_for(seconds: float) -> ViServerError:
    return ViServerError("busy", status_code=503, retry_after=seconds)


class World:
    """The responses to the polls, one after the other, and a clock that only sleeping moves."""

    def __init__(self, responses: Sequence[Response]) -> None:
        self.now = BEGAN
        self.polls: list[float] = []
        self.updates = 0
        self._responses = [*responses]

    async def sleep(self, seconds: float) -> None:
        self.now += max(0.0, seconds)

    async def get_run(self, _run_id: str) -> Run:
        self.polls.append(self.now - BEGAN)
        response = self._responses.pop(0) if self._responses else ENDED
        if response is None:
            raise ViNotFoundError("no such run", status_code=404)
        if isinstance(response, ViError):
            raise response
        return response

    async def update_run(self, _run_id: str, **_: Any) -> Run:
        self.updates += 1
        raise ViPermissionError("the key may not change runs", status_code=403)

    # As the shared poller and the refreshing client of the triggerer.

    async def poll(self, *_: Any, **__: Any) -> Run | None:
        try:
            return await self.get_run("")
        except ViNotFoundError:
            return None

    async def call(self, ask: Callable[[World], Any]) -> Any:
        return await ask(self)


async def _nothing() -> None:
    pass


def in_worker(world: World, limits: Limits) -> WaitEnd:
    client: Any = world
    waiting = wait_for(
        client, RUNNING, RunWatch(limits), IDENTITY,
        poll_interval=INTERVAL, on_poll=_nothing, sleep=world.sleep, now=lambda: world.now,
    )  # fmt: skip
    return asyncio.run(waiting)


def on_triggerer(world: World, limits: Limits) -> WaitEnd:
    watch = RunWatch(limits)
    limit = watch.judge(RUNNING, BEGAN).next_limit
    first = BEGAN + INTERVAL if limit is None else min(BEGAN + INTERVAL, limit)
    trigger = RunTrigger(
        vi_conn_id="vi", run_id=RUNNING.run_id, owner=IDENTITY.owner, poll_interval=INTERVAL, first_poll=first
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "timers", SimpleNamespace(sleep=world.sleep))
        patch.setattr(runs, "time", SimpleNamespace(time=lambda: world.now))
        patch.setattr(runs, "next_poll", lambda earliest, *_: earliest)  # without the spread over the shared ticks
        client: Any = world
        return asyncio.run(trigger._wait(watch, client, client))


def both(responses: Sequence[Response], limits: Limits) -> tuple[WaitEnd, World]:
    """The end of the wait, and the polls; they are the same in a worker and on the triggerer."""
    worker, triggerer = World(responses), World(responses)
    end = in_worker(worker, limits)
    assert on_triggerer(triggerer, limits) == replace_deadline(end, limits)
    assert worker.polls == triggerer.polls
    assert worker.updates == triggerer.updates
    return end, worker


def replace_deadline(end: WaitEnd, limits: Limits) -> WaitEnd:
    """The trigger also reports the deadline of the wait, which a worker has at hand."""
    return end._replace(wait_deadline=limits.wait_deadline)


AT_120: Final = Limits(task_deadline=BEGAN + 120)


def test_limit_bounds_the_pause_that_a_busy_service_requests() -> None:
    end, world = both([RUNNING, busy_for(3600)], Limits(task_deadline=BEGAN + 150))
    assert (end.outcome, world.polls) == (RunEnd.ENDED, [60, 120, 150])
    end, world = both([RUNNING, busy_for(3600), BUSY], Limits(task_deadline=BEGAN + 150))
    assert (end.outcome, end.limit, world.polls) == (RunEnd.EXCEEDED, Limit.EXECUTION_TIMEOUT, [60, 120, 150])


@pytest.mark.parametrize(
    "limits",
    [AT_120, Limits(wait_deadline=BEGAN + 120), Limits(max_duration=120)],
    ids=["task", "wait", "run"],
)
def test_limit_is_in_force_during_an_outage(limits: Limits) -> None:
    end, world = both([RUNNING, *[BUSY] * 9], limits)
    assert (end.outcome, world.polls) == (RunEnd.EXCEEDED, [60, 120])


def test_limit_of_the_wait_is_in_force_before_the_run_was_read() -> None:
    end, world = both([BUSY] * 9, AT_120)
    assert (end.outcome, world.polls) == (RunEnd.EXCEEDED, [60, 120])


def test_run_that_ended_just_before_the_limit_has_not_exceeded_it() -> None:
    end, world = both([RUNNING, ENDED], Limits(max_duration=90))
    assert (end.outcome, world.polls) == (RunEnd.ENDED, [60, 90])


def test_tenth_failure_in_a_row_ends_the_wait() -> None:
    end, world = both([*[BUSY] * 9, RUNNING, *[BUSY] * 10], Limits())
    assert (end.outcome, end.error, len(world.polls)) == (RunEnd.FAILED, BUSY, 20)


def test_error_that_does_not_pass_ends_the_wait_at_once() -> None:
    refused = ViAuthenticationError("no", status_code=401)
    end, world = both([RUNNING, refused], Limits())
    assert (end.outcome, end.error, len(world.polls)) == (RunEnd.FAILED, refused, 2)


@pytest.mark.parametrize("seen", [[], [RUNNING]], ids=["not seen before", "seen before"])
def test_run_that_is_not_found_for_a_while_is_gone(seen: list[Response]) -> None:
    first = INTERVAL * (len(seen) + 1)
    end, world = both([*seen, None, None, RUNNING], Limits())
    assert (end.outcome, world.polls[-2:]) == (RunEnd.GONE, [first, first + VISIBILITY_DELAY])


def test_run_that_is_found_again_is_not_gone() -> None:
    end, world = both([RUNNING, None, RUNNING, None, ENDED], Limits())
    assert (end.outcome, world.polls) == (RunEnd.ENDED, [60, 120, 130, 190, 200])


def test_limit_is_in_force_while_a_run_is_not_found() -> None:
    end, world = both([None] * 3, Limits(task_deadline=BEGAN + INTERVAL + VISIBILITY_DELAY - 1))
    assert (end.outcome, world.polls) == (RunEnd.EXCEEDED, [60, 69])


def test_failed_poll_of_a_run_that_may_be_gone_is_not_repeated_at_once() -> None:
    end, world = both([RUNNING, None, BUSY, BUSY, None], Limits())
    assert (end.outcome, world.polls) == (RunEnd.GONE, [60, 120, 130, 190, 250])


def test_owner_stamp_that_cannot_be_renewed_does_not_end_the_wait() -> None:
    end, world = both([running(owner="1/1")] * 3, Limits())
    assert (end.outcome, world.updates) == (RunEnd.ENDED, 3)


def test_later_try_ends_the_wait() -> None:
    later = running(owner="9/9")
    with pytest.raises(RunTakenOverError):
        in_worker(World([RUNNING, later]), Limits())
    world = World([RUNNING, later, RUNNING])
    assert on_triggerer(world, Limits()).outcome is RunEnd.ENDED  # the task reads the run again
    assert len(world.polls) == 2


OUTCOMES: Final = st.sampled_from([RUNNING, RUNNING, BUSY, busy_for(100), busy_for(1e9), None, running(owner="1/1")])
SECONDS: Final = st.none() | st.floats(1, 2000)


@given(st.lists(OUTCOMES, max_size=30), SECONDS, SECONDS, SECONDS)
def test_any_sequence_of_responses_ends_the_same(
    responses: list[Response], duration: float | None, timeout: float | None, task: float | None
) -> None:
    limits = Limits(
        max_duration=duration,
        wait_deadline=None if timeout is None else BEGAN + timeout,
        task_deadline=None if task is None else BEGAN + task,
    )
    end, world = both([RUNNING, *responses], limits)
    earliest = min(each for each in (duration, timeout, task, 1e12) if each is not None)
    assert world.polls[-1] <= max(earliest, 0) + 1e-3
    assert (end.limit is None) or world.polls[-1] >= earliest - 1e-3
