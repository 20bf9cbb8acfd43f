"""A task that has to end while a worker waits: what happens to its run, and what the error says about it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tries import Try, begun, killed_while_waiting, starts
from vi_airflow_provider.api.errors import ViConflictError
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.hooks.vi import ViHook
from vi_airflow_provider.operators.runs import RUN_ID_KEY
from vi_airflow_provider.training import starting
from vi_airflow_provider.training.job import TaskInterruptedError
from vi_airflow_provider.training.task_end import reason_to_go_on

pytestmark = pytest.mark.vi_emulator(flows=1, run_seconds=3600, runs=0)


def test_run_that_is_to_be_adopted_survives_a_clear(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ti = Try(state="restarting")
    with monkeypatch.context() as patch, pytest.raises(TaskInterruptedError):
        killed_while_waiting(flow_id, "restarting", patch, ti, on_clear="adopt")
    again = Try(try_number=2, max_tries=4)
    assert begun(flow_id, monkeypatch, again, on_clear="adopt") == ti.pushed[RUN_ID_KEY]
    assert starts(vi_emulator) == [1]


def test_task_that_a_person_has_ended_names_why_its_run_goes_on(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        TaskInterruptedError, match="a person has ended the task; the run goes on, since cancel_on_kill"
    ):
        killed_while_waiting(flow_id, "failed", monkeypatch, cancel_on_kill=False)


def test_task_that_a_person_has_ended_does_not_claim_a_kill(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi_emulator.faults.add(method="PATCH", path="/runs/", status=503, times=None)
    with pytest.raises(TaskInterruptedError, match="its run could not be killed, and may go on"):
        killed_while_waiting(flow_id, "failed", monkeypatch)
    vi_emulator.faults.clear()
    vi_emulator.advance(7200)
    again = Try(try_number=2, state="failed")
    with pytest.raises(TaskInterruptedError, match="no run was killed"):
        killed_while_waiting(flow_id, "failed", monkeypatch, again)


def test_kill_is_only_logged_as_requested(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    vi_emulator.plans.add(scenario="slow_kill", run_seconds=3600)
    run_id = begun(flow_id, monkeypatch)
    with pytest.raises(starting.RunStillActiveError):
        starting.kill_and_wait(ViHook(), run_id, patience=0)
    assert f"The kill of run {run_id} is requested." in caplog.text


def test_conflict_about_a_run_does_not_speak_of_a_flow(
    vi_emulator: Emulator, flow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = begun(flow_id, monkeypatch)
    with pytest.raises(ViConflictError) as caught:
        ViHook().delete_run(run_id)
    assert "If the run is active, wait for it to end or kill it" in str(caught.value)
    assert "flow" not in caught.value.advice


@pytest.mark.parametrize(
    ("state", "arguments", "reason"),
    [
        ("running", {}, "the worker is shutting down; the run goes on"),
        (None, {}, "its state cannot be read; the run goes on"),
        ("deferred", {}, "in state deferred; the run goes on"),
        ("restarting", {"on_clear": "adopt"}, "the task was cleared; the run goes on"),
        ("failed", {"on_clear": "adopt"}, None),
        ("restarting", {}, None),
        ("success", {"cancel_on_kill": False}, "since cancel_on_kill is False"),
    ],
)
def test_reason_fits_the_state_of_the_task(state: str | None, arguments: dict[str, Any], reason: str | None) -> None:
    found = reason_to_go_on(state, **{"on_clear": "restart", "cancel_on_kill": True, **arguments})
    assert found is None if reason is None else reason in (found or "")
