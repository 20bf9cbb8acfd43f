"""``on_kill`` of an operator that has executed nothing: Airflow 2 calls it when a deferred task is out of time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.tries import START, Try, deferred
from vi_airflow_provider.emulator import Emulator
from vi_airflow_provider.operators.runs import StartRunOperator


class TryOnAirflow2(Try):
    """A task instance that reads its state in the database."""

    stored = "failed"

    @property
    def get_task_states(self) -> Any:
        """Fail: only Airflow 3 has it."""
        raise AttributeError

    @classmethod
    def get_task_instance(cls, *_: Any) -> SimpleNamespace:
        """Return what the database holds."""
        return SimpleNamespace(state=cls.stored)


@pytest.mark.parametrize(("state", "killed"), [("failed", True), ("running", False)])
def test_run_of_a_deferred_task_is_killed_only_for_a_person(
    vi_emulator: Emulator, flow_id: str, state: str, killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    vi_emulator.plans.add(run_seconds=3600)
    run_id = deferred(flow_id).run_id
    monkeypatch.setattr(TryOnAirflow2, "stored", state)
    operator = StartRunOperator(task_id="train", flow_id=flow_id)
    context: Any = {"ti": TryOnAirflow2(), "dag_run": SimpleNamespace(start_date=START)}
    operator.pre_execute(context)
    operator.on_kill()
    assert (vi_emulator.store.get_run(run_id)["spec"].get("killedAt") is not None) is killed


def test_operator_without_a_context_kills_nothing(vi_emulator: Emulator, flow_id: str) -> None:
    vi_emulator.plans.add(run_seconds=3600)
    run_id = deferred(flow_id).run_id
    StartRunOperator(task_id="train", flow_id=flow_id).on_kill()
    assert vi_emulator.store.get_run(run_id)["spec"].get("killedAt") is None
