"""What happens to a run between the read that a decision rests on and the kill, and between two tries."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from tests.tries import START, Try, begun, deferred, execute, interrupted, starts
from vi_airflow_provider.api.async_client import AsyncViClient
from vi_airflow_provider.api.client import ViClient
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.operators.runs import RUN_ID_KEY, StartRunOperator
from vi_airflow_provider.training import killing, starting
from vi_airflow_provider.training.identity import OWNER
from vi_airflow_provider.training.job import TrainingJob
from vi_airflow_provider.training.starting import RunTakenOverError
from vi_airflow_provider.triggers.runs import RunTrigger

pytestmark = pytest.mark.vi_emulator(flows=3, run_seconds=3600, runs=0)


def take_over(emulator: Emulator, run_id: str) -> None:
    emulator.store.patch_run(run_id, {"metadata": {"attributes": {OWNER: "9/9"}}})


def is_killed(emulator: Emulator, run_id: str) -> bool:
    return emulator.store.get_run(run_id)["spec"].get("killedAt") is not None


# --- a later try takes the run over in between ---------------------------------------------------------------------


def test_cleared_task_does_not_kill_a_run_that_was_taken_over_since(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = begun(flow_id, monkeypatch)
    # The first pause is between the decision to restart and the kill.
    monkeypatch.setattr(TrainingJob, "_pause", lambda job, seconds: take_over(vi_emulator, run_id))
    with pytest.raises(RunTakenOverError):
        execute(flow_id, Try(try_number=2, max_tries=4))
    assert (is_killed(vi_emulator, run_id), starts(vi_emulator)) == (False, [1])


def test_cleared_task_does_not_repeat_a_kill_after_a_takeover(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = begun(flow_id, monkeypatch)
    vi_emulator.faults.add(method="PATCH", path="/runs/", status=503, times=1)
    defaults: Any = ViClient.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "sleep", lambda seconds: take_over(vi_emulator, run_id))
    with pytest.raises(RunTakenOverError):
        execute(flow_id, Try(try_number=2, max_tries=4))
    assert (is_killed(vi_emulator, run_id), starts(vi_emulator)) == (False, [1])


def test_trigger_does_not_repeat_a_kill_after_the_run_was_taken_over(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = deferred(flow_id)
    vi_emulator.faults.add(method="PATCH", path="/runs/", status=503, times=1)
    retries: list[float] = []

    async def sleep(seconds: float) -> None:
        retries.append(seconds)
        take_over(vi_emulator, trigger.run_id)

    defaults: Any = AsyncViClient.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "sleep", sleep)
    monkeypatch.setattr(killing, "with_short_timeouts", lambda settings: settings)
    asyncio.run(trigger.on_kill())
    assert len(retries) == 1
    assert not is_killed(vi_emulator, trigger.run_id)


# --- the run vanishes between two tries ----------------------------------------------------------------------------


class TaskStateStore:
    """Airflow's store for the state of a task instance (3.3)."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.broken = False

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        if self.broken:
            raise RuntimeError("the API server is down")
        self.values[key] = value


def attempt(flow_id: str, ti: Try, store: TaskStateStore) -> Any:
    operator = StartRunOperator(task_id="train", flow_id=flow_id, poll_interval=0.01)
    context: Any = {"ti": ti, "dag_run": SimpleNamespace(start_date=START), "task_state_store": store}
    operator.pre_execute(context)
    return operator.execute(context)


def crash(flow_id: str, store: TaskStateStore, monkeypatch: pytest.MonkeyPatch, ti: Try | None = None) -> str:
    ti = ti or Try()
    with monkeypatch.context() as patch:
        patch.setattr(StartRunOperator, "_wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            attempt(flow_id, ti, store)
    return str(ti.pushed[RUN_ID_KEY])


def vanish(emulator: Emulator, run_id: str) -> None:
    emulator.store.patch_run(run_id, {"spec": {"killedAt": emulator.store.get_run(run_id)["metadata"]["timeCreated"]}})
    emulator.store.delete_run(run_id)


def test_run_that_vanished_between_two_tries_is_not_started_again(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "VISIBILITY_DELAY", 0.1)
    store = TaskStateStore()
    run_id = crash(flow_id, store, monkeypatch)
    vanish(vi_emulator, run_id)
    for try_number in (2, 3):
        with pytest.raises(AirflowFailException, match="does not exist any more"):
            attempt(flow_id, Try(try_number=try_number), store)
    assert starts(vi_emulator) == [1]


def test_run_that_is_shown_late_is_taken_over(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TaskStateStore()
    run_id = crash(flow_id, store, monkeypatch)
    vi_emulator.faults.add(method="GET", path=f"/runs/{run_id}", status=404, times=3)
    assert crash(flow_id, store, monkeypatch, Try(try_number=2)) == run_id
    assert starts(vi_emulator) == [1]


def test_cleared_task_trains_again_although_its_run_has_vanished(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TaskStateStore()
    vanish(vi_emulator, crash(flow_id, store, monkeypatch))
    crash(flow_id, store, monkeypatch, Try(try_number=2, max_tries=4))
    assert sum(starts(vi_emulator)) == 2


def test_store_that_fails_does_not_fail_a_run_that_is_paid_for(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TaskStateStore()
    store.broken = True
    run_id = crash(flow_id, store, monkeypatch)
    assert crash(flow_id, store, monkeypatch, Try(try_number=2)) == run_id


async def test_kill_by_the_triggerer_raises_nothing_without_its_connection() -> None:
    await RunTrigger(vi_conn_id="no_such_connection", run_id="r", owner="1/1").on_kill()


def test_active_run_of_another_namespace_is_not_joined_by_a_second_one(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi_emulator.plans.add(run_seconds=3600)
    store = TaskStateStore()
    run_id = crash(flow_id, store, monkeypatch)
    renamed = {**vi_emulator.stored_connection, "extra": json.dumps({"namespace": "prod"})}
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", json.dumps(renamed))
    with pytest.raises(AirflowFailException, match=f"run {run_id}, which is active, under another `namespace`"):
        attempt(flow_id, Try(try_number=2), store)
    assert starts(vi_emulator) == [1]
