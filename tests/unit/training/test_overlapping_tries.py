"""Tries of a task that overlap, crash, wake up late or are cleared, judged by the emulator's bill."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from tests.tries import (
    Try,
    begun,
    complete,
    deferred,
    end_once_announced,
    event_of,
    execute,
    killed_while_waiting,
    starts,
)
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.hooks.vi import ViHook
from vi_airflow_provider.operators.runs import RUN_ID_KEY, StartRunOperator
from vi_airflow_provider.training import starting
from vi_airflow_provider.training.identity import KILL_REASON, OWNER, TaskIdentity
from vi_airflow_provider.training.job import RunFailedError, TaskInterruptedError, TrainingJob
from vi_airflow_provider.training.killing import kill_latest_run
from vi_airflow_provider.training.starting import RunStillActiveError, RunTakenOverError
from vi_airflow_provider.training.take_up import KILLED_WITH_TASK
from vi_airflow_provider.training.waiting import RunEnd, WaitEnd, build_event
from vi_airflow_provider.training.watch import Limit
from vi_airflow_provider.triggers.runs import RunTrigger

pytestmark = pytest.mark.vi_emulator(flows=3, run_seconds=0.02, runs=0)


def owner_of(emulator: Emulator, run_id: str) -> str:
    return str(emulator.store.get_run(run_id)["metadata"]["attributes"].get(OWNER))


def is_killed(emulator: Emulator, run_id: str) -> bool:
    return emulator.store.get_run(run_id)["spec"].get("killedAt") is not None


def freeze_before_start(monkeypatch: pytest.MonkeyPatch, meanwhile: Any) -> None:
    """Let something happen after the next try has decided to start a run, and before it does."""
    start_run = ViHook.start_run

    def late(hook: ViHook, *args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(ViHook, "start_run", start_run)
        meanwhile()
        return start_run(hook, *args, **kwargs)

    monkeypatch.setattr(ViHook, "start_run", late)


# --- a try that was frozen and wakes up ------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["failed", "deferred", "running", "up_for_retry"])
def test_late_start_and_late_kill_take_nothing_from_the_next_try(
    vi_emulator: Emulator, flow_id: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi_emulator.plans.add(run_seconds=3600)
    triggers = []
    freeze_before_start(monkeypatch, lambda: triggers.append(deferred(flow_id, Try(try_number=2), poll_interval=0.1)))
    ti = Try(state=state)
    with pytest.raises(TaskInterruptedError):
        killed_while_waiting(flow_id, state, monkeypatch, ti)
    assert not is_killed(vi_emulator, ti.pushed[RUN_ID_KEY])
    assert starts(vi_emulator) == [1]

    # The trigger of the next try takes its run back, so that a person can still end it.
    asyncio.run(_poll_and_kill(triggers[0], monkeypatch))
    assert owner_of(vi_emulator, triggers[0].run_id) == "3/2"
    assert is_killed(vi_emulator, triggers[0].run_id)


async def _poll_and_kill(trigger: RunTrigger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a trigger poll once, then end its task as a person does."""
    polled, own = asyncio.Event(), trigger._ensure_owner_stamp

    async def noted(client: Any, run: Any) -> Any:
        owned = await own(client, run)
        polled.set()
        return owned

    monkeypatch.setattr(trigger, "_ensure_owner_stamp", noted)
    waiting = asyncio.ensure_future(anext(aiter(trigger.run())))
    await asyncio.wait_for(polled.wait(), 20)
    waiting.cancel()
    await trigger.on_kill()


