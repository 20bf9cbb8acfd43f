"""``StartRunOperator`` against the emulator, whose bill is the judge: how often was a run paid for?"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, Asset, TaskDeferred

from tests.tries import (
    START,
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
from vi_airflow_provider.assets import create_asset
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.operators import runs as module
from vi_airflow_provider.operators.runs import RUN_ID_KEY, StartRunOperator
from vi_airflow_provider.training import waiting
from vi_airflow_provider.training.identity import KILL_REASON, OWNER
from vi_airflow_provider.training.job import RunFailedError, TaskInterruptedError, TrainingJob
from vi_airflow_provider.training.starting import RunTakenOverError
from vi_airflow_provider.training.waiting import RunEnd, WaitEnd, build_event, read_event
from vi_airflow_provider.training.watch import Limit

pytestmark = pytest.mark.vi_emulator(flows=3, run_seconds=0.02, runs=0)


# --- one run, one result -------------------------------------------------------------------------------------------


def test_run_is_started_once_and_its_result_is_small_json(vi_emulator: Emulator, flow_id: str) -> None:
    ti = Try()
    result = execute(flow_id, ti, best_metric=("f1", "max"), attributes={"team": "line-3"})
    assert (result["state"], result["flow_id"], result["adopted"]) == ("succeeded", flow_id, False)
    assert ti.pushed[RUN_ID_KEY] == result["run_id"]
    assert result["model"]["run_output_id"]
    assert len(json.dumps(result)) < 8_192
    assert starts(vi_emulator) == [1]
    assert vi_emulator.store.get_run(result["run_id"])["metadata"]["attributes"]["team"] == "line-3"


def test_overrides_change_the_run_and_not_the_flow(vi_emulator: Emulator, flow_id: str) -> None:
    before = vi_emulator.store.get_flow(flow_id)
    result = execute(flow_id, overrides={"settings": {"seed": 4711}})
    assert vi_emulator.store.get_run(result["run_id"])["spec"]["flow"]["settings"]["seed"] == 4711
    assert vi_emulator.store.get_flow(flow_id) == before


def test_mapped_tasks_have_runs_of_their_own(vi_emulator: Emulator, flow_id: str) -> None:
    ids = {execute(flow_id, Try(map_index=index))["run_id"] for index in range(3)}
    assert len(ids) == 3
    assert starts(vi_emulator) == [1, 1, 1]


def test_flow_may_be_given_as_an_xcom(vi_emulator: Emulator, flow_id: str) -> None:
    result = execute(flow_id)
    flow = vi_emulator.store.get_flow(flow_id)
    again = execute(None, Try(task_id="other"), flow=flow)
    assert (again["flow_id"], again["flow_digest"]) == (flow_id, result["flow_digest"])


@dataclass
class OutletEvents:
    """The events of a task by its outlets, which no dict can hold: an asset of Airflow 3.0 has no hash."""

    asset: Asset
    event: SimpleNamespace

    def __getitem__(self, outlet: Asset) -> SimpleNamespace:
        assert outlet == self.asset
        return self.event


def test_event_of_an_outlet_tells_about_the_model(vi_emulator: Emulator, flow_id: str) -> None:
    asset = Asset(uri=f"vi://{vi_emulator.organization_id}/flows")
    operator = StartRunOperator(task_id="train", flow_id=flow_id, poll_interval=0.01, outlets=[asset])
    event = SimpleNamespace(extra={})
    ti = Try(task=operator)  # Airflow 2 prepares the lineage of a task that has outlets
    context: Any = {"ti": ti, "dag_run": SimpleNamespace(start_date=START), "outlet_events": OutletEvents(asset, event)}
    operator.pre_execute(context)
    result = operator.execute(context)
    assert event.extra["run_id"] == result["run_id"]
    assert event.extra["digest"] == result["flow_digest"]


def test_models_are_not_announced_without_waiting_for_them(vi_emulator: Emulator, flow_id: str) -> None:
    models = create_asset(organization_id=vi_emulator.organization_id, flow_id=flow_id, models=True)
    operator = StartRunOperator(task_id="train", flow_id=flow_id, wait_for_completion="False", outlets=[models])
    with pytest.raises(AirflowFailException, match="would announce a model"):
        operator.execute({"ti": Try(), "dag_run": SimpleNamespace(start_date=START)})  # type: ignore[typeddict-item]
    assert starts(vi_emulator) == []


@pytest.mark.skipif(not hasattr(Asset, "ref"), reason="Airflow 2 has no references")
@pytest.mark.parametrize("reference", [{"name": "models"}, {"uri": "vi://acme/flows/f/models"}], ids=str)
def test_reference_to_an_asset_is_an_outlet_like_the_asset(
    reference: dict[str, str], vi_emulator: Emulator, flow_id: str
) -> None:
    outlet: Any = Asset.ref(**reference)
    event = SimpleNamespace(extra={})
    operator = StartRunOperator(task_id="train", flow_id=flow_id, poll_interval=0.01, outlets=[outlet])
    context: Any = {"ti": Try(task=operator), "dag_run": SimpleNamespace(start_date=START)}
    context["outlet_events"] = OutletEvents(outlet, event)
    operator.pre_execute(context)
    assert operator.execute(context)["run_id"] == event.extra["run_id"]
    with pytest.raises(AirflowFailException, match="would announce a model"):
        execute(flow_id, Try(task_id="early"), wait_for_completion=False, outlets=[outlet])
    assert starts(vi_emulator) == [1]


def test_without_waiting_the_summary_is_of_the_run_as_it_is(vi_emulator: Emulator, flow_id: str) -> None:
    vi_emulator.plans.add(scenario="stuck_queued")
    result = execute(flow_id, wait_for_completion=False)
    assert (result["state"], result["model"]) == ("queued", None)
    assert len(starts(vi_emulator)) == 1


# --- retries and clears --------------------------------------------------------------------------------------------


def test_retry_finds_the_run_that_an_earlier_try_started(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = begun(flow_id, monkeypatch)
    result = execute(flow_id, Try(try_number=2))
    assert result["run_id"] == run_id
    assert starts(vi_emulator) == [1]


@pytest.mark.parametrize("status", [500, 502, 503])
def test_lost_response_to_the_start_starts_nothing_else(vi_emulator: Emulator, flow_id: str, status: int) -> None:
    vi_emulator.faults.add(method="PUT", path="/runs/", status=status, when="after", times=1)
    execute(flow_id)
    assert starts(vi_emulator) == [1]


def test_retry_after_success_returns_the_same_result(vi_emulator: Emulator, flow_id: str) -> None:
    first = execute(flow_id)
    assert execute(flow_id, Try(try_number=2)) == first
    assert starts(vi_emulator) == [1]


def test_cleared_task_trains_again(vi_emulator: Emulator, flow_id: str) -> None:
    first = execute(flow_id)
    second = execute(flow_id, Try(try_number=2, max_tries=4))
    assert first["run_id"] != second["run_id"]
    assert starts(vi_emulator) == [1, 1]


def test_clear_while_a_run_is_active_kills_it_before_another_is_started(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi_emulator.plans.add(run_seconds=3600, times=1)
    old = begun(flow_id, monkeypatch)
    result = execute(flow_id, Try(try_number=2, max_tries=4))
    assert vi_emulator.store.get_run(old)["spec"]["killedAt"] is not None
    assert (result["state"], result["run_id"] != old) == ("succeeded", True)


def test_clear_with_adopt_goes_on_with_the_active_run(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi_emulator.plans.add(run_seconds=3600)
    old = begun(flow_id, monkeypatch)
    end_once_announced(vi_emulator, monkeypatch)
    result = execute(flow_id, Try(try_number=2, max_tries=4), on_clear="adopt")
    assert (result["run_id"], result["state"], result["adopted"]) == (old, "succeeded", True)
    assert starts(vi_emulator) == [1]


def test_failed_run_is_paid_for_as_often_as_max_runs_allows(vi_emulator: Emulator, flow_id: str) -> None:
    vi_emulator.plans.add(scenario="fail_at_end")
    with pytest.raises(RunFailedError):
        execute(flow_id, max_runs=2)
    with pytest.raises(AirflowFailException):
        execute(flow_id, Try(try_number=2), max_runs=2)
    with pytest.raises(AirflowFailException, match="max_runs=2"):
        execute(flow_id, Try(try_number=3), max_runs=2)
    assert starts(vi_emulator) == [1, 1]


def test_run_that_a_person_kills_ends_the_task_for_good(vi_emulator: Emulator, flow_id: str) -> None:
    vi_emulator.plans.add(scenario="killed_by_person")
    with pytest.raises(AirflowFailException, match="by a person"):
        execute(flow_id, max_runs=5)
    with pytest.raises(AirflowFailException, match="by a person"):
        execute(flow_id, Try(try_number=2), max_runs=5)
    assert len(starts(vi_emulator)) == 1


def test_run_that_vanishes_ends_the_task(vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "VISIBILITY_DELAY", 0.1)
    vi_emulator.plans.add(scenario="vanish", run_seconds=1)
    with pytest.raises(AirflowFailException, match="does not exist any more"):
        execute(flow_id)


def test_dag_run_that_is_created_again_trains_again(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition = {**vi_emulator.stored_connection, "extra": json.dumps({"namespace": "prod"})}
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", json.dumps(definition))
    vi_emulator.configure(put_on_existing="restart")
    vi_emulator.plans.add(scenario="fail_at_end", times=1)
    with pytest.raises(RunFailedError):
        execute(flow_id, max_runs=2)
    earlier = [execute(flow_id, Try(try_number=2), max_runs=2)["run_id"]]
    for day in (2, 3):
        result = execute(flow_id, start=datetime(2026, 7, day, tzinfo=UTC))
        assert (result["state"], result["run_id"] in earlier) == ("succeeded", False)
        earlier.append(result["run_id"])
    assert starts(vi_emulator) == [1, 1, 1, 1]


def test_run_after_those_of_a_deleted_dag_run_is_killed_with_its_task(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition = {**vi_emulator.stored_connection, "extra": json.dumps({"namespace": "prod"})}
    monkeypatch.setenv("AIRFLOW_CONN_VI_DEFAULT", json.dumps(definition))
    execute(flow_id, start=START - timedelta(days=1))
    vi_emulator.plans.add(run_seconds=3600)
    ti = Try(state="failed")
    with pytest.raises(AirflowFailException, match="the kill of its run was requested"):
        killed_while_waiting(flow_id, "failed", monkeypatch, ti)
    assert vi_emulator.store.get_run(ti.pushed[RUN_ID_KEY])["spec"]["killedAt"] is not None


def test_run_of_another_deployment_is_left_alone(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi_emulator.plans.add(run_seconds=3600)
    run_id = begun(flow_id, monkeypatch)
    before = vi_emulator.store.get_run(run_id)
    with pytest.raises(AirflowFailException, match="namespace"):
        execute(flow_id, start=datetime(2026, 7, 2, tzinfo=UTC))
    after = vi_emulator.store.get_run(run_id)
    assert (after["spec"], after["metadata"]["attributes"]) == (before["spec"], before["metadata"]["attributes"])


# --- limits --------------------------------------------------------------------------------------------------------


def test_run_that_waits_too_long_for_an_accelerator_is_killed(vi_emulator: Emulator, flow_id: str) -> None:
    vi_emulator.plans.add(scenario="stuck_queued")
    ti = Try()
    with pytest.raises(AirflowFailException, match="max_queue_time"):
        execute(flow_id, ti, max_queue_time=0.05)
    run = vi_emulator.store.get_run(ti.pushed[RUN_ID_KEY])
    assert run["spec"]["killedAt"] is not None
    assert run["metadata"]["attributes"][KILL_REASON] == "max_queue_time"


def test_run_that_trains_too_long_is_killed(vi_emulator: Emulator, flow_id: str) -> None:
    vi_emulator.plans.add(run_seconds=3600, queue_seconds=0)
    with pytest.raises(AirflowFailException, match="max_duration"):
        execute(flow_id, max_duration="0:00:00.05")


# --- the end of the task -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["failed", "restarting", "success", "removed"])
def test_run_is_killed_with_the_task_that_a_person_ends(
    vi_emulator: Emulator, flow_id: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi_emulator.plans.add(run_seconds=3600)
    ti = Try(state=state)
    with pytest.raises(AirflowFailException, match="a person has ended the task"):
        killed_while_waiting(flow_id, state, monkeypatch, ti)
    assert vi_emulator.store.get_run(ti.pushed[RUN_ID_KEY])["spec"]["killedAt"] is not None


def test_run_survives_the_eviction_of_its_worker(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ti = Try()
    vi_emulator.plans.add(run_seconds=0.2)
    with pytest.raises(TaskInterruptedError, match="takes it over"):
        killed_while_waiting(flow_id, "running", monkeypatch, ti)
    result = execute(flow_id, Try(try_number=2))
    assert (result["run_id"], result["state"]) == (ti.pushed[RUN_ID_KEY], "succeeded")
    assert starts(vi_emulator) == [1]


def test_run_is_left_if_the_state_of_the_task_is_unknown(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "task_state", lambda context: None)
    vi_emulator.plans.add(run_seconds=3600)
    ti = Try(state="failed")
    with pytest.raises(TaskInterruptedError):
        killed_while_waiting(flow_id, "failed", monkeypatch, ti)
    assert vi_emulator.store.get_run(ti.pushed[RUN_ID_KEY])["spec"].get("killedAt") is None


def test_run_that_a_later_try_took_over_is_not_killed(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi_emulator.plans.add(run_seconds=3600)
    run_id = begun(flow_id, monkeypatch)
    vi_emulator.store.patch_run(run_id, {"metadata": {"attributes": {OWNER: "3/2"}}})
    with pytest.raises(RunTakenOverError):
        killed_while_waiting(flow_id, "failed", monkeypatch)
    assert vi_emulator.store.get_run(run_id)["spec"].get("killedAt") is None


# --- on the triggerer ----------------------------------------------------------------------------------------------


def test_deferred_task_ends_as_one_that_waits_in_a_worker(vi_emulator: Emulator, flow_id: str) -> None:
    vi_emulator.plans.add(run_seconds=0.5)
    event = event_of(deferred(flow_id, poll_interval=0.1))
    result = complete(flow_id, event)
    assert (result["state"], starts(vi_emulator)) == ("succeeded", [1])


def test_limit_is_kept_on_the_triggerer(vi_emulator: Emulator, flow_id: str) -> None:
    vi_emulator.plans.add(scenario="stuck_queued")
    event = event_of(deferred(flow_id, poll_interval=30, max_queue_time=0.3))
    end = read_event(event)
    assert (end.outcome, end.limit) == (RunEnd.EXCEEDED, Limit.MAX_QUEUE_TIME)
    with pytest.raises(AirflowFailException, match="max_queue_time"):
        complete(flow_id, event, max_queue_time=0.3)


def test_run_that_leaves_the_queue_before_the_worker_resumes_is_not_killed(vi_emulator: Emulator, flow_id: str) -> None:
    vi_emulator.plans.add(run_seconds=3600, queue_seconds=0)
    trigger = deferred(flow_id, max_queue_time=60)
    event = build_event(WaitEnd(trigger.run_id, RunEnd.EXCEEDED, Limit.MAX_QUEUE_TIME))
    with pytest.raises(TaskDeferred):
        complete(flow_id, event, max_queue_time=60)
    assert vi_emulator.store.get_run(trigger.run_id)["spec"].get("killedAt") is None


def test_worker_waits_on_for_a_run_that_leaves_the_queue_at_the_last_moment(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi_emulator.plans.add(run_seconds=0.5, queue_seconds=0)
    wait, waits = TrainingJob.wait, []

    def exceeded_at_first(job: TrainingJob, connect: Any, taken: Any, *, tail: bool) -> WaitEnd:
        waits.append(taken.run.run_id)
        if len(waits) == 1:
            return WaitEnd(taken.run.run_id, RunEnd.EXCEEDED, Limit.MAX_QUEUE_TIME)
        return wait(job, connect, taken, tail=tail)

    monkeypatch.setattr(TrainingJob, "wait", exceeded_at_first)
    result = execute(flow_id, max_queue_time=60)
    assert (result["state"], waits) == ("succeeded", [result["run_id"]] * 2)


@pytest.mark.parametrize("limit", [limit for limit in Limit if limit is not Limit.MAX_QUEUE_TIME])
def test_limit_that_cannot_cease_to_hold_kills_the_run(vi_emulator: Emulator, flow_id: str, limit: Limit) -> None:
    vi_emulator.plans.add(run_seconds=3600, queue_seconds=0)
    trigger = deferred(flow_id)
    with pytest.raises(AirflowFailException, match=limit.value):
        complete(flow_id, build_event(WaitEnd(trigger.run_id, RunEnd.EXCEEDED, limit)))
    assert vi_emulator.store.get_run(trigger.run_id)["metadata"]["attributes"][KILL_REASON] == limit.value


def test_trigger_kills_the_run_for_a_person_and_only_its_own(vi_emulator: Emulator, flow_id: str) -> None:
    vi_emulator.plans.add(run_seconds=3600)
    trigger = deferred(flow_id)
    vi_emulator.store.patch_run(trigger.run_id, {"metadata": {"attributes": {OWNER: "4/2"}}})
    asyncio.run(trigger.on_kill())
    assert vi_emulator.store.get_run(trigger.run_id)["spec"].get("killedAt") is None
    vi_emulator.store.patch_run(trigger.run_id, {"metadata": {"attributes": {OWNER: trigger.owner}}})
    asyncio.run(trigger.on_kill())
    assert vi_emulator.store.get_run(trigger.run_id)["spec"]["killedAt"] is not None


def test_event_that_is_not_understood_fails_the_task(vi_emulator: Emulator, flow_id: str) -> None:
    from vi_airflow_provider.api.errors import ViResponseError

    with pytest.raises(ViResponseError, match="not understood"):
        complete(flow_id, None)
