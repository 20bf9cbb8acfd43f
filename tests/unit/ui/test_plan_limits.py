"""Previews hold neither the event loop nor the threads of Airflow: there are bounds for what a plan costs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.unit.ui.conftest import As, plan_path
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.ui import planning, reading
from vi_airflow_provider.ui.cache import Listings
from vi_airflow_provider.ui.reading import Reader

POLICY = {"older_than": "P1D"}
#: More than a test takes; nothing waits that long unless it is broken.
LONG = 60


@pytest.fixture
async def reader(vi: Emulator) -> AsyncIterator[Reader]:
    reader = Reader(Listings())
    await reader.flows("vi_default", refresh=False)
    yield reader
    await reader.close()


@pytest.mark.parametrize(
    ("rules", "comparisons"),
    [
        ({"protect_names": ["a", "b"]}, 80),
        ({"protect_attributes": {"a": "1", "b": "2"}, "name_pattern": "x"}, 120),
        ({"protect_ids": ["a", "b"]}, 0),
    ],
)
def test_policy_with_too_many_rules_for_the_listing_is_refused(
    rules: Any, comparisons: int, called_as: As, vi: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = called_as("admin")
    monkeypatch.setattr(reading, "MAX_COMPARISONS", comparisons)
    assert client.get(plan_path(**POLICY, **rules)).status_code == 200
    monkeypatch.setattr(reading, "MAX_COMPARISONS", comparisons - 1)
    response = client.get(plan_path(**POLICY, **rules))
    assert response.status_code == 422
    assert f"the policy has {comparisons // 40} rules for 40 flows" in response.json()["detail"]
    assert "run PruneFlowsOperator" in response.json()["detail"]


def test_longest_policy_is_refused_for_the_longest_listing() -> None:
    names = [f"{number:04}" for number in range(2_700)]
    request = planning.request_of({**POLICY, "protect_names": names}, "flows")
    assert planning.count_rules(request) * reading.MAX_FLOWS > reading.MAX_COMPARISONS


@pytest.mark.parametrize("name", ["request_of", "runs_to_measure", "plan_document"])
async def test_nothing_of_a_plan_runs_on_the_event_loop(
    name: str, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    real = getattr(planning, name)

    def noted(*arguments: Any, **others: Any) -> Any:
        threads.append(threading.current_thread())
        return real(*arguments, **others)

    monkeypatch.setattr(planning, name, noted)
    best = {**POLICY, "keep_best": 1, "best_metric": ["validationLoss", "min"]}
    await reader.plan("vi_default", best, subjects="runs", refresh=False)
    assert [thread.name.startswith("vi-plan") for thread in threads] == [True]


async def test_further_plans_wait_for_their_turn(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    real, lock, running, most = planning.plan_document, threading.Lock(), 0, 0
    all_busy, go_on = threading.Event(), threading.Event()

    def slow(*arguments: Any, **others: Any) -> bytes:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            if running == reading.MAX_PLANS:
                all_busy.set()
        assert go_on.wait(LONG)
        with lock:
            running -= 1
        return real(*arguments, **others)

    monkeypatch.setattr(planning, "plan_document", slow)
    plans = [asyncio.create_task(reader.plan("vi_default", POLICY, refresh=False)) for _ in range(6)]
    assert await asyncio.to_thread(all_busy.wait, LONG)
    go_on.set()
    assert all(body for body, _ in await asyncio.gather(*plans))
    assert most == reading.MAX_PLANS


async def test_plan_does_not_wait_for_others_for_ever(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, started = threading.Event(), []
    others = [reader._planners.submit(go_on.wait, LONG) for _ in range(reading.MAX_PLANS)]
    monkeypatch.setattr(reading, "LOAD_SECONDS", 0.05)
    monkeypatch.setattr(planning, "request_of", lambda *_: started.append(1))
    with pytest.raises(TimeoutError):
        await reader.plan("vi_default", POLICY, refresh=False)
    go_on.set()
    assert all(other.result() for other in others)
    await reader.close()
    assert started == []


async def test_thread_of_a_plan_ends_when_its_time_is_over(reader: Reader) -> None:
    listing, _ = await reader._flows("vi_default", refresh=False)
    request = planning.request_of(POLICY, "flows")
    read = iter(planning.until(time.monotonic() + LONG, listing.items))
    assert next(read) is listing.items[0]
    over = planning.until(time.monotonic() - 1, listing.items)
    with pytest.raises(TimeoutError):
        planning.plan_document(over, request, listing.organization_id, datetime.now(UTC))