def test_try_that_wakes_up_late_ends_when_the_next_one_polls(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi_emulator.plans.add(run_seconds=3600)
    run_ids: list[str] = []
    freeze_before_start(monkeypatch, lambda: run_ids.append(begun(flow_id, monkeypatch, Try(try_number=2))))
    begun(flow_id, monkeypatch)
    assert owner_of(vi_emulator, run_ids[0]) == ""  # no try owns it until one of the two polls
    vi_emulator.store.patch_run(run_ids[0], {"metadata": {"attributes": {OWNER: "3/2"}}})
    with pytest.raises(RunTakenOverError):
        execute(flow_id)
    assert starts(vi_emulator) == [1]


def test_deadline_of_a_frozen_try_does_not_kill_the_run_of_the_next(vi_emulator: Emulator, flow_id: str) -> None:
    vi_emulator.plans.add(run_seconds=3600)
    trigger = deferred(flow_id, Try())
    deferred(flow_id, Try(try_number=2))
    end = WaitEnd(trigger.run_id, RunEnd.EXCEEDED, Limit.EXECUTION_TIMEOUT)
    with pytest.raises(RunTakenOverError):
        complete(flow_id, build_event(end), Try())
    assert not is_killed(vi_emulator, trigger.run_id)


def test_start_that_is_refused_since_the_run_exists_adopts_it(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi_emulator.configure(put_on_existing="refuse")
    vi_emulator.plans.add(run_seconds=3600)

    def start_meanwhile() -> None:
        begun(flow_id, monkeypatch)
        end_once_announced(vi_emulator, monkeypatch)

    freeze_before_start(monkeypatch, start_meanwhile)
    assert execute(flow_id, Try(try_number=2))["adopted"]
    assert starts(vi_emulator) == [1]


# --- signals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["up_for_retry", "queued", "scheduled", "deferred"])
def test_run_is_left_to_the_try_that_follows_a_lost_worker(
    vi_emulator: Emulator, flow_id: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi_emulator.plans.add(run_seconds=3600)
    ti = Try(state=state)
    with pytest.raises(TaskInterruptedError):
        killed_while_waiting(flow_id, state, monkeypatch, ti)
    assert not is_killed(vi_emulator, ti.pushed[RUN_ID_KEY])


@pytest.mark.parametrize("arguments", [{"deferrable": True}, {"wait_for_completion": False}, {}], ids=str)
@pytest.mark.parametrize("started", [False, True])
def test_signal_during_the_start_is_not_lost(
    vi_emulator: Emulator, flow_id: str, arguments: dict[str, Any], started: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi_emulator.plans.add(run_seconds=3600)
    operator = StartRunOperator(task_id="train", flow_id=flow_id, **arguments)
    call = ViHook.start_run if started else ViHook.get_flow

    def with_signal(hook: ViHook, *args: Any, **kwargs: Any) -> Any:
        operator.on_kill()
        return call(hook, *args, **kwargs)

    monkeypatch.setattr(ViHook, call.__name__, with_signal)
    context: Any = {"ti": Try(state="failed"), "dag_run": type("DagRun", (), {"start_date": None})}
    operator.pre_execute(context)
    with pytest.raises((AirflowFailException, TaskInterruptedError)):
        operator.execute(context)
    assert [is_killed(vi_emulator, run_id) for run_id in vi_emulator.bill()] == [True] * started


def test_kill_a_moment_before_a_takeover_does_not_end_the_task_for_good(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi_emulator.plans.add(run_seconds=3600, times=1)
    trigger = deferred(flow_id)
    vi_emulator.store.patch_run(trigger.run_id, {"spec": {"killedAt": 1}})
    vi_emulator.store.patch_run(trigger.run_id, {"metadata": {"attributes": {KILL_REASON: KILLED_WITH_TASK}}})
    with pytest.raises(RunFailedError, match="killed with its task"):
        complete(flow_id, event_of(trigger))
    assert execute(flow_id, Try(try_number=2))["state"] == "succeeded"


# --- a run that ends slowly, or otherwise than expected ---------------------------------------------------------------


def begin_to_die(vi: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a first try start a run, and be cleared: the run is killed, and does not end."""
    vi.plans.add(scenario="slow_kill", run_seconds=3600, times=1)
    with pytest.raises(AirflowFailException, match="a person"):
        killed_while_waiting(flow_id, "restarting", monkeypatch, Try(state="restarting"))


def test_no_run_is_started_beside_one_that_dies_slowly(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_to_die(vi_emulator, flow_id, monkeypatch)
    patience = {**(starting.kill_and_wait.__kwdefaults__ or {}), "patience": 0.05}
    monkeypatch.setattr(starting.kill_and_wait, "__kwdefaults__", patience)
    with pytest.raises(RunStillActiveError):
        execute(flow_id, Try(try_number=2))
    assert starts(vi_emulator) == [1]
    vi_emulator.advance(3600)
    assert execute(flow_id, Try(try_number=3))["state"] == "succeeded"
    assert starts(vi_emulator) == [1, 1]


def test_run_that_is_deleted_while_it_dies_is_followed_by_another(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_to_die(vi_emulator, flow_id, monkeypatch)
    (run_id,) = vi_emulator.bill()

    def end_and_delete(_job: TrainingJob, seconds: float) -> None:
        if seconds and run_id in vi_emulator.store.run_ids():
            vi_emulator.advance(3600)
            vi_emulator.store.delete_run(run_id)

    monkeypatch.setattr(TrainingJob, "_pause", end_and_delete)
    assert execute(flow_id, Try(try_number=2))["state"] == "succeeded"
    assert starts(vi_emulator) == [1, 1]


def test_run_that_succeeds_while_it_is_killed_has_succeeded(vi_emulator: Emulator, flow_id: str) -> None:
    vi_emulator.plans.add(scenario="kill_races_finish", run_seconds=3600)
    assert execute(flow_id, max_duration=0.01, max_queue_time=0.01)["state"] == "succeeded"


@pytest.mark.parametrize("seconds", [5, 30, 60, 300])
def test_task_with_a_short_execution_timeout_has_time_to_train(
    vi_emulator: Emulator, flow_id: str, seconds: int
) -> None:
    vi_emulator.plans.add(run_seconds=0.2)
    assert execute(flow_id, execution_timeout=timedelta(seconds=seconds))["state"] == "succeeded"


def test_run_ends_before_the_execution_timeout(vi_emulator: Emulator, flow_id: str) -> None:
    vi_emulator.plans.add(run_seconds=3600)
    with pytest.raises(AirflowFailException, match="execution_timeout"):
        execute(flow_id, execution_timeout=timedelta(seconds=1))


# --- servers that are unlike the documentation -----------------------------------------------------------------------


def test_run_keeps_its_stamps_on_a_server_that_ignores_them_at_the_start(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi_emulator.configure(drop_attributes=True)
    run_id = begun(flow_id, monkeypatch)
    result = execute(flow_id, Try(try_number=2))
    assert (result["run_id"], execute(flow_id, Try(try_number=3))["run_id"]) == (run_id, run_id)
    assert starts(vi_emulator) == [1]


@pytest.mark.parametrize("deferrable", [False, True])
def test_run_that_is_not_visible_yet_is_not_gone(vi_emulator: Emulator, flow_id: str, deferrable: bool) -> None:
    vi_emulator.configure(read_delay_ms=400)
    vi_emulator.plans.add(run_seconds=0.1)
    if deferrable:
        result = complete(flow_id, event_of(deferred(flow_id, poll_interval=0.1)))
    else:
        result = execute(flow_id, poll_interval=0.1)
    assert (result["state"], starts(vi_emulator)) == ("succeeded", [1])


@pytest.mark.parametrize("mode", ["replace", "restart", "refuse"])
@pytest.mark.parametrize("fault", [{"status": 502}, {"drop": True}], ids=str)
@pytest.mark.parametrize("when", ["before", "after"])
def test_start_is_paid_for_once_whatever_a_second_put_does(
    vi_emulator: Emulator, flow_id: str, mode: Any, fault: dict[str, Any], when: Any
) -> None:
    vi_emulator.configure(put_on_existing=mode)
    vi_emulator.faults.add(method="PUT", path="/runs/", when=when, **fault)
    assert execute(flow_id)["state"] == "succeeded"
    assert starts(vi_emulator) == [1]


def test_log_that_cannot_be_read_does_not_matter(vi_emulator: Emulator, flow_id: str) -> None:
    vi_emulator.faults.add(path="/logs", status=500, times=None)
    assert execute(flow_id)["state"] == "succeeded"


def test_log_of_an_unknown_shape_is_shown_once(
    vi_emulator: Emulator, flow_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    vi_emulator.plans.add(run_seconds=0.5, queue_seconds=0)
    body = {"chunks": [{"content": "words", "url": "https://s/x?sig=s3cr3t"}]}
    vi_emulator.faults.add(path="/logs", status=200, body=json.dumps(body), content_type="application/json", times=None)
    execute(flow_id, poll_interval=0.1)
    assert sum(request.path.endswith("/logs") for request in vi_emulator.requests) > 1
    shown = [record.getMessage() for record in caplog.records if "unknown shape" in record.getMessage()]
    assert len(shown) == 1
    assert "words" in shown[0]
    assert "s3cr3t" not in caplog.text


def test_rate_limit_of_a_poll_is_waited_out(vi_emulator: Emulator, flow_id: str) -> None:
    vi_emulator.plans.add(run_seconds=0.1)
    vi_emulator.faults.add(method="GET", path="/runs/[^/]*$", status=429, retry_after="0.3", skip=1, times=3)
    assert execute(flow_id, tail_logs=False)["state"] == "succeeded"
    waited = [request for request in vi_emulator.requests if request.status == 429]
    assert len(waited) == 3


# --- a kill looks at the run once more -----------------------------------------------------------------------------


@pytest.mark.parametrize("owner", ["9/9", None])
def test_ended_task_kills_its_run_unless_it_is_taken_over_meanwhile(
    vi_emulator: Emulator, flow_id: str, owner: str | None
) -> None:
    vi_emulator.plans.add(run_seconds=3600)
    ti = Try()
    run_id = deferred(flow_id, ti).run_id
    identity = TaskIdentity("", ti.dag_id, ti.run_id, ti.task_id, ti.map_index, "", ti.max_tries, ti.try_number)
    if owner is not None:
        vi_emulator.colleague.edit_run(run_id, attributes={OWNER: owner}, moment="after", method="GET", path="/runs/")
    assert kill_latest_run(ViHook().settings, identity) is (owner is None)
    assert (vi_emulator.store.get_run(run_id)["spec"].get("killedAt") is None) is (owner is not None)
