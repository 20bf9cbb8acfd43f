"""A task that waits for a run in a worker, while its connection is edited or cannot be looked up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from tests.tries import execute, starts
from vi_airflow_provider.api.errors import ViError
from vi_airflow_provider.api.settings import ViSettings
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.gates import client as refreshing
from vi_airflow_provider.operators.runs import StartRunOperator
from vi_airflow_provider.training.waiting import Wait

pytestmark = pytest.mark.vi_emulator(flows=3, run_seconds=0.02, runs=0)


@pytest.fixture
def _old_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let settings be too old after each call."""
    monkeypatch.setattr(refreshing, "CONNECTION_MAX_AGE", 0.0)
    monkeypatch.setattr(refreshing, "_RETRY", 0.0)


def after_first_judgement(monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Act once, when the wait has begun and before its first poll."""
    judge = Wait.judge

    def judge_and_act(wait: Wait, run: Any, now: float) -> Any:
        is_first = wait.run is None
        end = judge(wait, run, now)
        if is_first:
            act(wait.run_id)
        return end

    monkeypatch.setattr(Wait, "judge", judge_and_act)


@pytest.mark.usefixtures("_old_settings")
def test_host_that_is_replaced_during_the_wait_is_used(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi_emulator.plans.add(run_seconds=3600)
    (name,) = vi_emulator.environment
    with Emulator(flows=0) as new:
        new.plans.add(run_seconds=0, queue_seconds=0)

        def move(run_id: str) -> None:
            run = vi_emulator.store.get_run(run_id)
            attributes = run["metadata"]["attributes"]
            new.store.put_run(run_id, {"spec": {"flow": run["spec"]["flow"]}, "metadata": {"attributes": attributes}})
            vi_emulator.clear_requests()
            monkeypatch.setenv(name, new.environment[name])

        after_first_judgement(monkeypatch, move)
        assert execute(flow_id)["state"] == "succeeded"
        assert not vi_emulator.requests
        assert {request.status for request in new.requests} == {200}


def test_key_that_is_refused_is_read_again_at_once(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi_emulator.plans.add(run_seconds=3600)
    vi_emulator.faults.add(method="GET", path="/runs/", status=401, skip=2, times=1)
    ((name, valid),) = vi_emulator.environment.items()
    old = {**json.loads(valid), "extra": {"read_timeout": 7}}
    read, lookups = StartRunOperator._read_connection, iter(range(1_000_000))

    def read_and_rotate(operator: StartRunOperator) -> ViSettings:
        settings = read(operator)
        monkeypatch.setenv(name, valid)
        if next(lookups):
            vi_emulator.advance(7200)
        return settings

    monkeypatch.setattr(StartRunOperator, "_read_connection", read_and_rotate)
    after_first_judgement(monkeypatch, lambda _: monkeypatch.setenv(name, json.dumps(old)))
    assert execute(flow_id, tail_logs=False)["state"] == "succeeded"
    assert [request.status for request in vi_emulator.requests].count(401) == 1
    assert starts(vi_emulator) == [1]


def test_key_that_was_not_replaced_is_refused_for_good(vi_emulator: Emulator, flow_id: str) -> None:
    vi_emulator.plans.add(run_seconds=3600)
    vi_emulator.faults.add(method="GET", path="/runs/", status=401, skip=1, times=1)
    with pytest.raises(AirflowFailException, match="secret key"):
        execute(flow_id, tail_logs=False)


@pytest.mark.usefixtures("_old_settings")
def test_connection_that_cannot_be_looked_up_meanwhile_stays_in_use(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi_emulator.plans.add(run_seconds=0.3)
    read, lookups = StartRunOperator._read_connection, iter(range(1_000_000))

    def read_once(operator: StartRunOperator) -> ViSettings:
        if next(lookups):
            raise RuntimeError("the secrets backend is down")
        return read(operator)

    monkeypatch.setattr(StartRunOperator, "_read_connection", read_once)
    assert execute(flow_id)["state"] == "succeeded"
    assert next(lookups) > 1


def test_connection_that_is_never_found_ends_the_wait_with_retries(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi_emulator.plans.add(run_seconds=3600)

    def fail(_: StartRunOperator) -> ViSettings:
        raise RuntimeError("the secrets backend is down, and its token is hvs.secret")

    monkeypatch.setattr(StartRunOperator, "_read_connection", fail)
    with pytest.raises(ViError, match="Airflow cannot provide it") as raised:
        execute(flow_id)
    assert raised.value.retryable
    assert "hvs.secret" not in str(raised.value)
